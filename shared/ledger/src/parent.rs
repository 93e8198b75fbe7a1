//! The rows that are parents of numbered rows, one item each.
//!
//! A number is given out by one update of its parent's item, on the condition that the parent exists. An update whose
//! reply is lost, and which the client repeats, leaves a number without a row. The janitor finds such numbers: an
//! update that gives out a number lists the item in the index of open jobs, in separate partitions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use landfall_domain::{MAX_VOIDS, Numbers, ParentRow};

use crate::{LedgerError, MemoryTable};

/// A row that is a parent, and the numbers of its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The row.
    pub row: ParentRow,
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// The numbers of its children, by their dataset. Missing before the first.
    pub children: BTreeMap<String, Numbers>,
    /// The number of all numbers that are given out under it.
    pub given: u64,
    /// Where the janitor finds it; `None` if all numbers are checked.
    pub listed: Option<Listed>,
}

impl Parent {
    /// Returns the numbers of a dataset under this parent.
    pub fn numbers(&self, child: &str) -> Numbers {
        self.children.get(child).cloned().unwrap_or_default()
    }

    /// Returns whether every number that is given out is checked.
    pub fn is_checked(&self) -> bool {
        self.children
            .values()
            .all(|numbers| numbers.checked >= numbers.last)
    }
}

/// A place in the list of parents with numbers that are not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What the janitor has done.
    pub stage: ListedStage,
    /// Since when, in milliseconds since 1970.
    pub at: i64,
}

/// What the janitor has done with a parent that has numbers that are not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedStage {
    /// Nothing.
    New,
    /// It has recorded the last numbers, or has requested checks.
    Seen,
}

/// What becomes of a parent in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relisting {
    /// The last numbers are recorded as seen.
    See,
    /// It stays, and its time begins again, because checks are requested.
    Wait,
    /// It leaves the list, because all numbers are checked.
    Remove,
}

/// Numbers that are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedNumbers {
    /// The last number that was checked before.
    pub from: u64,
    /// The last number that is checked now.
    pub to: u64,
    /// Those among them that are voids.
    pub voids: BTreeSet<u64>,
}

impl CheckedNumbers {
    /// Returns the voids that are listed, when so many are.
    pub(crate) fn listed(&self, stored: usize) -> impl Iterator<Item = u64> {
        self.voids
            .iter()
            .copied()
            .take(MAX_VOIDS.saturating_sub(stored))
    }
}

/// The rows that are parents, and the numbers of their children. Times are in milliseconds since 1970.
#[async_trait]
pub trait ParentTable: Send + Sync {
    /// Records a row that can be a parent, unless it is recorded. Returns whether it is new.
    async fn create_parent(&self, row: &ParentRow) -> Result<bool, LedgerError>;

    /// Records that a row is deleted: it gets no children any more.
    async fn delete_parent(&self, row: &ParentRow) -> Result<(), LedgerError>;

    /// Gives out the next number of a dataset under a parent. Returns `None` if the parent is deleted, or is not
    /// recorded and `creates` is false.
    async fn allocate(
        &self,
        parent: &ParentRow,
        child: &str,
        creates: bool,
        now: i64,
    ) -> Result<Option<u64>, LedgerError>;

    /// Returns parents, at most 100, in no order. Those that are not recorded are missing.
    async fn parents(&self, rows: &[ParentRow]) -> Result<Vec<Parent>, LedgerError>;

    /// Returns at most about `limit` parents that are in a stage at least since `until`, the oldest first.
    async fn listed_parents(
        &self,
        stage: ListedStage,
        until: i64,
        limit: usize,
    ) -> Result<Vec<Parent>, LedgerError>;

    /// Moves a parent in the list, unless its place is not what it was, or a number was given out that its removal
    /// would hide. Returns whether it was moved.
    async fn relist(
        &self,
        parent: &Parent,
        relisting: Relisting,
        now: i64,
    ) -> Result<bool, LedgerError>;

    /// Records which numbers are checked, unless others are since. Returns whether this call has recorded it.
    async fn record_checked(
        &self,
        parent: &ParentRow,
        child: &str,
        checked: &CheckedNumbers,
    ) -> Result<bool, LedgerError>;
}

/// The parents in memory.
pub(crate) type MemoryParents = HashMap<ParentRow, Parent>;

fn new_parent(row: &ParentRow) -> Parent {
    Parent {
        row: row.clone(),
        is_deleted: false,
        children: BTreeMap::new(),
        given: 0,
        listed: None,
    }
}

#[async_trait]
impl ParentTable for MemoryTable {
    async fn create_parent(&self, row: &ParentRow) -> Result<bool, LedgerError> {
        let mut items = self.items();
        let is_new = !items.parents.contains_key(row);
        items
            .parents
            .entry(row.clone())
            .or_insert_with(|| new_parent(row));
        Ok(is_new)
    }

    async fn delete_parent(&self, row: &ParentRow) -> Result<(), LedgerError> {
        let mut items = self.items();
        let parent = items.parents.entry(row.clone());
        parent.or_insert_with(|| new_parent(row)).is_deleted = true;
        Ok(())
    }

    async fn allocate(
        &self,
        parent: &ParentRow,
        child: &str,
        creates: bool,
        now: i64,
    ) -> Result<Option<u64>, LedgerError> {
        let mut items = self.items();
        if creates {
            items
                .parents
                .entry(parent.clone())
                .or_insert_with(|| new_parent(parent));
        }
        let stored = items.parents.get_mut(parent);
        let Some(stored) = stored.filter(|stored| !stored.is_deleted) else {
            return Ok(None);
        };
        let stage = ListedStage::New;
        stored.listed.get_or_insert(Listed { stage, at: now });
        stored.given += 1;
        let numbers = stored.children.entry(child.to_owned()).or_default();
        numbers.last += 1;
        Ok(Some(numbers.last))
    }

    async fn parents(&self, rows: &[ParentRow]) -> Result<Vec<Parent>, LedgerError> {
        let items = self.items();
        let found = rows.iter().filter_map(|row| items.parents.get(row));
        Ok(found.cloned().collect())
    }

    async fn listed_parents(
        &self,
        stage: ListedStage,
        until: i64,
        limit: usize,
    ) -> Result<Vec<Parent>, LedgerError> {
        let items = self.items();
        let is_due = |listed: &Listed| listed.stage == stage && listed.at <= until;
        let parents = items.parents.values();
        let mut due: Vec<_> = parents
            .filter(|parent| parent.listed.as_ref().is_some_and(is_due))
            .cloned()
            .collect();
        due.sort_by(|one, other| {
            let place = |parent: &Parent| parent.listed.map(|listed| listed.at);
            place(one)
                .cmp(&place(other))
                .then_with(|| one.row.cmp(&other.row))
        });
        due.truncate(limit);
        Ok(due)
    }

    async fn relist(
        &self,
        parent: &Parent,
        relisting: Relisting,
        now: i64,
    ) -> Result<bool, LedgerError> {
        let mut items = self.items();
        let stored = items.parents.get_mut(&parent.row);
        let Some(stored) = stored.filter(|stored| stored.listed == parent.listed) else {
            return Ok(false);
        };
        let stage = ListedStage::Seen;
        match relisting {
            Relisting::See => {
                for (child, numbers) in &parent.children {
                    stored.children.entry(child.clone()).or_default().seen = numbers.last;
                }
                stored.listed = Some(Listed { stage, at: now });
            }
            Relisting::Wait => stored.listed = Some(Listed { stage, at: now }),
            Relisting::Remove if stored.given == parent.given => stored.listed = None,
            Relisting::Remove => return Ok(false),
        }
        Ok(true)
    }

    async fn record_checked(
        &self,
        parent: &ParentRow,
        child: &str,
        checked: &CheckedNumbers,
    ) -> Result<bool, LedgerError> {
        let mut items = self.items();
        let stored = items.parents.get_mut(parent);
        let numbers = stored.and_then(|stored| stored.children.get_mut(child));
        let Some(numbers) = numbers.filter(|numbers| numbers.checked == checked.from) else {
            return Ok(false);
        };
        numbers.checked = checked.to;
        let stored = numbers.voids.len();
        numbers.voids.extend(checked.listed(stored));
        Ok(true)
    }
}
