//! Walks: work on a whole table in steps of bounded time.
//!
//! Each step handles one range of the table in its own short transaction, which also saves in the registry where the
//! next step continues. A step that fails or whose process dies leaves nothing, so any worker can take the next one, at
//! any time, and other writers go on between two steps.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_domain::{PrunePreview, RowVersion, Total};
use serde::{Deserialize, Serialize};

use crate::changes::SyncStep;

/// The time that a step to build totals is to take: steps get longer until they do, so that they advance faster than
/// writers add rows, and other writers do not wait for long.
const STEP_TIME: Duration = Duration::from_secs(1);

/// The maximum number of previews of a dataset whose counts are kept.
const MAX_COUNTS: usize = 8;

/// The result of a step of work on a whole table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// More is left: take the next step.
    Continues,
    /// All of it is done, with this result.
    Done(T),
}

/// The walks of a dataset that have begun; JSON in the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Walks {
    /// Deletes what is below the floor, until nothing is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prune: Option<Prune>,
    /// Build totals, up to a key. `SQLite` builds them in one transaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) building: Vec<Building>,
    /// Stores the words of existing rows, until search is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) indexing: Option<Indexing>,
    /// Count what a prune would delete, by its floor.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    counts: BTreeMap<String, Count>,
    /// Mark existing rows for destinations, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    syncs: BTreeMap<String, Sync>,
}

/// How far the first synchronisation of a destination is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sync {
    /// Where the next range begins; none for the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// The number of keys that were marked.
    marked: u64,
}

/// How far a table is whose dataset has gained search.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Indexing {
    /// Where the next range begins; none for the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// The number of rows that have their words.
    #[serde(default)]
    pub(crate) rows: u64,
    /// Whether all rows have their words, and only the index is left to create.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_complete: bool,
}

/// How far a table of totals is that is being built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Building {
    pub(crate) total: Total,
    /// The last key whose row is included; none before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// The number of rows in the ranges that are included, of which writers may have deleted some since.
    #[serde(default)]
    pub(crate) rows: u64,
    /// The number of rows of the next range.
    pub(crate) step: u64,
    /// Whether all rows are included, and only the name of the table is left to change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_complete: bool,
}

/// How far a prune is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prune {
    /// Whether all rows are deleted, and tombstones are next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_in_tombstones: bool,
    /// Where the next range begins, as the database writes it; none for the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
}

/// How far a count is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    /// Where the next range begins; none for the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    is_done: bool,
    rows: u64,
    deletes: u64,
}

/// The rows of one step.
pub(crate) struct Range {
    /// SQL condition on the alias `t`.
    pub(crate) condition: String,
    /// Where the next range begins; none if this is the last one.
    pub(crate) next: Option<String>,
}

impl Walks {
    /// Starts a prune. Counts for this floor and older ones are of no use any more.
    pub(crate) fn begin_prune(&mut self, floor: RowVersion) {
        self.prune = Some(Prune::default());
        let newer = floor.to_string() + "~";
        self.counts = self.counts.split_off(&newer);
    }

    /// Returns whether the same totals are being built, whatever is included.
    pub(crate) fn builds_same(&self, other: &Self) -> bool {
        let [own, others] = [self, other].map(|walks| {
            let building = walks.building.iter();
            building.map(|building| &building.total)
        });
        own.eq(others)
    }

    /// Returns the count for a floor, which may not have begun.
    pub(crate) fn count(&self, floor: RowVersion) -> Count {
        let known = self.counts.get(&floor.to_string());
        known.cloned().unwrap_or_default()
    }

    /// Saves the count for a floor. If there are too many, the one of the oldest snapshot starts again.
    pub(crate) fn set_count(&mut self, floor: RowVersion, count: Count) {
        let floor = floor.to_string();
        self.counts.insert(floor.clone(), count);
        if self.counts.len() > MAX_COUNTS
            && let Some(oldest) = self.counts.keys().find(|other| **other != floor).cloned()
        {
            self.counts.remove(&oldest);
        }
    }

    /// Returns how far the first synchronisation of a destination is, which may not have begun.
    pub(crate) fn sync(&self, destination: &str) -> Sync {
        self.syncs.get(destination).cloned().unwrap_or_default()
    }

    /// Adds a range of a first synchronisation that ends at `next`, and returns its step.
    pub(crate) fn advance_sync(
        &mut self,
        destination: &str,
        marked: u64,
        next: Option<String>,
    ) -> SyncStep {
        let marked = self.sync(destination).marked + marked;
        let is_done = next.is_none();
        if is_done {
            self.syncs.remove(destination);
        } else {
            let sync = Sync {
                place: next,
                marked,
            };
            self.syncs.insert(destination.to_owned(), sync);
        }
        SyncStep { marked, is_done }
    }

    /// Forgets the first synchronisations of all other destinations.
    pub(crate) fn retain_syncs(&mut self, destinations: &[String]) {
        self.syncs.retain(|name, _| destinations.contains(name));
    }
}

impl Indexing {
    /// Adds a range of so many rows that ends at `next`, or is the last one.
    pub(crate) fn advance(&mut self, rows: u64, next: Option<String>) {
        self.rows += rows;
        self.is_complete = next.is_none();
        self.place = next;
    }
}

impl Building {
    /// Begins with ranges of so many rows.
    pub(crate) fn new(total: &Total, step: u64) -> Self {
        Self {
            total: total.clone(),
            place: None,
            rows: 0,
            step,
            is_complete: false,
        }
    }

    /// Adds a range that ends at `next` and took this time, or is the last one.
    pub(crate) fn advance(&mut self, next: Option<String>, took: Duration) {
        if next.is_some() {
            self.rows += self.step;
        }
        self.is_complete = next.is_none();
        self.place = next;
        if took < STEP_TIME / 2 {
            self.step = self.step.saturating_mul(2);
        } else if took > STEP_TIME * 2 {
            self.step = (self.step / 2).max(1);
        }
    }
}

impl Prune {
    /// Returns how far the prune is after a range that ends at `next`; none at its end.
    pub(crate) fn after(self, next: Option<String>, has_tombstones: bool) -> Option<Self> {
        let is_at_end = next.is_none();
        (!is_at_end || (has_tombstones && !self.is_in_tombstones)).then_some(Self {
            is_in_tombstones: self.is_in_tombstones || is_at_end,
            place: next,
        })
    }
}

impl Count {
    /// Returns what was counted, once it is all.
    pub(crate) fn done(&self) -> Option<PrunePreview> {
        self.is_done.then_some(PrunePreview {
            rows: self.rows,
            deletes: self.deletes,
        })
    }

    /// Adds a range that ends at `next`.
    #[must_use]
    pub(crate) fn add(&self, rows: u64, deletes: u64, next: Option<String>) -> Self {
        Self {
            is_done: next.is_none(),
            place: next,
            rows: self.rows + rows,
            deletes: self.deletes + deletes,
        }
    }

    /// Returns the step that ends here.
    pub(crate) fn step(&self) -> Step<PrunePreview> {
        self.done().map_or(Step::Continues, Step::Done)
    }
}

#[cfg(test)]
mod tests {
    use landfall_domain::{JobId, ObjectOrder};

    use super::*;

    #[test]
    fn a_prune_passes_over_rows_and_then_over_tombstones() {
        let next = || Some("7".to_owned());
        let prune = Prune::default().after(next(), true).unwrap();
        assert_eq!((prune.is_in_tombstones, &prune.place), (false, &next()));
        assert_eq!(prune.clone().after(None, false), None);
        let prune = prune.after(None, true).unwrap();
        assert_eq!((prune.is_in_tombstones, &prune.place), (true, &None));
        let prune = prune.after(next(), true).unwrap();
        assert!(prune.is_in_tombstones);
        assert_eq!(prune.after(None, true), None);
    }

    #[test]
    fn steps_to_build_totals_take_about_a_second() {
        let total = Total {
            name: "t".to_owned(),
            by: Vec::new(),
            columns: Vec::new(),
        };
        let mut building = Building::new(&total, 100);
        let next = || Some("7".to_owned());
        for (millis, rows, step) in [(10, 100, 200), (900, 300, 200), (5_000, 500, 100)] {
            building.advance(next(), Duration::from_millis(millis));
            assert_eq!((building.rows, building.step), (rows, step));
        }
        building.advance(None, Duration::ZERO);
        assert!(building.is_complete);
        assert_eq!(building.rows, 500);
    }

    #[test]
    fn counts_are_bounded_and_end_with_their_prune() {
        let job = JobId::for_object("inbox", "a", "1");
        let floor = |time| ObjectOrder::new(time, "01", job).unwrap().at(0);
        let mut walks = Walks::default();
        for time in 0..20 {
            let count = Count::default().add(1, 1, Some("7".to_owned()));
            walks.set_count(floor(time), count);
        }
        assert_eq!(walks.counts.len(), MAX_COUNTS);
        assert_eq!(walks.count(floor(19)).rows, 1);
        walks.begin_prune(floor(18));
        assert_eq!(walks.count(floor(18)), Count::default());
        assert_eq!(walks.count(floor(19)).rows, 1);
    }
}
