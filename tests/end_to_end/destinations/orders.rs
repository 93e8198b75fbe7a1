//! Orders: files and single writes that insert, change and delete them, and what a service must hold then.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use rand::Rng;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::http::Api;

/// The maximum number of requests to write at a time.
const WRITERS: usize = 16;

/// The change of an order: its status, or none to delete it.
pub type Change = (i64, Option<&'static str>);

/// The rows as they stand, by id: the revision and the status.
#[derive(Default)]
pub struct Orders(BTreeMap<i64, (i64, &'static str)>);

/// Returns random changes of different orders.
pub fn changes(orders: i64, count: usize) -> Vec<Change> {
    let mut rng = rand::rng();
    let mut changes = BTreeMap::new();
    while changes.len() < count {
        // Some do not exist yet.
        let id = rng.random_range(1..=orders + orders / 6);
        let statuses = [Some("open"), Some("paid"), Some("draft"), None];
        changes.insert(id, statuses[rng.random_range(0..statuses.len())]);
    }
    changes.into_iter().collect()
}

impl Orders {
    fn change(&mut self, revision: i64, changes: &[Change]) {
        for (id, status) in changes {
            match status {
                Some(status) => self.0.insert(*id, (revision, status)),
                None => self.0.remove(id),
            };
        }
    }

    /// Makes changes, and returns a file with them.
    pub fn file(&mut self, revision: i64, changes: &[Change]) -> Vec<u8> {
        self.change(revision, changes);
        let lines = changes.iter().map(|(id, status)| match status {
            Some(status) => format!("{id},{status},{revision},\n"),
            None => format!("{id},,,delete\n"),
        });
        let lines: String = lines.collect();
        format!("id,status,revision,op\n{lines}").into_bytes()
    }

    /// Makes changes by single writes, and waits until they are stored, if the workers are not killed.
    pub async fn write(&mut self, api: &Api, revision: i64, changes: &[Change]) {
        self.change(revision, changes);
        let writes = stream::iter(changes).map(async |(id, status)| {
            let path = format!("datasets/orders/rows/{id}?wait=true");
            let request = match status {
                Some(status) => api
                    .request(Method::PUT, &path)
                    .json(&json!({"status": status, "revision": revision})),
                None => api.request(Method::DELETE, &path),
            };
            loop {
                let answer = request.try_clone().unwrap().send().await.unwrap();
                match answer.status() {
                    StatusCode::OK | StatusCode::ACCEPTED => return,
                    // The limit of the token, or a database that is slow to answer.
                    StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                        sleep(Duration::from_secs(1)).await;
                    }
                    status => panic!("{status}: {}", answer.text().await.unwrap()),
                }
            }
        });
        writes.buffer_unordered(WRITERS).collect::<()>().await;
    }

    /// Returns what the service must hold.
    pub fn wanted(&self) -> BTreeMap<i64, Value> {
        let rows = self.0.iter().filter(|(_, (_, status))| *status != "draft");
        let rows = rows.map(|(id, (revision, status))| {
            (
                *id,
                json!({"id": id, "status": status, "revision": revision}),
            )
        });
        rows.collect()
    }
}
