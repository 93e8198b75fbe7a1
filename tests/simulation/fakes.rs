//! The dependencies of the functions, in memory. A caller can die at each call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use landfall_aws::{AwsError, Listed, Objects, Publisher};
use landfall_domain::{
    ByteRange, CompletionEvent, DeadChunk, DeadCode, JobId, ObjectOrder, ObjectRef,
};
use landfall_ledger::{
    ChunkOutcome, Circuit, CircuitTable, CursorTable, HeadUpdate, JobHead, LedgerError,
    LedgerTable, MemoryTable, Pause, PlanBlock, RecordedCheckpoint, Shard, SourceTable,
    StoredSource,
};
use landfall_runtime::Metrics;
use landfall_sources::{Record, RunEntry};

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

    async fn read_latest(
        &self,
        bucket: &str,
        key: &str,
        range: ByteRange,
    ) -> Result<Bytes, AwsError> {
        pause().await;
        let found = locked(&self.latest)
            .get(&(bucket.to_owned(), key.to_owned()))
            .cloned();
        let bytes = found.ok_or_else(|| AwsError::Gone(key.to_owned()))?;
        let index = |offset: u64| usize::try_from(offset).unwrap();
        Ok(bytes.slice(index(range.start)..index(range.end)))
    }

    async fn read_text(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        _limit: usize,
    ) -> Result<Option<(String, Option<String>)>, AwsError> {
        pause().await;
        let latest = locked(&self.latest);
        let find = |key: String| latest.get(&(bucket.to_owned(), key)).cloned();
        // The key of an older version ends with the version.
        let older = version.and_then(|version| {
            let found = find(format!("{key}?{version}"))?;
            Some((found, Some(version.to_owned())))
        });
        let found = older.or_else(|| Some((find(key.to_owned())?, None)));
        Ok(found.map(|(bytes, version)| (String::from_utf8(bytes.to_vec()).unwrap(), version)))
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

    async fn create(
        &self,
        bucket: &str,
        key: &str,
        _: &str,
        body: Bytes,
    ) -> Result<bool, AwsError> {
        pause().await;
        let is_new = {
            let mut latest = locked(&self.latest);
            let place = (bucket.to_owned(), key.to_owned());
            let is_new = !latest.contains_key(&place);
            latest.entry(place).or_insert(body);
            is_new
        };
        pause().await;
        Ok(is_new)
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

#[async_trait]
impl SourceTable for Table {
    async fn source(&self, name: &str) -> Result<StoredSource, LedgerError> {
        paused!(self.0.source(name))
    }
    async fn save_source(
        &self,
        name: &str,
        record: &Record,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        paused!(self.0.save_source(name, record, revision))
    }
    async fn add_source_run(&self, name: &str, run: &RunEntry) -> Result<(), LedgerError> {
        paused!(self.0.add_source_run(name, run))
    }
    async fn source_runs(
        &self,
        name: &str,
        first: u64,
        last: u64,
    ) -> Result<Vec<RunEntry>, LedgerError> {
        paused!(self.0.source_runs(name, first, last))
    }
    async fn pause_source(&self, name: &str, by: &str) -> Result<Pause, LedgerError> {
        paused!(self.0.pause_source(name, by))
    }
    async fn resume_source(&self, name: &str) -> Result<(), LedgerError> {
        paused!(self.0.resume_source(name))
    }
    async fn request_source(&self, name: &str, at: i64) -> Result<(), LedgerError> {
        paused!(self.0.request_source(name, at))
    }
}
