//! Sends changes to a stack, those of an order one after the other.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use indicatif::ProgressBar;
use landfall_domain::{JobId, JobState};
use landfall_ledger::JobView;
use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, sleep};

use super::{Change, Way};
use crate::api::{Api, Request};

/// Changes in a file.
const FILE: usize = 2_000;
/// Changes that wait for their turn among the requests of a lane.
const QUEUED: usize = 64;
/// How often a job is looked at.
const POLL: Duration = Duration::from_millis(500);
/// How long a job is waited for.
const WITHIN: Duration = Duration::from_mins(30);

/// Sends changes to the dataset `orders`.
pub(super) struct Delivery<'a> {
    pub(super) api: &'a Api,
    pub(super) bar: &'a ProgressBar,
    /// Requests that are sent at a time.
    pub(super) concurrency: usize,
    /// Distinguishes this seeding from all others.
    run: String,
    requests: AtomicU64,
}

#[derive(Deserialize)]
struct Accepted {
    job: JobId,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(api: &'a Api, bar: &'a ProgressBar, concurrency: usize) -> Self {
        Self {
            api,
            bar,
            concurrency,
            run: format!("{:032x}", rand::random::<u128>()),
            requests: AtomicU64::new(0),
        }
    }

    /// Sends changes. Returns the jobs of the files among them, which may still be open.
    pub(super) async fn deliver(
        &self,
        changes: impl Iterator<Item = Change>,
        way: Way,
    ) -> Result<Vec<JobId>> {
        let (to_file, filed) = channel(FILE);
        let lanes = (0..self.concurrency).map(|_| channel(QUEUED));
        let (lanes, requested): (Vec<_>, Vec<_>) = lanes.unzip();
        let distribute = async move {
            for change in changes {
                let id = usize::try_from(change.id())?;
                let lane = match way {
                    Way::Files => &to_file,
                    Way::Both if id % 2 == 0 => &to_file,
                    Way::Requests | Way::Both => &lanes[id / 2 % lanes.len()],
                };
                // A lane ends early only with an error, which is returned below.
                if lane.send(change).await.is_err() {
                    break;
                }
            }
            anyhow::Ok(())
        };
        let requests = try_join_all(requested.into_iter().map(|lane| self.request(lane)));
        let ((), _, jobs) = tokio::try_join!(distribute, requests, self.upload(filed))?;
        Ok(jobs)
    }

    /// Sends a request for each change, one after the other.
    async fn request(&self, mut changes: Receiver<Change>) -> Result<()> {
        while let Some(change) = changes.recv().await {
            let id = change.id();
            let path = format!("datasets/orders/rows/{id}");
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            let key = format!("seed-{}-{number}", self.run);
            let (method, body) = match &change {
                Change::Create(order) | Change::Update(order) => {
                    (Method::PUT, Some(order.row().to_string()))
                }
                Change::Delete(_) => (Method::DELETE, None),
            };
            let body = body
                .as_ref()
                .map(|body| ("application/json", body.as_bytes()));
            let request = Request {
                body,
                idempotency_key: Some(&key),
            };
            let sent = self.api.call::<IgnoredAny>(method, &path, request).await;
            sent.with_context(|| format!("cannot write the order {id}"))?;
            self.bar.inc(1);
        }
        Ok(())
    }

    /// Uploads files with the changes, one after the other. Returns their jobs.
    async fn upload(&self, mut changes: Receiver<Change>) -> Result<Vec<JobId>> {
        let mut jobs = Vec::new();
        let (mut file, mut count) = (Vec::new(), 0);
        loop {
            let change = changes.recv().await;
            if let Some(change) = &change {
                writeln!(file, "{}", change.record())?;
                count += 1;
                if count < FILE {
                    continue;
                }
            }
            if count > 0 {
                let request = Request {
                    body: Some(("application/x-ndjson", &file)),
                    ..Request::default()
                };
                let path = "datasets/orders/rows";
                let sent = self.api.call::<Accepted>(Method::POST, path, request);
                jobs.push(sent.await.context("cannot upload a file")?.job);
                self.bar.inc(count as u64);
                file.clear();
                count = 0;
            }
            if change.is_none() {
                return Ok(jobs);
            }
        }
    }

    /// Waits until jobs have closed. Fails if one has not stored all of its rows.
    pub(super) async fn wait(&self, jobs: &[JobId]) -> Result<()> {
        for job in jobs {
            let stop_at = Instant::now() + WITHIN;
            let closed = loop {
                let view: JobView = self.api.get(&format!("jobs/{job}")).await?;
                if view.state != JobState::Open {
                    break view;
                }
                ensure!(Instant::now() < stop_at, "the job {job} is still open");
                sleep(POLL).await;
            };
            if let Some(problem) = &closed.problem {
                bail!(
                    "the job {job} is {}: {}",
                    closed.state.as_str(),
                    problem.message
                );
            }
            let rejected = closed.counts.map_or(0, |counts| counts.rejected);
            ensure!(
                rejected == 0,
                "{rejected} orders of the job {job} are rejected: the dataset must be as in infra/datasets/orders.toml"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::sync::{Arc, Mutex};

    use axum::extract::{Path, State};
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::{post, put};
    use axum::{Json, Router};
    use serde_json::{Value, json};

    use super::*;
    use crate::seed::Life;

    const JOB: &str = "3f2b8f2e-7d3c-5a55-9d3e-0a5f6a1b2c3d";

    /// What an API was sent.
    #[derive(Default)]
    struct Sent {
        rows: BTreeMap<u64, Value>,
        files: usize,
        /// Idempotency keys.
        keys: HashSet<String>,
        /// Orders that a request is in progress for.
        called: HashSet<u64>,
    }

    type Shared = Arc<Mutex<Sent>>;

    async fn write(sent: Shared, id: u64, headers: HeaderMap, row: Option<Value>) -> StatusCode {
        assert!(
            sent.lock().unwrap().called.insert(id),
            "two requests at once"
        );
        sleep(Duration::from_millis(1)).await;
        let mut sent = sent.lock().unwrap();
        sent.called.remove(&id);
        let key = headers["idempotency-key"].to_str().unwrap();
        if sent.keys.insert(key.to_owned()) && sent.keys.len().is_multiple_of(10) {
            // Every tenth request fails once, and is repeated with its key.
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        match row {
            Some(row) => sent.rows.insert(id, row),
            None => sent.rows.remove(&id),
        };
        StatusCode::ACCEPTED
    }

    async fn serve(sent: Shared) -> Api {
        let upload = async |State(sent): State<Shared>, file: String| {
            let mut sent = sent.lock().unwrap();
            sent.files += 1;
            for line in file.lines() {
                let row: Value = serde_json::from_str(line).unwrap();
                let id = row["order_id"].as_u64().unwrap();
                match row["op"].as_str() {
                    Some("delete") => sent.rows.remove(&id),
                    _ => sent.rows.insert(id, row),
                };
            }
            Json(json!({ "job": JOB }))
        };
        let routes = Router::new()
            .route("/datasets/orders/rows", post(upload))
            .route(
                "/datasets/orders/rows/{id}",
                put(
                    async |State(sent), Path(id), headers: HeaderMap, Json(row): Json<Value>| {
                        (write(sent, id, headers, Some(row)).await, Json(json!({})))
                    },
                )
                .delete(async |State(sent), Path(id), headers: HeaderMap| {
                    (write(sent, id, headers, None).await, Json(json!({})))
                }),
            );
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes.with_state(sent)).await });
        Api::new(&url, "secret").unwrap()
    }

    #[tokio::test]
    async fn the_changes_of_an_order_arrive_one_after_the_other() {
        for (way, files, requests) in [
            (Way::Files, 1, false),
            (Way::Requests, 0, true),
            (Way::Both, 1, true),
        ] {
            let sent = Shared::default();
            let api = serve(Arc::clone(&sent)).await;
            let bar = ProgressBar::hidden();
            let mut life = Life::new(12, 60, 1);
            let delivery = Delivery::new(&api, &bar, 5);
            let jobs = delivery.deliver(life.by_ref(), way).await.unwrap();
            assert_eq!(jobs.len(), files, "{way:?}");
            assert_eq!(bar.position(), 72, "{way:?}");
            let orders = life.into_orders().into_iter();
            let expected: BTreeMap<_, _> = orders.map(|order| (order.id, order.row())).collect();
            let sent = sent.lock().unwrap();
            assert_eq!(sent.rows, expected, "{way:?}");
            assert_eq!(
                (sent.files, !sent.keys.is_empty()),
                (files, requests),
                "{way:?}"
            );
        }
    }
}
