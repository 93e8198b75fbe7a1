//! The dependencies of the functions, in memory. A caller can die at each call.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use landfall_aws::{AwsError, Listed, Objects, Publisher};
use landfall_domain::{
    ByteRange, CompletionEvent, Dataset, DeadChunk, DeadCode, JobId, Mode, ObjectOrder, ObjectRef,
    PrunePreview, Row, RowVersion, StoreCounts, StoreKind, Value,
};
use landfall_ledger::{
    ChunkOutcome, Circuit, CircuitTable, CursorTable, HeadUpdate, JobHead, LedgerError,
    LedgerTable, MemoryTable, Pause, PlanBlock, RecordedCheckpoint, Shard,
};
use landfall_runtime::Metrics;
use landfall_stores::{Maintenance, Prepared, Step, Store, StoreError};

use crate::schedule::pause;

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// Returns metrics that nobody reads.
pub fn metrics() -> Metrics {
    Metrics::new("simulation", std::io::sink())
}

/// The lines of the metrics in the functions' logs.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Returns the lines about a job.
    pub fn lines(&self, job: JobId) -> Vec<serde_json::Value> {
        let bytes = locked(&self.0);
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter();
        let lines = lines.map(|line: Result<serde_json::Value, _>| line.unwrap());
        lines
            .filter(|line| line["job"] == job.to_string())
            .collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        locked(&self.0).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns a chunk that a store refused.
pub fn dead_chunk(ordinal: u32) -> DeadChunk {
    DeadChunk {
        ordinal,
        range: ByteRange { start: 10, end: 20 },
        first_line: 2,
        code: DeadCode::StoreRefused,
        reason: "refused".to_owned(),
        attempt: 1,
    }
}

/// Returns the head of a new job.
pub fn head_of(key: &str) -> JobHead {
    let job = JobId::for_object("inbox", key, "1");
    let object = ObjectRef {
        bucket: "inbox".to_owned(),
        key: key.to_owned(),
        version: Some("1".to_owned()),
        etag: String::new(),
        size: 1_000,
    };
    JobHead::new(job, object, ObjectOrder::new(1, "01", job).unwrap())
}

/// The buckets: every version of the objects in the inbox, the latest version of all others.
#[derive(Default)]
pub struct Buckets {
    pub versions: Mutex<HashMap<(String, String), Bytes>>,
    pub latest: Mutex<BTreeMap<(String, String), Bytes>>,
}

#[async_trait]
impl Objects for Buckets {
    async fn read(&self, object: &ObjectRef, range: ByteRange) -> Result<Bytes, AwsError> {
        pause().await;
        let version = object
            .version
            .clone()
            .unwrap_or_else(|| object.etag.clone());
        let found = locked(&self.versions)
            .get(&(object.key.clone(), version))
            .cloned();
        let bytes = found.ok_or_else(|| AwsError::Gone(object.key.clone()))?;
        let index = |offset: u64| usize::try_from(offset).unwrap();
        Ok(bytes.slice(index(range.start)..index(range.end)))
    }

    async fn read_text(
        &self,
        bucket: &str,
        key: &str,
        _version: Option<&str>,
        _limit: usize,
    ) -> Result<Option<(String, Option<String>)>, AwsError> {
        pause().await;
        let found = locked(&self.latest)
            .get(&(bucket.to_owned(), key.to_owned()))
            .cloned();
        Ok(found.map(|bytes| (String::from_utf8(bytes.to_vec()).unwrap(), None)))
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<Listed>, AwsError> {
        pause().await;
        let latest = locked(&self.latest);
        let mut listed: Vec<Listed> = latest
            .iter()
            .filter(|((name, key), _)| {
                name == bucket
                    && key.starts_with(prefix)
                    && after.is_none_or(|after| key.as_str() > after)
            })
            .map(|((_, key), bytes)| Listed {
                key: key.clone(),
                etag: String::new(),
                size: bytes.len() as u64,
            })
            .collect();
        listed.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    async fn write(&self, bucket: &str, key: &str, _: &str, body: Bytes) -> Result<(), AwsError> {
        pause().await;
        locked(&self.latest).insert((bucket.to_owned(), key.to_owned()), body);
        pause().await;
        Ok(())
    }
}

/// The event bus: all published events.
#[derive(Default)]
pub struct Bus {
    pub events: Mutex<Vec<CompletionEvent>>,
}

#[async_trait]
impl Publisher for Bus {
    async fn publish(&self, event: &CompletionEvent) -> Result<(), AwsError> {
        pause().await;
        locked(&self.events).push(event.clone());
        pause().await;
        Ok(())
    }
}

/// The table of the ledger, with a pause before and after each operation.
#[derive(Default)]
pub struct Table(pub MemoryTable);

macro_rules! paused {
    ($effect:expr) => {{
        pause().await;
        let answer = $effect.await;
        pause().await;
        answer
    }};
}

#[async_trait]
impl LedgerTable for Table {
    async fn create(&self, head: &JobHead) -> Result<JobHead, LedgerError> {
        paused!(self.0.create(head))
    }
    async fn head(&self, job: JobId) -> Result<Option<JobHead>, LedgerError> {
        paused!(self.0.head(job))
    }
    async fn create_shard(&self, job: JobId, shard: u32) -> Result<(), LedgerError> {
        paused!(self.0.create_shard(job, shard))
    }
    async fn shards(&self, job: JobId, shards: &[u32]) -> Result<Vec<Shard>, LedgerError> {
        paused!(self.0.shards(job, shards))
    }
    async fn put_plan(&self, job: JobId, block: &PlanBlock) -> Result<(), LedgerError> {
        paused!(self.0.put_plan(job, block))
    }
    async fn plan(&self, job: JobId, shards: &[u32]) -> Result<Vec<PlanBlock>, LedgerError> {
        paused!(self.0.plan(job, shards))
    }
    async fn put_checkpoint(
        &self,
        job: JobId,
        checkpoint: &RecordedCheckpoint,
    ) -> Result<RecordedCheckpoint, LedgerError> {
        paused!(self.0.put_checkpoint(job, checkpoint))
    }
    async fn checkpoint(&self, job: JobId) -> Result<Option<RecordedCheckpoint>, LedgerError> {
        paused!(self.0.checkpoint(job))
    }
    async fn add_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        outcome: &ChunkOutcome,
    ) -> Result<(Shard, bool), LedgerError> {
        paused!(self.0.add_chunk(job, ordinal, outcome))
    }
    async fn size_shard(&self, job: JobId, shard: u32, chunks: u32) -> Result<Shard, LedgerError> {
        paused!(self.0.size_shard(job, shard, chunks))
    }
    async fn reset_dead(
        &self,
        job: JobId,
        shard: &Shard,
        ordinals: &BTreeSet<u32>,
        attempt: u32,
    ) -> Result<Shard, LedgerError> {
        paused!(self.0.reset_dead(job, shard, ordinals, attempt))
    }
    async fn remove_resent(
        &self,
        job: JobId,
        shard: u32,
        ordinals: &BTreeSet<u32>,
        attempt: u32,
    ) -> Result<(), LedgerError> {
        paused!(self.0.remove_resent(job, shard, ordinals, attempt))
    }
    async fn update_head(&self, job: JobId, update: &HeadUpdate) -> Result<JobHead, LedgerError> {
        paused!(self.0.update_head(job, update))
    }
    async fn raise_generation(&self, dataset: &str) -> Result<(), LedgerError> {
        paused!(self.0.raise_generation(dataset))
    }
    async fn raise_floor(&self, dataset: &str, order: ObjectOrder) -> Result<(), LedgerError> {
        paused!(self.0.raise_floor(dataset, order))
    }
    async fn floor(&self, dataset: &str) -> Result<Option<ObjectOrder>, LedgerError> {
        paused!(self.0.floor(dataset))
    }
    async fn pause(&self, dataset: &str, pause: &Pause) -> Result<Pause, LedgerError> {
        paused!(self.0.pause(dataset, pause))
    }
    async fn resume(&self, dataset: &str) -> Result<(), LedgerError> {
        paused!(self.0.resume(dataset))
    }
    async fn find_pause(&self, dataset: &str) -> Result<Option<Pause>, LedgerError> {
        paused!(self.0.find_pause(dataset))
    }
}

#[async_trait]
impl CircuitTable for Table {
    async fn open_circuits(&self) -> Result<Vec<Circuit>, LedgerError> {
        paused!(self.0.open_circuits())
    }
    async fn open_circuit(&self, circuit: &Circuit) -> Result<Circuit, LedgerError> {
        paused!(self.0.open_circuit(circuit))
    }
    async fn claim_probe(&self, circuit: &Circuit, next: Timestamp) -> Result<bool, LedgerError> {
        paused!(self.0.claim_probe(circuit, next))
    }
    async fn close_circuit(&self, circuit: &Circuit) -> Result<(), LedgerError> {
        paused!(self.0.close_circuit(circuit))
    }
}

#[async_trait]
impl CursorTable for Table {
    async fn cursor(&self, task: &str) -> Result<Option<String>, LedgerError> {
        paused!(self.0.cursor(task))
    }
    async fn save_cursor(&self, task: &str, position: &str) -> Result<(), LedgerError> {
        paused!(self.0.save_cursor(task, position))
    }
}

/// What a store has for a key: the greatest version and its values, or `None` if that version deleted the key.
pub type Stored = (RowVersion, Option<Vec<Value>>);

/// The number of rows that a step of a prune deletes.
const STEP_ROWS: usize = 7;

/// A store: a map with the version guard of the real ones.
pub struct Map {
    pub kind: StoreKind,
    /// Whether the store cannot be reached.
    pub is_down: AtomicBool,
    /// Whether the store accepts every row.
    pub is_repaired: AtomicBool,
    pub rows: Mutex<BTreeMap<String, Stored>>,
    floor: Mutex<Option<RowVersion>>,
    /// Number of rows that the prune of the floor has deleted.
    pruned: Mutex<u64>,
    /// Number of indexes that maintenance is to create.
    pub missing: AtomicU32,
    /// How often the store is still busy with an index whose function died.
    busy: AtomicU32,
    /// The snapshots whose previews have begun.
    counted: Mutex<HashSet<ObjectOrder>>,
    /// The versions of columns of rows that are merged by column.
    columns: Mutex<BTreeMap<(String, usize), RowVersion>>,
}

impl Map {
    pub fn new(kind: StoreKind) -> Arc<Self> {
        Arc::new(Self {
            kind,
            is_down: AtomicBool::default(),
            is_repaired: AtomicBool::default(),
            rows: Mutex::default(),
            floor: Mutex::default(),
            pruned: Mutex::default(),
            missing: AtomicU32::new(0),
            busy: AtomicU32::new(0),
            counted: Mutex::default(),
            columns: Mutex::default(),
        })
    }

    /// Merges the columns that a row has beside its key, the first one. Returns whether any changes.
    fn merge(&self, row: &Row, version: RowVersion, values: &mut [Value], key: &str) -> bool {
        let mut columns = locked(&self.columns);
        let parts = row
            .parts
            .as_deref()
            .expect("a row says which columns it has");
        let own = (version, parts.own.clone());
        let mut changes = false;
        for (version, part) in parts.older.iter().chain([&own]) {
            for column in (1..values.len()).filter(|column| part.contains(*column)) {
                let known = columns.entry((key.to_owned(), column)).or_insert(*version);
                if *known <= *version {
                    *known = *version;
                    changes |= values[column] != row.values[column];
                    values[column] = row.values[column].clone();
                }
            }
        }
        changes
    }
}

impl Map {
    /// Returns whether an index is being created, and lets some time pass.
    fn is_busy(&self) -> bool {
        let busy = self.busy.load(Ordering::Relaxed);
        if busy == 0 {
            return false;
        }
        self.busy.store(busy - 1, Ordering::Relaxed);
        if busy == 1 {
            self.missing.fetch_sub(1, Ordering::Relaxed);
        }
        true
    }

    /// Fails for rows whose name says so.
    fn check(&self, rows: &[Row]) -> Result<(), StoreError> {
        if self.is_repaired.load(Ordering::Relaxed) {
            return Ok(());
        }
        for row in rows {
            let Some(Value::Text(name)) = row.values.get(1) else {
                continue;
            };
            match (&**name, self.kind) {
                ("refused", StoreKind::Postgres) => {
                    return Err(StoreError::Refused {
                        store: self.kind,
                        reason: "22003 out of range".to_owned(),
                    });
                }
                // Without a message of the panic hook.
                ("panics", StoreKind::Mongodb) => resume_unwind(Box::new("a defect")),
                ("unavailable", _) => return Err(unavailable(self.kind)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn unavailable(store: StoreKind) -> StoreError {
    StoreError::Unavailable {
        store,
        reason: "overloaded".to_owned(),
    }
}

#[async_trait]
impl Store for Map {
    fn kind(&self) -> StoreKind {
        self.kind
    }

    async fn prepare(&self, _: &Dataset) -> Result<Prepared, StoreError> {
        Ok(if self.missing.load(Ordering::Relaxed) > 0 {
            Prepared::NeedsMaintenance
        } else {
            Prepared::Complete
        })
    }

    async fn maintain(&self, _: &Dataset) -> Result<Maintenance, StoreError> {
        pause().await;
        if self.is_busy() {
            return Ok(Maintenance::Busy);
        }
        if self.missing.load(Ordering::Relaxed) == 0 {
            return Ok(Maintenance::Done);
        }
        // If the function dies now, the server goes on for a while.
        self.busy.store(3, Ordering::Relaxed);
        pause().await;
        pause().await;
        self.busy.store(1, Ordering::Relaxed);
        self.is_busy();
        Ok(Maintenance::Continues)
    }

    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<Vec<Row>>,
    ) -> Result<StoreCounts, StoreError> {
        pause().await;
        if self.is_down.load(Ordering::Relaxed) {
            return Err(StoreError::Down {
                store: self.kind,
                reason: "connection refused".to_owned(),
            });
        }
        self.check(rows)?;
        let mut counts = StoreCounts::default();
        {
            let mut stored = locked(&self.rows);
            let floor = *locked(&self.floor);
            for row in rows.iter() {
                let Value::Text(key) = &row.values[0] else {
                    panic!("a row without a key was applied");
                };
                let version = dataset.versions(*order).of(row);
                let values = (!row.deleted).then(|| row.values.to_vec());
                if dataset.mode == Mode::Merge {
                    let is_new = !stored.contains_key(key.as_str());
                    let empty = vec![Value::Null; row.values.len()];
                    let merged = stored.entry(key.to_string());
                    let merged = merged.or_insert((version, Some(empty)));
                    merged.0 = merged.0.max(version);
                    let values = merged.1.as_mut().unwrap();
                    values[0] = row.values[0].clone();
                    *match (is_new, self.merge(row, version, values, key)) {
                        (true, _) => &mut counts.inserted,
                        (false, true) => &mut counts.updated,
                        (false, false) => &mut counts.unchanged,
                    } += 1;
                    continue;
                }
                let existing = stored.get(key.as_str());
                if existing.is_some_and(|(existing, _)| *existing == version) {
                    counts.unchanged += 1;
                    continue;
                }
                if existing.is_some_and(|(existing, _)| *existing > version)
                    || floor > Some(version)
                {
                    counts.stale += 1;
                    continue;
                }
                *match (existing, &values) {
                    (Some((_, existing)), _) if *existing == values => &mut counts.unchanged,
                    (Some((_, Some(_))), Some(_)) => &mut counts.updated,
                    (_, Some(_)) => &mut counts.inserted,
                    (Some(_), None) => &mut counts.deleted,
                    (None, None) => &mut counts.unchanged,
                } += 1;
                stored.insert(key.to_string(), (version, values));
            }
        }
        pause().await;
        Ok(counts)
    }

    async fn preview_prune(
        &self,
        _: &Dataset,
        order: &ObjectOrder,
    ) -> Result<Step<PrunePreview>, StoreError> {
        pause().await;
        let is_first = locked(&self.counted).insert(*order);
        let preview = {
            let stored = locked(&self.rows);
            let rows = stored.values().filter(|(_, values)| values.is_some());
            let deletes = rows.clone().filter(|(version, _)| *version < order.at(0));
            PrunePreview {
                rows: rows.count() as u64,
                deletes: deletes.count() as u64,
            }
        };
        pause().await;
        Ok(if is_first {
            Step::Continues
        } else {
            Step::Done(preview)
        })
    }

    async fn prune(&self, _: &Dataset, order: &ObjectOrder) -> Result<Step<u64>, StoreError> {
        pause().await;
        let step = {
            let (own, mut floor) = (order.at(0), locked(&self.floor));
            let mut pruned = locked(&self.pruned);
            if *floor < Some(own) {
                (*floor, *pruned) = (Some(own), 0);
            }
            let mut rows = locked(&self.rows);
            let is_below = |(version, _): &Stored| Some(*version) < *floor;
            let below = rows.iter().filter(|(_, stored)| is_below(stored));
            let below: Vec<String> = below.map(|(key, _)| key.clone()).collect();
            for key in below.iter().take(STEP_ROWS) {
                let removed = rows.remove(key);
                *pruned += u64::from(removed.is_some_and(|(_, values)| values.is_some()));
            }
            if below.len() > STEP_ROWS {
                Step::Continues
            } else if *floor == Some(own) {
                Step::Done(*pruned)
            } else {
                Step::Done(0)
            }
        };
        pause().await;
        Ok(step)
    }

    async fn rebuild_totals(&self, _: &Dataset) -> Result<Vec<(String, u64)>, StoreError> {
        Ok(Vec::new())
    }
}
