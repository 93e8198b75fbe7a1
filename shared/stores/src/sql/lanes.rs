//! Lanes: disjoint sets of keys, so that merges in different lanes run at once and merges in one lane run in turn.
//!
//! Without lanes, merges that share keys would lock them in order, race with inserts, retry, and deadlock over
//! totals, and every row would pay for that. With a lock per lane, held for one transaction, none of this happens.
//! With two lanes, two merges of a table run at once and a third waits.
//!
//! # Assigning keys to lanes
//!
//! The sum of the first bytes of a key selects its lane. Neighbours in the key's index are then mostly in one lane,
//! so a merge finds several of its rows on each index page. (A hash of these bytes would be uneven if few prefixes
//! exist, and loads would end with only the fuller lane working.) The first chunk that uses lanes chooses the
//! number of bytes so that there are many prefixes, and registers it. If nearly all keys of a later chunk share a
//! prefix, a hash of the whole key selects the lane from then on. Changing the method requires a lock on all lanes.
//! After locking a lane, every writer checks that the method has not changed.
//!
//! A chunk of 2,000 rows or more uses its lanes in parallel, over two connections, with one or two transactions per
//! lane. Such a chunk is not atomic: after an error, a part of it may be applied, guarded by version as always.
//! Applying the chunk again completes it, and the ledger marks it only after both lanes are done.
//!
//! Totals, deletes, snapshots and table changes affect keys of all lanes. They lock all lanes in one transaction.
//! Only a holder of all lanes changes the registry, so each merge updates all existing totals.
//!
//! # Tried and given up
//!
//! - Lanes by a hash of the whole key: both connections touch every page of the key's index, for half of its rows
//!   each.
//! - The lower and the upper half of a chunk's keys under one lock: this writes neighbours together, but both
//!   connections wait at the same moments, so the time from put to event does not improve.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::future;
use landfall_domain::{Row, StoreCounts, Value};

use crate::error::Result;
use crate::registry::{LaneBy, Registered};

pub(crate) const LANES: usize = 2;
/// The minimum number of rows for which a second transaction is worth its commit.
pub(super) const MIN_ROWS: usize = 2_000;
/// The minimum number of rows for which lanes must be even. Fewer say little about the keys to come, and do not block
/// others for long.
const MIN_JUDGED: usize = 10_000;

/// The longest prefix that is tried, in bytes.
const LONGEST: usize = 32;
/// The number of rows that a prefix is chosen by.
const SAMPLE: usize = 4_096;
/// The minimum number of different prefixes in a chunk. So many make lanes about even, and are few enough to have
/// many neighbours each.
const MIN_PREFIXES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    by: LaneBy,
    pub(crate) number: usize,
}

/// Which other writers of a dataset a writer excludes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    /// Writers to keys of this lane.
    Lane(Lane),
    All,
}

impl Hold {
    /// Returns whether this excludes all writers to what the rows concern.
    pub(crate) fn suffices(self, registered: &Registered, tombstones: bool) -> bool {
        match self {
            Self::Lane(lane) => {
                registered.lane_by == Some(lane.by) && are_independent(registered, tombstones)
            }
            Self::All => true,
        }
    }
}

/// Returns whether rows of one lane never concern those of another.
pub(super) fn are_independent(registered: &Registered, tombstones: bool) -> bool {
    registered.totals.is_empty() && !tombstones
}

pub(crate) struct LaneRows<'a> {
    pub(crate) lane: Lane,
    pub(crate) rows: Vec<&'a Row>,
    /// For each row, the half of its key's hash that does not decide the lane.
    pub(crate) hashes: Vec<u32>,
}

/// Returns what decides the lanes of a dataset in place of `unsuitable`: what another worker has registered
/// meanwhile, or what suits these keys.
pub(crate) fn choose(
    rows: &[&Row],
    key: &[usize],
    registered: Option<LaneBy>,
    unsuitable: Option<LaneBy>,
) -> LaneBy {
    match (registered, unsuitable) {
        (Some(by), _) if registered != unsuitable => by,
        (_, None) => choose_prefix(rows, key),
        // A prefix that suited other keys but not these may fail again.
        (_, Some(_)) => LaneBy::Key,
    }
}

/// Returns the shortest prefix that suits these keys, or the whole key.
fn choose_prefix(rows: &[&Row], key: &[usize]) -> LaneBy {
    let sample: Vec<_> = rows
        .iter()
        .step_by(rows.len().div_ceil(SAMPLE).max(1))
        .copied()
        .collect();
    let is_fit = |&length: &usize| {
        let prefixes: HashSet<_> = sample
            .iter()
            .filter_map(|row| map_prefix(row, key, length, <[u8]>::to_vec))
            .collect();
        prefixes.len() >= MIN_PREFIXES && are_even(&split(&sample, key, LaneBy::Prefix(length)))
    };
    (1..=LONGEST)
        .find(is_fit)
        .map_or(LaneBy::Key, LaneBy::Prefix)
}

/// Returns the rows of each lane, or none if nothing decides lanes yet or nearly all of many rows are in one lane.
pub(crate) fn split_evenly<'a>(
    rows: &[&'a Row],
    key: &[usize],
    by: Option<LaneBy>,
) -> Option<Vec<LaneRows<'a>>> {
    let by = by?;
    let lanes = split(rows, key, by);
    let are_fit = by == LaneBy::Key || rows.len() < MIN_JUDGED || are_even(&lanes);
    are_fit.then_some(lanes)
}

fn are_even(lanes: &[LaneRows<'_>]) -> bool {
    let rows: usize = lanes.iter().map(|lane| lane.rows.len()).sum();
    lanes.iter().all(|lane| lane.rows.len() * 4 <= rows * 3)
}

pub(crate) fn split<'a>(rows: &[&'a Row], key: &[usize], by: LaneBy) -> Vec<LaneRows<'a>> {
    let room = rows.len() * 2 / LANES;
    let mut lanes: Vec<_> = (0..LANES)
        .map(|number| LaneRows {
            lane: Lane { by, number },
            rows: Vec::with_capacity(room),
            hashes: Vec::with_capacity(room),
        })
        .collect();
    for row in rows {
        let hash = hash_of(row, key);
        let lane_hash = match by {
            LaneBy::Prefix(length) => map_prefix(row, key, length, sum).unwrap_or(hash),
            LaneBy::Key => hash,
        };
        let lane = &mut lanes[usize::try_from(lane_hash % LANES as u64).unwrap_or_default()];
        lane.rows.push(*row);
        let [a, b, c, d, ..] = hash.to_be_bytes();
        lane.hashes.push(u32::from_be_bytes([a, b, c, d]));
    }
    lanes
}

/// Runs the lanes of a chunk concurrently, each to its end: the failure of one does not cancel the others.
pub(crate) async fn run_concurrently<F>(lanes: impl Iterator<Item = F>) -> Result<StoreCounts>
where
    F: Future<Output = Result<StoreCounts>>,
{
    let mut sum = StoreCounts::default();
    for counts in future::join_all(lanes).await {
        sum += counts?;
    }
    Ok(sum)
}

/// Returns the hash of a row's key, the same in every process of a release. Where writers of two releases disagree
/// about a lane, the version guard and the primary key still hold.
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

/// Applies `f` to the first bytes of a row's key, if its first field has a type with neighbours.
fn map_prefix<T>(row: &Row, key: &[usize], length: usize, f: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let number;
    let bytes = match &row.values[*key.first()?] {
        Value::Text(text) => text.as_bytes(),
        Value::Integer(integer) => {
            number = integer.to_be_bytes();
            &number
        }
        _ => return None,
    };
    Some(f(&bytes[..length.min(bytes.len())]))
}

/// Returns the number that decides the lane of a prefix. A hash would distribute few prefixes unevenly, and loads
/// would wait for the fuller lane. Sums balance the lanes where every digit or letter is about as frequent as the
/// next one.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().copied().map(u64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(keys: impl Iterator<Item = Value>) -> Vec<Row> {
        keys.map(|key| Row {
            offset: 0,
            deleted: false,
            values: vec![key].into(),
            extra: None,
        })
        .collect()
    }

    fn texts(keys: impl Iterator<Item = String>) -> Vec<Row> {
        rows(keys.map(|key| Value::Text(key.into())))
    }

    fn chosen(rows: &[Row]) -> LaneBy {
        choose(&rows.iter().collect::<Vec<_>>(), &[0], None, None)
    }

    #[test]
    fn the_shortest_prefix_is_chosen_that_many_keys_do_not_share() {
        let spread = (0..50_000_u32).map(|key| format!("{:08X}", key.wrapping_mul(2_654_435_761)));
        assert_eq!(chosen(&texts(spread)), LaneBy::Prefix(2));
        let one_after_the_other = (0..50_000).map(|key| format!("item-{key:08}"));
        assert_eq!(chosen(&texts(one_after_the_other)), LaneBy::Prefix(11));
        let numbers = (0..50_000).map(Value::Integer);
        assert_eq!(chosen(&rows(numbers)), LaneBy::Prefix(7));
        let alike = (0..50_000).map(|key| format!("{}{key:08}", "alike ".repeat(10)));
        assert_eq!(chosen(&texts(alike)), LaneBy::Key);
    }

    #[test]
    fn few_prefixes_share_the_rows_out_evenly() {
        let spread = (0..50_000_u32).map(|key| format!("{:08X}", key.wrapping_mul(2_654_435_761)));
        let numbered = (0..50_000).map(|key| format!("item-{key:08}"));
        for rows in [texts(spread), texts(numbered)] {
            let by = chosen(&rows);
            let lanes = split(&rows.iter().collect::<Vec<_>>(), &[0], by);
            for lane in lanes {
                let rows = lane.rows.len();
                assert!((24_000..=26_000).contains(&rows), "{rows} by {by:?}");
            }
        }
    }

    #[test]
    fn keys_that_begin_alike_are_of_one_lane_and_no_row_is_lost() {
        let rows = texts((0..10_000).map(|key| format!("{key:05}")));
        let lanes = split(&rows.iter().collect::<Vec<_>>(), &[0], LaneBy::Prefix(3));
        assert_eq!(
            lanes.iter().map(|lane| lane.rows.len()).sum::<usize>(),
            10_000
        );
        let prefixes = |lane: &LaneRows<'_>| -> HashSet<Vec<u8>> {
            let rows = lane.rows.iter();
            rows.filter_map(|row| map_prefix(row, &[0], 3, <[u8]>::to_vec))
                .collect()
        };
        assert!(prefixes(&lanes[0]).is_disjoint(&prefixes(&lanes[1])));
    }

    #[test]
    fn what_gives_nearly_all_rows_to_one_lane_is_given_up_for_good() {
        let rows = texts((0..10_000).map(|key| format!("0000{key:04}")));
        let rows: Vec<_> = rows.iter().collect();
        let unsuitable = Some(LaneBy::Prefix(2));
        assert!(split_evenly(&rows[..9_999], &[0], unsuitable).is_some());
        assert!(split_evenly(&rows, &[0], unsuitable).is_none());
        let other = Some(LaneBy::Prefix(7));
        assert_eq!(choose(&rows, &[0], other, unsuitable), LaneBy::Prefix(7));
        let by = choose(&rows, &[0], unsuitable, unsuitable);
        assert_eq!(by, LaneBy::Key);
        assert!(split_evenly(&rows, &[0], Some(by)).is_some());
    }
}
