//! Everything outside of the puller.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jiff::Timestamp;
use landfall_domain::JobState;
use landfall_ledger::{Ledger, Seal, SourceTable, Sums};
use landfall_sources::{Mark, Request, Secrets};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{OVERLAP, PAGE};
use crate::fakes::{Table, head_of, locked};

/// The version of a row and its time in milliseconds, by id.
type Rows = BTreeMap<i64, (i64, i64)>;

/// The ids of the items of a row start with its own.
const ITEMS: i64 = 100;

/// Returns the items of rows, of which each has one to six.
fn items(rows: &Rows) -> Rows {
    let items = rows.iter().flat_map(|(id, row)| {
        let ids = id * ITEMS..=id * ITEMS + (id + row.0) % 6;
        ids.map(|item| (item, *row))
    });
    items.collect()
}

/// Everything outside of the puller.
pub(super) struct World {
    pub(super) clock: AtomicI64,
    pub(super) rng: Mutex<StdRng>,
    pub(super) fails: Mutex<bool>,
    pub(super) served: Mutex<HashMap<String, Rows>>,
    pub(super) stored: Mutex<HashMap<String, Rows>>,
    pub(super) objects: Mutex<BTreeMap<String, Bytes>>,
    pub(super) uploads: Mutex<HashMap<String, BTreeMap<usize, Bytes>>>,
    pub(super) table: Arc<Table>,
    pub(super) ingested: Mutex<HashSet<String>>,
}

impl World {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.clock.load(Ordering::Relaxed)).unwrap()
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// Returns whether something goes wrong, with this probability.
    pub(super) fn goes_wrong(&self, probability: f64) -> bool {
        *locked(&self.fails) && locked(&self.rng).random_bool(probability)
    }

    /// Changes the rows of an API. A time can be as late as the overlap.
    pub(super) fn change(&self, dataset: &str) {
        let mut rng = locked(&self.rng);
        let mut served = locked(&self.served);
        let rows = served.entry(dataset.to_owned()).or_default();
        for _ in 0..rng.random_range(0..3) {
            let id = rng.random_range(0..20);
            if dataset == "stock" && rows.len() > 1 && rng.random_bool(0.3) {
                rows.remove(&id);
                continue;
            }
            let late = rng.random_range(0..OVERLAP.as_secs()) * i64::from(rng.random_bool(0.3));
            let at = self.now().as_millisecond() - late * 1000;
            let version = rows.get(&id).map_or(0, |(version, _)| version + 1);
            rows.insert(id, (version, at));
        }
    }

    /// Returns the page that a request gets.
    pub(super) fn page(&self, request: &Request) -> Value {
        let url = request.reveal(&Secrets::default()).unwrap().url;
        let parameters: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let after: i64 = parameters
            .get("after")
            .map_or(-1, |after| after.parse().unwrap());
        let since = parameters
            .get("since")
            .map(|since| since.parse::<Timestamp>().unwrap());
        let served = locked(&self.served);
        let path: Vec<&str> = url.path_segments().unwrap().collect();
        let mut rows = served.get(path[0]).cloned().unwrap_or_default();
        if let [_, id, "items"] = path[..] {
            let id: i64 = id.parse().unwrap();
            rows.retain(|other, _| *other == id);
            rows = items(&rows);
        }
        let rows = rows.iter();
        let time = |at: i64| Timestamp::from_millisecond(at).unwrap();
        let rows = rows
            .filter(|(id, (_, at))| **id > after && since.is_none_or(|since| time(*at) >= since));
        let page: Vec<_> = rows.take(PAGE).collect();
        let next = (page.len() == PAGE).then(|| page[PAGE - 1].0.to_string());
        let rows: Vec<Value> = page
            .iter()
            .map(|(id, (version, at))| json!({"id": id, "version": version, "at": time(*at).to_string()}))
            .collect();
        json!({ "rows": rows, "next": next })
    }

    /// Ingests objects, in one of the ways in which a job can close.
    pub(super) async fn ingest(&self, ledger: &Ledger) {
        let objects: Vec<(String, Bytes)> = locked(&self.objects).clone().into_iter().collect();
        for (key, body) in objects {
            if locked(&self.ingested).contains(&key) || self.goes_wrong(0.5) {
                continue;
            }
            locked(&self.ingested).insert(key.clone());
            let outcomes = [
                JobState::Succeeded,
                JobState::Failed,
                JobState::Partial,
                JobState::Cancelled,
            ];
            let state = if self.goes_wrong(0.3) {
                outcomes[locked(&self.rng).random_range(0..4)]
            } else {
                outcomes[0]
            };
            self.apply(&key, &body, state);
            let head = ledger.start(&head_of(&key)).await.unwrap();
            let seal = Seal {
                chunks: 0,
                problem: None,
                warnings: Vec::new(),
            };
            let head = ledger.seal(head.job, &seal).await.unwrap();
            if state == JobState::Cancelled {
                ledger.cancel(head.job, "somebody").await.unwrap();
            }
            let head = ledger
                .record_close(&head, state, None, Sums::default())
                .await
                .unwrap();
            assert_eq!(head.state, state);
        }
    }

    pub(super) fn apply(&self, key: &str, body: &[u8], state: JobState) {
        let dataset = key.split('/').next().unwrap();
        let lines = str::from_utf8(body).unwrap().lines();
        let rows = lines.map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            if dataset == "items" {
                let id = row["id"].as_i64().unwrap();
                assert_eq!(row["stock_id"], id / ITEMS, "{line}");
            }
            let at: Timestamp = row["at"].as_str().unwrap().parse().unwrap();
            (
                row["id"].as_i64().unwrap(),
                (row["version"].as_i64().unwrap(), at.as_millisecond()),
            )
        });
        let rows: Rows = rows.collect();
        let count = match state {
            JobState::Succeeded => rows.len(),
            JobState::Open | JobState::Failed => 0,
            JobState::Partial | JobState::Cancelled => rows.len() / 2,
        };
        let mut stored = locked(&self.stored);
        let stored = stored.entry(dataset.to_owned()).or_default();
        if dataset != "changes" && state == JobState::Succeeded {
            stored.retain(|id, _| rows.contains_key(id));
        }
        stored.extend(rows.into_iter().take(count));
    }

    /// Returns the ids of the stored rows of a dataset after one of them.
    pub(super) fn stored_ids(&self, dataset: &str, after: i64) -> Vec<i64> {
        let stored = locked(&self.stored);
        let rows = stored.get(dataset).into_iter().flatten();
        rows.map(|(id, _)| *id).filter(|id| *id > after).collect()
    }

    /// Checks that the stored rows are those of the APIs.
    pub(super) fn check_stored(&self) {
        let (served, mut stored) = (locked(&self.served), locked(&self.stored).clone());
        let stored_items = stored.remove("items").unwrap_or_default();
        assert_eq!(stored, *served);
        assert_eq!(stored_items, items(&served["stock"]));
    }

    /// Checks that a row which no later run fetches is stored.
    pub(super) async fn check_state(&self) {
        let record = self.table.0.source("changes").await.unwrap().record;
        let Some(Mark::Timestamp(watermark)) = record.current.watermark else {
            return;
        };
        let start = watermark.checked_sub(OVERLAP).unwrap().as_millisecond();
        let (served, stored) = (locked(&self.served), locked(&self.stored));
        for (id, (version, at)) in served.get("changes").into_iter().flatten() {
            let found = stored.get("changes").and_then(|rows| rows.get(id));
            let is_stored = found.is_some_and(|(stored, _)| stored >= version);
            assert!(
                *at >= start || is_stored,
                "row {id} is lost: the state is {watermark}"
            );
        }
    }
}
