//! Compares the rows of a dataset with what a service has of them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use landfall_aws::DestinationLookup;
use landfall_cli::api::{Api as Client, Request};
use landfall_destinations::{Call, Comparison, Destination};
use landfall_domain::{Dataset, Field, FieldType, Value, ValueError};
use landfall_fetch::{HttpTransport, Transport, TransportError};
use landfall_ledger::TaskView;
use landfall_requests::{Policy, Secrets, retry_after, wait};
use landfall_runtime::Environment;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value as Json, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};

use crate::explain::Api;

/// The number of rows that are read at once.
const PAGE: usize = 200;
/// The maximum number of keys that one task sends again, and of their bytes as JSON.
const KEYS: usize = 100;
const KEY_BYTES: usize = 8 * 1024;
/// How often a task is looked at.
const POLL: Duration = Duration::from_secs(1);
/// How long a task is waited for.
const WITHIN: Duration = Duration::from_mins(10);
/// How often a call is sent until it has an answer.
const ATTEMPTS: u32 = 4;
/// How much of an answer is read.
const ANSWER_BYTES: usize = 1 << 20;

/// What to compare.
#[derive(clap::Args)]
pub(crate) struct Diff {
    /// Name of the destination
    name: String,
    /// Send the rows again that are missing, differ or should not be there. The token needs the scope write
    #[arg(long)]
    repair: bool,
    /// File with the secrets: a JSON object of names and secrets
    #[arg(long)]
    secrets: Option<PathBuf>,
    /// Allow services with private and loopback addresses
    #[arg(long)]
    private: bool,
    #[command(flatten)]
    api: Api,
}

impl Diff {
    /// Prints each row that the service does not have as it is. Returns whether there are any.
    pub(crate) async fn run(&self, out: &mut impl Write) -> Result<bool> {
        let environment = Environment::load().await;
        let (definitions, datasets) = (environment.destinations()?, environment.datasets()?);
        let destination = match definitions.lookup(&self.name, &datasets).await? {
            DestinationLookup::Found(destination) => *destination,
            DestinationLookup::Bad(error, _) => return Err(error.into()),
            DestinationLookup::Unknown => bail!("there is no destination {:?}", self.name),
        };
        let read = |path| std::fs::read_to_string(path).context("cannot read the secrets");
        let secrets = self.secrets.as_ref().map(read).transpose()?;
        // The text must not be in the error.
        let secrets: Secrets = serde_json::from_str(secrets.as_deref().unwrap_or("{}"))
            .map_err(|_| anyhow!("the secrets are not a JSON object of names and texts"))?;
        let policy = Policy::new("*", self.private)?;
        let transport = HttpTransport::new(policy.clone())?;
        let service = Service::new(&destination, secrets, policy, &transport);
        self.walk(&service, &self.api.client()?, out).await
    }

    /// Walks over the rows, page after page.
    async fn walk(
        &self,
        service: &Service<'_>,
        api: &Client,
        out: &mut impl Write,
    ) -> Result<bool> {
        let dataset = service.destination.dataset();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut cursor, mut wrong, mut bytes) = (String::new(), Vec::new(), 0);
        loop {
            let path = format!("datasets/{}/rows?limit={PAGE}{cursor}", dataset.name);
            let page: Json = api.get(&path).await?;
            let rows = page["rows"].as_array();
            let rows = rows.context("the API is of another release, or this is not Landfall's")?;
            let concurrency = service.destination.limits.concurrency;
            let compared = stream::iter(rows).map(|row| service.compare(row));
            let compared: Vec<(Map<String, Json>, Comparison)> =
                compared.buffered(concurrency).try_collect().await?;
            for (key, comparison) in compared {
                let (kind, line) = describe(&comparison);
                *counts.entry(kind).or_default() += 1;
                if comparison == Comparison::Same {
                    continue;
                }
                let key = Json::Object(key);
                let text = key.to_string();
                writeln!(out, "{text}: {line}")?;
                if !matches!(comparison, Comparison::Unknown(_)) {
                    bytes += text.len();
                    wrong.push(key);
                }
                if wrong.len() == KEYS || bytes >= KEY_BYTES {
                    self.redrive(api, &std::mem::take(&mut wrong)).await?;
                    bytes = 0;
                }
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        self.redrive(api, &wrong).await?;
        let total: u64 = counts.values().sum();
        let parts = counts.iter().map(|(kind, count)| format!("{count} {kind}"));
        let parts: Vec<String> = parts.collect();
        writeln!(out, "{total} rows: {}", parts.join(", "))?;
        Ok(counts.keys().any(|kind| *kind != SAME))
    }

    /// Has keys sent again, if that is wanted. Returns once they are due, since a destination has few tasks at a time.
    async fn redrive(&self, api: &Client, keys: &[Json]) -> Result<()> {
        if self.repair && !keys.is_empty() {
            let path = format!("destinations/{}/redrive", self.name);
            let body = json!({ "keys": keys }).to_string();
            let request = Request {
                body: Some(("application/json", body.as_bytes())),
                ..Request::default()
            };
            let mut task: TaskView = api.call(Method::POST, &path, request).await?;
            let path = format!("destinations/{}/tasks/{}", self.name, task.id);
            let stop_at = Instant::now() + WITHIN;
            while task.finished_at.is_none() {
                ensure!(
                    Instant::now() < stop_at,
                    "the rows are not due after ten minutes; `landfall destinations show {}` says why",
                    self.name
                );
                sleep(POLL).await;
                task = api.get(&path).await?;
            }
            if let Some(problem) = task.problem {
                bail!("{problem}");
            }
        }
        Ok(())
    }
}

const SAME: &str = "the same";

/// Returns the kind of an outcome, and the line about it.
fn describe(comparison: &Comparison) -> (&'static str, String) {
    match comparison {
        Comparison::Same => (SAME, String::new()),
        Comparison::Missing => ("missing", "missing".to_owned()),
        Comparison::Differs(names) => ("different", format!("differs in {}", names.join(", "))),
        Comparison::Unwanted => ("too many", "should not be there".to_owned()),
        Comparison::Unknown(reason) => ("unknown", format!("unknown: {reason}")),
    }
}

/// The service, within the limits of the definition.
struct Service<'a> {
    destination: &'a Destination,
    secrets: Secrets,
    policy: Policy,
    transport: &'a dyn Transport,
    pace: Mutex<Interval>,
}

impl<'a> Service<'a> {
    fn new(
        destination: &'a Destination,
        secrets: Secrets,
        policy: Policy,
        transport: &'a dyn Transport,
    ) -> Self {
        let between = Duration::from_secs_f64(1.0 / destination.limits.per_second);
        let mut pace = interval(between);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            destination,
            secrets,
            policy,
            transport,
            pace: Mutex::new(pace),
        }
    }

    /// Compares a row as the API has it. Returns its key, too.
    async fn compare(&self, row: &Json) -> Result<(Map<String, Json>, Comparison)> {
        let dataset = self.destination.dataset();
        let values = values_of(dataset, row)?;
        let indexes = dataset.key_indexes();
        let key: Vec<Value> = indexes.iter().map(|index| values[*index].clone()).collect();
        let names = indexes.iter().map(|index| &dataset.fields[*index].name);
        let shown = names
            .map(|name| (name.clone(), row[name].clone()))
            .collect();
        let call = self
            .destination
            .look_up(&key)
            .map_err(|error| anyhow!(error))?;
        let comparison = match self.call(&call).await? {
            Err(reason) => Comparison::Unknown(reason),
            Ok((status, body)) => {
                let secrets = &self.secrets;
                self.destination
                    .compare(&key, &values, status, &body, secrets)
            }
        };
        Ok((shown, comparison))
    }

    /// Sends a call until it has an answer. Returns the last reason if it has none.
    async fn call(&self, call: &Call) -> Result<Result<(StatusCode, Vec<u8>), String>> {
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS {
            self.pace.lock().await.tick().await;
            let now = Timestamp::now();
            let request = call.reveal(self.destination, &self.secrets, now)?;
            self.policy.check_url(&request.url)?;
            let within = Duration::from_secs(self.destination.limits.timeout_seconds);
            let answered = timeout(within, async {
                let mut received = self.transport.send(&request).await?;
                let mut body = Vec::new();
                while body.len() < ANSWER_BYTES
                    && let Some(piece) = received.body.next().await?
                {
                    body.extend_from_slice(&piece);
                }
                Ok::<_, TransportError>((received.status, received.headers, body))
            });
            let mut asked = None;
            match answered.await {
                Ok(Err(TransportError::Refused(refused))) => return Err(refused.into()),
                Ok(Err(error)) => last = self.secrets.remove_from(&error.to_string()),
                Err(_) => "there was no answer in time".clone_into(&mut last),
                Ok(Ok((status, headers, body))) => {
                    let is_failure =
                        status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
                    if !is_failure || attempt == ATTEMPTS {
                        return Ok(Ok((status, body)));
                    }
                    asked = retry_after(&headers, now);
                }
            }
            sleep(wait(attempt, asked, 0.5)).await;
        }
        Ok(Err(last))
    }
}

/// Returns the values of a row of the API.
fn values_of(dataset: &Dataset, row: &Json) -> Result<Vec<Value>> {
    let fields = dataset.fields.iter();
    let values = fields.map(|field| {
        value_of(field, &row[&field.name])
            .with_context(|| format!("the API has an invalid value of {}", field.name))
    });
    values.collect()
}

fn value_of(field: &Field, value: &Json) -> Result<Value, ValueError> {
    match (field.kind, value) {
        (_, Json::Null) => Ok(Value::Null),
        (FieldType::Json, value) => Ok(Value::Json(value.to_string())),
        (kind, Json::String(text)) => Value::from_text(kind, text),
        (kind, value) => Value::from_text(kind, &value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;
    use landfall_destinations::Draft;
    use landfall_fetch::{Chunks, Received};
    use landfall_requests::Revealed;
    use reqwest::header::HeaderMap;

    use super::*;

    const DATASET: &str = "name = \"orders\"\nkey = [\"number\", \"day\"]\n\
                           fields = [{ name = \"number\", type = \"integer\" }, { name = \"day\", type = \"date\" }, \
                           { name = \"total\", type = \"decimal\" }, { name = \"more\", type = \"json\" }]\n";
    const DEFINITION: &str = "dataset = \"orders\"\nurl = \"https://shop.example\"\n\
                              headers = { Authorization = \"Bearer {secret:shop}\" }\n\
                              update = { path = \"/o/{{ number }}/{{ day }}\" }\n\
                              lookup = { path = \"/o/{{ number }}/{{ day }}\" }\n\
                              limits = { per_second = 1000 }\n";

    /// Has the order 1 as it is, 2 with another total, and no other. Its first answer is 503.
    #[derive(Default)]
    struct Shop(AtomicUsize);

    struct Whole(Option<Bytes>);

    #[async_trait]
    impl Chunks for Whole {
        async fn next(&mut self) -> Result<Option<Bytes>, TransportError> {
            Ok(self.0.take())
        }
    }

    #[async_trait]
    impl Transport for Shop {
        async fn send(&self, request: &Revealed) -> Result<Received, TransportError> {
            assert_eq!(request.headers["authorization"], "Bearer s3cret");
            let order =
                json!({"number": 1, "day": "2026-11-20", "total": "2.5", "more": {"a": [1]}});
            let (status, body) = match request.url.path() {
                _ if self.0.fetch_add(1, Ordering::Relaxed) == 0 => (503, Json::Null),
                "/o/1/2026-11-20" => (200, order),
                "/o/2/2026-11-20" => (200, json!({"number": 2, "day": "2026-11-20", "total": "3"})),
                _ => (404, Json::Null),
            };
            Ok(Received {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: Box::new(Whole(Some(body.to_string().into()))),
            })
        }
    }

    #[tokio::test]
    async fn rows_of_the_api_are_compared_with_what_the_service_has() {
        let dataset = Dataset::from_toml("orders.toml", DATASET).unwrap();
        let draft = Draft::parse("shop", "shop.toml", DEFINITION).unwrap();
        let destination = draft.check(&dataset).unwrap();
        let secrets = Secrets::from_iter([("shop", "s3cret")]);
        let (policy, shop) = (Policy::new("*", false).unwrap(), Shop::default());
        let service = Service::new(&destination, secrets, policy, &shop);
        for (number, expected) in [
            (1, Comparison::Same),
            (
                2,
                Comparison::Differs(vec!["more".to_owned(), "total".to_owned()]),
            ),
            (3, Comparison::Missing),
        ] {
            let row = json!({"number": number, "day": "2026-11-20", "total": "2.5", "more": {"a": [1]}, "_extra": null});
            let (key, mut comparison) = service.compare(&row).await.unwrap();
            let shown = json!({"number": number, "day": "2026-11-20"});
            assert_eq!(Json::Object(key), shown);
            if let Comparison::Differs(names) = &mut comparison {
                names.sort();
            }
            assert_eq!(comparison, expected, "{number}");
        }
        let invalid = service
            .compare(&json!({"number": "x", "day": "2026-11-20"}))
            .await;
        assert!(invalid.unwrap_err().to_string().contains("number"));
    }
}
