//! Lanes: keys are in one of a few, so that merges of different lanes never have a key in common and go on at
//! the same time, while those of a lane come one after the other.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::future;
use landfall_domain::{Row, StoreCounts, Value};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::registry::{Entry, Registered};

/// The lanes of a dataset.
pub(crate) const LANES: usize = 2;
/// Rows from which on a second transaction is worth its commit.
const MIN_ROWS: usize = 2_000;
/// Rows from which on lanes must be even: fewer say little of the keys to come, and keep nobody waiting for long.
const MIN_JUDGED: usize = 10_000;

/// The longest prefix that is tried, in bytes.
const LONGEST: usize = 32;
/// Rows that a prefix is chosen by.
const SAMPLE: usize = 4_096;
/// So many prefixes in a chunk make lanes about even, and are few enough to have many neighbours each.
const MIN_PREFIXES: usize = 64;

/// What of a key says its lane; registered, as all writers of a dataset must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LaneBy {
    /// The first so many bytes of its first field. Neighbours in the key's index are in one lane then, so that a
    /// writer finds several rows of its own where it looks for one.
    Prefix(usize),
    /// All of it.
    Key,
}

/// One of a dataset's lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    by: LaneBy,
    /// Less than [`LANES`].
    pub(crate) number: usize,
}

/// Whom a writer of a dataset waits for, and keeps waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    /// Those that write to keys of this lane.
    Lane(Lane),
    /// All.
    All,
}

impl Hold {
    /// Whether nobody else writes to what rows of this lane, or any, concern, as the dataset is registered.
    pub(crate) fn suffices(self, registered: &Registered, tombstones: bool) -> bool {
        match self {
            Self::Lane(lane) => {
                registered.lane_by == Some(lane.by) && are_apart(registered, tombstones)
            }
            Self::All => true,
        }
    }
}

/// Whether so many rows may go by lane into a dataset: none of them concerns rows of another lane.
pub(crate) fn are_worth_it(rows: usize, deleted: u64, entry: &Entry) -> bool {
    rows >= MIN_ROWS && deleted == 0 && are_apart(&entry.registered, entry.tombstones)
}

/// Whether rows of one lane concern those of no other.
fn are_apart(registered: &Registered, tombstones: bool) -> bool {
    registered.totals.is_empty() && !tombstones
}

/// Rows of one lane, in the order of their keys.
pub(crate) struct LaneRows<'a> {
    pub(crate) lane: Lane,
    pub(crate) rows: Vec<&'a Row>,
    /// For each row, the half of its key's hash that says nothing of the lane.
    pub(crate) hashes: Vec<u32>,
}

/// What is to say the lanes of a dataset where `unfit`, or nothing, said those of these keys: what another worker has
/// registered instead, or what suits them.
pub(crate) fn choose(
    rows: &[&Row],
    key: &[usize],
    registered: Option<LaneBy>,
    unfit: Option<LaneBy>,
) -> LaneBy {
    match (registered, unfit) {
        (Some(by), _) if registered != unfit => by,
        (_, None) => fit(rows, key),
        // Prefixes that suited other keys and not these may change again.
        (_, Some(_)) => LaneBy::Key,
    }
}

/// Finds the prefix that suits these keys, if there is one.
fn fit(rows: &[&Row], key: &[usize]) -> LaneBy {
    let sample: Vec<_> = rows
        .iter()
        .step_by(rows.len().div_ceil(SAMPLE).max(1))
        .copied()
        .collect();
    let is_fit = |&length: &usize| {
        let prefixes: HashSet<_> = sample
            .iter()
            .filter_map(|row| of_prefix(row, key, length, <[u8]>::to_vec))
            .collect();
        prefixes.len() >= MIN_PREFIXES && are_even(&split(&sample, key, LaneBy::Prefix(length)))
    };
    (1..=LONGEST)
        .find(is_fit)
        .map_or(LaneBy::Key, LaneBy::Prefix)
}

/// The rows of each lane, unless nothing says it, or what does gives nearly all of many to one.
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

/// The rows of each lane.
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
        let says_lane = match by {
            LaneBy::Prefix(length) => of_prefix(row, key, length, sum).unwrap_or(hash),
            LaneBy::Key => hash,
        };
        let lane = &mut lanes[usize::try_from(says_lane % LANES as u64).unwrap_or_default()];
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

/// What `f` makes of how a row's key begins, where its first field is of a type that has neighbours.
fn of_prefix<T>(row: &Row, key: &[usize], length: usize, f: impl FnOnce(&[u8]) -> T) -> Option<T> {
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

/// Says the lane of a prefix. A hash shares few prefixes out unevenly, and loads would end in the fuller lane alone; where
/// every digit or letter is as frequent as the next one, sums give all lanes the same.
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
            rows.filter_map(|row| of_prefix(row, &[0], 3, <[u8]>::to_vec))
                .collect()
        };
        assert!(prefixes(&lanes[0]).is_disjoint(&prefixes(&lanes[1])));
    }

    #[test]
    fn what_gives_nearly_all_rows_to_one_lane_is_given_up_for_good() {
        let rows = texts((0..10_000).map(|key| format!("0000{key:04}")));
        let rows: Vec<_> = rows.iter().collect();
        let unfit = Some(LaneBy::Prefix(2));
        assert!(split_evenly(&rows[..9_999], &[0], unfit).is_some());
        assert!(split_evenly(&rows, &[0], unfit).is_none());
        let other = Some(LaneBy::Prefix(7));
        assert_eq!(choose(&rows, &[0], other, unfit), LaneBy::Prefix(7));
        let by = choose(&rows, &[0], unfit, unfit);
        assert_eq!(by, LaneBy::Key);
        assert!(split_evenly(&rows, &[0], Some(by)).is_some());
    }
}
