use std::collections::HashMap;

use async_trait::async_trait;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{Item, find, number, require, text};
use landfall_sources::{Record, RunEntry};
use serde::de::DeserializeOwned;

use crate::dynamo::Updated;
use crate::head::now;
use crate::item::{source_key, source_run_key};
use crate::{DynamoTable, LedgerError, MemoryTable, Pause};

/// How long runs are kept, in seconds.
const RUN_SECONDS: i64 = 30 * 24 * 3600;
/// The maximum number of runs that are read at once.
pub const MAX_RUNS: u64 = 100;

/// A record that was read, and its revision.
#[derive(Clone, Debug, Default)]
pub struct StoredSource {
    /// The record.
    pub record: Record,
    /// The number of times that it was stored.
    pub revision: u64,
    /// Who paused the source.
    pub pause: Option<Pause>,
    /// When somebody last requested a run, in milliseconds since 1970.
    pub requested_at: Option<i64>,
}

/// The records of sources, and their runs.
///
/// A record is a single attribute, which is replaced by a conditional write on the revision that was read. A pause and
/// a requested run are separate attributes, so changing them never invalidates a lease.
#[async_trait]
pub trait SourceTable: Send + Sync {
    /// Reads the record of a source; an empty one if there is none.
    async fn source(&self, name: &str) -> Result<StoredSource, LedgerError>;

    /// Replaces a record that still has this revision. Returns the new revision, or `None` if it has another one.
    async fn save_source(
        &self,
        name: &str,
        record: &Record,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError>;

    /// Stores how a run ended. A run that is stored again replaces the earlier one.
    async fn add_source_run(&self, name: &str, run: &RunEntry) -> Result<(), LedgerError>;

    /// Reads the runs with these numbers, newest first: at most [`MAX_RUNS`], without those older than 30 days.
    async fn source_runs(
        &self,
        name: &str,
        first: u64,
        last: u64,
    ) -> Result<Vec<RunEntry>, LedgerError>;

    /// Pauses a source, unless it is paused. Returns who paused it.
    async fn pause_source(&self, name: &str, by: &str) -> Result<Pause, LedgerError>;

    /// Resumes a source.
    async fn resume_source(&self, name: &str) -> Result<(), LedgerError>;

    /// Requests a run at this time, in milliseconds since 1970.
    async fn request_source(&self, name: &str, at: i64) -> Result<(), LedgerError>;
}

pub(crate) fn parse<T: DeserializeOwned>(key: &str, json: &str) -> Result<T, LedgerError> {
    serde_json::from_str(json).map_err(|error| LedgerError::corrupt(key, error))
}

pub(crate) fn to_json(key: &str, value: &impl serde::Serialize) -> Result<String, LedgerError> {
    serde_json::to_string(value).map_err(|error| LedgerError::corrupt(key, error))
}

fn read(key: &str, item: &Item) -> Result<StoredSource, LedgerError> {
    let corrupt = |error| LedgerError::corrupt(key, error);
    let record: Option<String> = find(item, "record").map_err(corrupt)?;
    let record = record.map(|json| parse(key, &json)).transpose()?;
    Ok(StoredSource {
        record: record.unwrap_or_default(),
        revision: find(item, "revision").map_err(corrupt)?.unwrap_or(0),
        pause: find(item, "paused").map_err(corrupt)?,
        requested_at: find(item, "requested_at").map_err(corrupt)?,
    })
}

/// Returns the keys of runs, newest first.
fn numbers(first: u64, last: u64) -> impl Iterator<Item = u64> {
    (first.max(last.saturating_sub(MAX_RUNS - 1))..=last).rev()
}

#[async_trait]
impl SourceTable for DynamoTable {
    async fn source(&self, name: &str) -> Result<StoredSource, LedgerError> {
        let key = source_key(name);
        let item = self.get(&key).await?;
        item.map_or_else(|| Ok(StoredSource::default()), |item| read(&key, &item))
    }

    async fn save_source(
        &self,
        name: &str,
        record: &Record,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        let key = source_key(name);
        let json = to_json(&key, record)?;
        self.save_revision(&key, "record", &json, revision).await
    }

    async fn add_source_run(&self, name: &str, run: &RunEntry) -> Result<(), LedgerError> {
        let key = source_run_key(name, run.number);
        self.update(&key)
            .update_expression("SET #run = :run, expires_at = :expires_at")
            .expression_attribute_names("#run", "run")
            .expression_attribute_values(":run", text(to_json(&key, run)?))
            .expression_attribute_values(":expires_at", number(run.ended.as_second() + RUN_SECONDS))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::from_sdk("UpdateItem", &key, &error).into())
    }

    async fn source_runs(
        &self,
        name: &str,
        first: u64,
        last: u64,
    ) -> Result<Vec<RunEntry>, LedgerError> {
        let keys = numbers(first, last).map(|number| source_run_key(name, number));
        let items = self.get_all(keys.collect::<Vec<_>>().into_iter()).await?;
        let mut runs = Vec::with_capacity(items.len());
        for item in items {
            let json: String =
                require(&item, "run").map_err(|error| LedgerError::corrupt("of a run", error))?;
            runs.push(parse::<RunEntry>("of a run", &json)?);
        }
        runs.sort_unstable_by_key(|run| std::cmp::Reverse(run.number));
        Ok(runs)
    }

    async fn pause_source(&self, name: &str, by: &str) -> Result<Pause, LedgerError> {
        let key = source_key(name);
        let pause = Pause {
            by: by.to_owned(),
            at: now(),
        };
        let update = self
            .update(&key)
            .update_expression("SET paused = if_not_exists(paused, :pause)")
            .expression_attribute_values(":pause", crate::dynamo::attribute(&key, &pause)?);
        let (Updated::Applied(item) | Updated::Unmet(item)) =
            self.send(key.clone(), update).await?;
        require(&item, "paused").map_err(|error| LedgerError::corrupt(&key, error))
    }

    async fn resume_source(&self, name: &str) -> Result<(), LedgerError> {
        let key = source_key(name);
        let update = self.update(&key).update_expression("REMOVE paused");
        let sent = update.send().await.map(drop);
        sent.map_err(|error| AwsError::from_sdk("UpdateItem", &key, &error).into())
    }

    async fn request_source(&self, name: &str, at: i64) -> Result<(), LedgerError> {
        let key = source_key(name);
        self.update(&key)
            .update_expression("SET requested_at = :at")
            .expression_attribute_values(":at", number(at))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::from_sdk("UpdateItem", &key, &error).into())
    }
}

/// The records and runs in memory.
#[derive(Default)]
pub(crate) struct MemorySources {
    stored: HashMap<String, StoredSource>,
    runs: HashMap<(String, u64), RunEntry>,
}

#[async_trait]
impl SourceTable for MemoryTable {
    async fn source(&self, name: &str) -> Result<StoredSource, LedgerError> {
        let items = self.items();
        Ok(items.sources.stored.get(name).cloned().unwrap_or_default())
    }

    async fn save_source(
        &self,
        name: &str,
        record: &Record,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        // As it is stored, so that what JSON cannot hold is noticed.
        let record = parse(name, &to_json(name, record)?)?;
        let mut items = self.items();
        let stored = items.sources.stored.entry(name.to_owned()).or_default();
        if stored.revision != revision {
            return Ok(None);
        }
        stored.record = record;
        stored.revision += 1;
        Ok(Some(stored.revision))
    }

    async fn add_source_run(&self, name: &str, run: &RunEntry) -> Result<(), LedgerError> {
        let key = (name.to_owned(), run.number);
        self.items().sources.runs.insert(key, run.clone());
        Ok(())
    }

    async fn source_runs(
        &self,
        name: &str,
        first: u64,
        last: u64,
    ) -> Result<Vec<RunEntry>, LedgerError> {
        let items = self.items();
        let runs = numbers(first, last);
        let runs = runs.filter_map(|number| items.sources.runs.get(&(name.to_owned(), number)));
        Ok(runs.cloned().collect())
    }

    async fn pause_source(&self, name: &str, by: &str) -> Result<Pause, LedgerError> {
        let mut items = self.items();
        let stored = items.sources.stored.entry(name.to_owned()).or_default();
        let pause = stored.pause.get_or_insert_with(|| Pause {
            by: by.to_owned(),
            at: now(),
        });
        Ok(pause.clone())
    }

    async fn resume_source(&self, name: &str) -> Result<(), LedgerError> {
        if let Some(stored) = self.items().sources.stored.get_mut(name) {
            stored.pause = None;
        }
        Ok(())
    }

    async fn request_source(&self, name: &str, at: i64) -> Result<(), LedgerError> {
        let mut items = self.items();
        let stored = items.sources.stored.entry(name.to_owned()).or_default();
        stored.requested_at = Some(at);
        Ok(())
    }
}
