//! The numbers of the rows with one parent.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The maximum number of voids of a dataset that are listed with one parent. Further ones are only tombstones.
pub const MAX_VOIDS: usize = 10_000;

/// A row that is the parent of others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ParentRow {
    /// Its dataset.
    pub dataset: String,
    /// The values of its key as texts, in the order of the key: the id of the row with the token, then numbers.
    pub key: Vec<String>,
}

impl fmt::Display for ParentRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.dataset, self.key.join("/"))
    }
}

/// Numbers that were given out long ago: those without a row become voids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumbersToCheck {
    /// The parent.
    pub parent: ParentRow,
    /// The dataset of its numbered rows.
    pub child: String,
    /// The number before the first one.
    pub from: u64,
    /// The last number.
    pub to: u64,
}

/// The numbers that are given out to the rows of one dataset with one parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// The last number; 0 if there is none.
    pub last: u64,
    /// The numbers up to this have a row, a tombstone or a void.
    pub checked: u64,
    /// What `last` was when the janitor looked at it.
    pub seen: u64,
    /// The numbers whose rows never arrived; at most [`MAX_VOIDS`].
    pub voids: BTreeSet<u64>,
}

impl Numbers {
    /// Returns whether a number is given out, and is not a void.
    pub fn has(&self, number: u64) -> bool {
        (1..=self.last).contains(&number) && !self.voids.contains(&number)
    }

    /// Returns the numbers that are to be checked, once those that the janitor has seen are old enough: those after the
    /// first, up to the second.
    pub fn unchecked(&self) -> Option<(u64, u64)> {
        (self.checked < self.seen).then_some((self.checked, self.seen))
    }
}
