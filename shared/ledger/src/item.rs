//! The items of the ledger's table, and their attributes.

use std::collections::BTreeMap;

use landfall_aws::dynamo::{Item, ItemError, find, from_attribute, from_item, require, text};
use landfall_domain::{
    Counts, DeadChunk, DeadCode, JobId, ParentRow, StoreCounts, StoreKind, WarningCode, WriteId,
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{LedgerError, SHARD_CHUNKS, Shard};

/// Prefixes of the attributes of shards that count warnings, chunks in which a field has no value, and values of a
/// field that lost precision.
const WARNING: &str = "warning_";
const NULL: &str = "null_";
const TRUNCATED: &str = "truncated_";

/// Prefixes of the attributes of shards with the set of dead chunks of a code, and with one dead chunk.
const DEAD_CODE: &str = "dead_code_";
const DEAD_CHUNK: &str = "dead_chunk_";

/// What the keys of notifications begin with.
const NOTIFICATION: &str = "notification#";

/// The key of the item with the open circuits of the stores.
pub(crate) const CIRCUITS_KEY: &str = "circuits";

pub(crate) fn head_key(job: JobId) -> String {
    format!("job/{job}")
}

pub(crate) fn shard_key(job: JobId, shard: u32) -> String {
    format!("job/{job}/{shard}")
}

/// Returns the key of the checkpoint of a job.
pub(crate) fn checkpoint_key(job: JobId) -> String {
    format!("plan/{job}")
}

/// Returns the key of the plan of a shard.
pub(crate) fn plan_key(job: JobId, shard: u32) -> String {
    format!("plan/{job}/{shard}")
}

/// Returns the key of a dataset's generation.
pub(crate) fn dataset_key(dataset: &str) -> String {
    format!("dataset#{dataset}")
}

/// Returns the key of the permits of a name in the window that begins at this second.
pub(crate) fn permits_key(name: &str, window: i64) -> String {
    format!("rate#{name}/{window}")
}

/// Returns the key of the record of a source.
pub(crate) fn source_key(name: &str) -> String {
    format!("source#{name}")
}

/// Returns the key of a run of a source.
pub(crate) fn source_run_key(name: &str, number: u64) -> String {
    format!("source#{name}/{number}")
}

/// Returns the key of what is recorded about a destination.
pub(crate) fn destination_key(name: &str) -> String {
    format!("destination#{name}")
}

/// Returns the key of the tasks of a destination.
pub(crate) fn destination_tasks_key(name: &str) -> String {
    format!("destination#{name}/tasks")
}

/// Returns the key of the slots of a host.
pub(crate) fn pace_key(host: &str) -> String {
    format!("pace#{host}")
}

/// Returns the key of the number of requests to a host on a day, which is counted from 1970.
pub(crate) fn pace_day_key(host: &str, day: i64) -> String {
    format!("pace#{host}#{day}")
}

/// Returns the key of a cursor.
pub(crate) fn cursor_key(name: &str) -> String {
    format!("cursor#{name}")
}

/// Returns the key of a write.
pub(crate) fn write_key(write: WriteId) -> String {
    format!("write/{write}")
}

/// Returns the key of a clock that orders writes.
pub(crate) fn clock_key(clock: u8) -> String {
    format!("clock/{clock}")
}

/// Returns the key of an idempotency key, whose name says the token.
pub(crate) fn request_key(name: &str) -> String {
    format!("request#{name}")
}

/// Returns the key of a row that is a parent.
pub(crate) fn parent_key(row: &ParentRow) -> String {
    format!("parent#{row}")
}

/// Returns the key of a notification.
pub(crate) fn notification_key(id: Uuid) -> String {
    format!("{NOTIFICATION}{id}")
}

/// Returns the notification of an item with this key.
pub(crate) fn notification_of_item(key: &str) -> Option<Uuid> {
    key.strip_prefix(NOTIFICATION)?.parse().ok()
}

/// Returns the attribute with the set of dead chunks of a code.
pub(crate) fn dead_code(code: DeadCode) -> String {
    format!("{DEAD_CODE}{}", code.as_str())
}

/// Returns the attribute with what is known of a dead chunk.
pub(crate) fn dead_chunk(ordinal: u32) -> String {
    format!("{DEAD_CHUNK}{ordinal}")
}

/// Returns the job of an item with this key, if the item is the head of a job or one of its shards.
pub fn job_of_item(key: &str) -> Option<JobId> {
    key.strip_prefix("job/")?.split('/').next()?.parse().ok()
}

pub(crate) fn read<T: DeserializeOwned>(key: &str, item: Item) -> Result<T, LedgerError> {
    from_item(item).map_err(|error| LedgerError::corrupt(key, error))
}

/// Returns the counts of a store that shards have, with the ends of their attributes' names.
fn named(counts: &mut StoreCounts) -> [(&'static str, &mut u64); 5] {
    [
        ("inserted", &mut counts.inserted),
        ("updated", &mut counts.updated),
        ("unchanged", &mut counts.unchanged),
        ("stale", &mut counts.stale),
        ("deleted", &mut counts.deleted),
    ]
}

/// Returns the counts as attributes of a shard: `ADD` works only on numbers at the top level of an item.
pub(crate) fn flat(counts: &Counts) -> Vec<(String, u64)> {
    let mut flat = vec![
        ("rows".to_owned(), counts.rows),
        ("rejected".to_owned(), counts.rejected),
    ];
    for (store, mut counts) in counts.stores.clone() {
        let named = named(&mut counts).into_iter();
        flat.extend(named.map(|(name, count)| (format!("{store}_{name}"), *count)));
    }
    let warnings = counts.warnings.iter();
    flat.extend(warnings.map(|(code, count)| (format!("{WARNING}{code}"), *count)));
    let nulls = counts.null_columns.iter();
    flat.extend(nulls.map(|(field, chunks)| (format!("{NULL}{field}"), *chunks)));
    let truncated = counts.truncated.iter();
    flat.extend(truncated.map(|(field, values)| (format!("{TRUNCATED}{field}"), *values)));
    flat
}

pub(crate) fn read_shard(item: &Item) -> Result<Shard, LedgerError> {
    let key: String =
        require(item, "pk").map_err(|error| LedgerError::corrupt("of a shard", error))?;
    let index: u32 = key
        .rsplit_once('/')
        .and_then(|(_, index)| index.parse().ok())
        .ok_or_else(|| LedgerError::corrupt(&key, "this is not the key of a shard"))?;
    let shard = shard_attributes(item, index).map_err(|error| LedgerError::corrupt(&key, error))?;
    let belongs = |ordinal: &u32| ordinal / SHARD_CHUNKS == index;
    if shard.chunks > SHARD_CHUNKS || !shard.done.union(&shard.dead).all(belongs) {
        return Err(LedgerError::corrupt(&key, "it has chunks of other shards"));
    }
    Ok(shard)
}

fn shard_attributes(item: &Item, index: u32) -> Result<Shard, ItemError> {
    // A count that nothing was added to does not exist.
    let count = |name: &str| find(item, name).map(Option::unwrap_or_default);
    let mut counts = Counts {
        rows: count("rows")?,
        rejected: count("rejected")?,
        ..Counts::default()
    };
    let (mut dead_by_code, mut dead_chunks) = (BTreeMap::new(), BTreeMap::new());
    for name in item.keys() {
        if let Some(code) = name.strip_prefix(DEAD_CODE) {
            let code: DeadCode = from_attribute(text(code))?;
            dead_by_code.insert(code, require(item, name)?);
        } else if name.starts_with(DEAD_CHUNK) {
            let chunk: DeadChunk = require(item, name)?;
            dead_chunks.insert(chunk.ordinal, chunk);
        } else if let Some(code) = name.strip_prefix(WARNING) {
            let code: WarningCode = from_attribute(text(code))?;
            counts.warnings.insert(code, count(name)?);
        } else if let Some(field) = name.strip_prefix(NULL) {
            counts.null_columns.insert(field.to_owned(), count(name)?);
        } else if let Some(field) = name.strip_prefix(TRUNCATED) {
            counts.truncated.insert(field.to_owned(), count(name)?);
        } else if let Some(store) = name.strip_suffix("_inserted") {
            // All counts of a store are written together; `deleted` since the release that has it.
            let store: StoreKind = from_attribute(text(store))?;
            let mut stored = StoreCounts::default();
            for (name, value) in named(&mut stored) {
                *value = count(&format!("{store}_{name}"))?;
            }
            counts.stores.insert(store, stored);
        }
    }
    Ok(Shard {
        index,
        chunks: require(item, "chunks")?,
        done: find(item, "done")?.unwrap_or_default(),
        dead: find(item, "dead")?.unwrap_or_default(),
        dead_by_code,
        dead_chunks,
        resend: find(item, "resend")?.unwrap_or_default(),
        attempt: find(item, "attempt")?.unwrap_or_default(),
        counts,
        marked_at: find(item, "marked_at")?,
    })
}
