//! Lanes: keys are in one of a few, so that merges of different lanes never have a key in common and go on at
//! the same time, while those of a lane come one after the other.

use std::hash::{DefaultHasher, Hash, Hasher};

use futures::future;
use landfall_domain::{Row, StoreCounts, Value};

use crate::StoreError;
use crate::registry::Entry;

/// The lanes of a dataset.
pub(crate) const LANES: usize = 2;
/// Rows from which on a second transaction is worth its commit.
const MIN_ROWS: usize = 2_000;

/// Whom a writer of a dataset waits for, and keeps waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    /// Those that write to keys of this lane.
    Lane(usize),
    /// All.
    All,
}

/// Whether so many rows may go by lane into a dataset: none of them concerns rows of another lane.
pub(crate) fn are_worth_it(rows: usize, deleted: u64, entry: &Entry) -> bool {
    rows >= MIN_ROWS && deleted == 0 && are_apart(entry)
}

/// Whether rows of one lane concern those of no other.
pub(crate) fn are_apart(entry: &Entry) -> bool {
    entry.registered.totals.is_empty() && !entry.tombstones
}

/// Rows of one lane, in the order of their keys.
pub(crate) struct LaneRows<'a> {
    pub(crate) lane: usize,
    pub(crate) rows: Vec<&'a Row>,
    /// For each row, the half of its key's hash that says nothing of the lane.
    pub(crate) hashes: Vec<u32>,
}

/// The rows of each lane.
pub(crate) fn split<'a>(rows: &[&'a Row], key: &[usize]) -> Vec<LaneRows<'a>> {
    let room = rows.len() * 2 / LANES;
    let mut lanes: Vec<_> = (0..LANES)
        .map(|lane| LaneRows {
            lane,
            rows: Vec::with_capacity(room),
            hashes: Vec::with_capacity(room),
        })
        .collect();
    for row in rows {
        let hash = hash_of(row, key);
        let lane = &mut lanes[usize::try_from(hash % LANES as u64).unwrap_or_default()];
        lane.rows.push(*row);
        lane.hashes
            .push(u32::try_from(hash >> 32).unwrap_or_default());
    }
    lanes
}

/// Applies the lanes of a chunk at the same time, all of them to their end: what one has begun is not cut off
/// because another one failed.
pub(crate) async fn side_by_side<F>(
    lanes: impl Iterator<Item = F>,
) -> Result<StoreCounts, StoreError>
where
    F: Future<Output = Result<StoreCounts, StoreError>>,
{
    let mut sum = StoreCounts::default();
    for counts in future::join_all(lanes).await {
        sum += counts?;
    }
    Ok(sum)
}

/// The hash of a row's key: the same in every process of a release. Where writers of two releases took
/// different lanes, the guard and the key's index would still hold.
fn hash_of(row: &Row, key: &[usize]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for index in key {
        match &row.values[*index] {
            Value::Text(text) => text.hash(&mut hasher),
            Value::Integer(number) => number.hash(&mut hasher),
            Value::Decimal(number) => number.hash(&mut hasher),
            Value::Boolean(boolean) => boolean.hash(&mut hasher),
            Value::Date(day) => day.hash(&mut hasher),
            Value::Timestamp(instant) => instant.hash(&mut hasher),
            // No keys.
            Value::Null | Value::Float(_) | Value::Json(_) => {}
        }
    }
    hasher.finish()
}
