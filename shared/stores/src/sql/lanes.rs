//! Lanes: disjoint sets of keys, so that merges in different lanes run at once and merges in one lane run in turn.
//!
//! Without lanes, merges that share keys would lock them in order, race with inserts, retry, and deadlock over
//! totals, and every row would pay for that. With a lock per lane, held for one transaction, none of this happens.
//! With two lanes, two merges of a table run at once and a third waits.
//!
//! A hash of the whole key selects its lane, so lanes are even whatever the keys are, and nothing about them has to be
//! registered. A chunk of 2,000 rows or more uses its lanes in parallel, over two connections, with one or two
//! transactions per lane. Such a chunk is not atomic: after an error, a part of it may be applied, guarded by version
//! as always. Applying the chunk again completes it, and the ledger marks it only after both lanes are done.
//!
//! Totals, deletes, snapshots and table changes affect keys of all lanes. They lock all lanes in one transaction, and
//! so do merges by column. Only a holder of all lanes changes the registry, so each merge updates all existing totals.
//!
//! # Tried and given up
//!
//! - Lanes by a prefix of the key: neighbours in the key's index are then mostly in one lane, and a merge finds
//!   several of its rows on each index page. Loads of 500,000 and 2,000,000 rows took at most 10 % less time. But the
//!   prefix has to suit the keys: it must be chosen, registered, checked by every writer, and changed when keys
//!   change. (Workers of a release that did so may still run. Where writers disagree about a lane, the version guard
//!   and the primary key hold, and a merge that meets another one is retried.)
//! - The lower and the upper half of a chunk's keys under one lock: this writes neighbours together, but both
//!   connections wait at the same moments, so the time from put to event does not improve.

use std::hash::{DefaultHasher, Hash, Hasher};

use landfall_domain::{Row, Value};

use crate::registry::Entry;

pub(crate) const LANES: usize = 2;
/// The minimum number of rows for which a second transaction is worth its commit.
pub(super) const MIN_ROWS: usize = 2_000;

/// The lanes of a dataset that a writer locks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LaneLock {
    /// The lane with this number.
    Lane(usize),
    All,
}

impl LaneLock {
    /// Returns whether this keeps other writers from everything that the rows of a lane affect.
    pub(crate) fn is_sufficient(self, entry: &Entry) -> bool {
        matches!(self, Self::All) || are_independent(entry)
    }
}

/// Returns whether rows of one lane never concern those of another.
pub(super) fn are_independent(entry: &Entry) -> bool {
    let registered = &entry.registered;
    let has_totals = !registered.totals.is_empty() || !entry.walks.building.is_empty();
    !has_totals && !entry.tombstones && !registered.is_merged()
}

#[derive(Default)]
pub(super) struct LaneRows<'a> {
    pub(super) rows: Vec<&'a Row>,
    /// For each row, the half of its key's hash that does not decide the lane.
    pub(super) hashes: Vec<u32>,
}

pub(super) fn split<'a>(rows: &[&'a Row], key: &[usize]) -> [LaneRows<'a>; LANES] {
    let mut lanes: [LaneRows<'a>; LANES] = Default::default();
    for row in rows {
        let hash = hash_of(row, key);
        let lane = &mut lanes[usize::try_from(hash % LANES as u64).unwrap_or_default()];
        lane.rows.push(*row);
        let [a, b, c, d, ..] = hash.to_be_bytes();
        lane.hashes.push(u32::from_be_bytes([a, b, c, d]));
    }
    lanes
}

/// Returns the hash of a row's key, the same in every process of a release.
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
            // Not allowed in keys.
            Value::Null | Value::Float(_) | Value::Json(_) => {}
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_even_and_no_row_is_lost() {
        let texts = |number| Value::Text(format!("alike {number:08}").as_str().into());
        for value in [Value::Integer, texts] {
            let row = |number| Row {
                offset: 0,
                deleted: false,
                values: vec![value(number)].into(),
                extra: None,
                parts: None,
            };
            let rows: Vec<Row> = (0..50_000).map(row).collect();
            let lanes = split(&rows.iter().collect::<Vec<_>>(), &[0]);
            let sizes = lanes.map(|lane| lane.rows.len());
            assert_eq!(sizes.iter().sum::<usize>(), 50_000);
            assert!(sizes.iter().all(|rows| *rows > 24_000), "{sizes:?}");
        }
    }
}
