//! Counts: what happened to the records of a chunk or a job.
//!
//! For each store, `rows = rejected + inserted + updated + unchanged + stale + deleted`. *Pruned* rows are counted
//! separately, because they are not rows of the object. A row is *stale* if a newer row of its key came first, in
//! the store or in the same chunk.
//!
//! The sum is always exact. The split among the outcomes is that of the delivery that marked the chunk. If a worker
//! dies between writing to the stores and marking the chunk, the redelivered rows meet their own versions: rows
//! that were inserted then count as *unchanged*. The same happens in the store that succeeded when the other store
//! failed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::warning::WarningCode;

/// Kind of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum StoreKind {
    /// `MongoDB`.
    Mongodb,
    /// `MySQL` or `MariaDB`.
    Mysql,
    /// `PostgreSQL`.
    Postgres,
    /// `SQLite`.
    Sqlite,
}

impl StoreKind {
    /// Returns the word used in the ledger, the API and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mongodb => "mongodb",
            Self::Mysql => "mysql",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened to the rows in one store. All counts but `pruned` add up to the rows that were not rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreCounts {
    /// Keys that were new.
    pub inserted: u64,
    /// Keys whose older row had other values.
    pub updated: u64,
    /// Keys whose row already had the same values (its version is raised), or this very version.
    pub unchanged: u64,
    /// Rows that a newer row of the same key superseded, in the store or in the same chunk.
    pub stale: u64,
    /// Keys deleted by a row of the object.
    #[serde(default)]
    pub deleted: u64,
    /// Keys deleted because a snapshot no longer contains them.
    #[serde(default)]
    pub pruned: u64,
}

impl StoreCounts {
    /// Returns the number of rows of the object: all counts but `pruned`.
    pub fn total(&self) -> u64 {
        self.inserted + self.updated + self.unchanged + self.stale + self.deleted
    }
}

impl std::ops::AddAssign for StoreCounts {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.stale += other.stale;
        self.deleted += other.deleted;
        self.pruned += other.pruned;
    }
}

/// Counts of a chunk or a job. For each store, `rows` is `rejected` plus the total of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counts {
    /// Records read, without those that were skipped.
    pub rows: u64,
    /// Records that became rejects.
    pub rejected: u64,
    /// What happened to the other records, by store.
    pub stores: BTreeMap<StoreKind, StoreCounts>,
    /// How often something that deserves a warning was found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub warnings: BTreeMap<WarningCode, u64>,
    /// For each field that has no value in any row of some chunks, the number of these chunks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub null_columns: BTreeMap<String, u64>,
    /// For each field with values that lost precision, the number of these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub truncated: BTreeMap<String, u64>,
}

impl std::ops::AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.rows += other.rows;
        self.rejected += other.rejected;
        for (store, counts) in &other.stores {
            *self.stores.entry(*store).or_default() += *counts;
        }
        for (code, count) in &other.warnings {
            *self.warnings.entry(*code).or_default() += count;
        }
        for (field, chunks) in &other.null_columns {
            *self.null_columns.entry(field.clone()).or_default() += chunks;
        }
        for (field, values) in &other.truncated {
            *self.truncated.entry(field.clone()).or_default() += values;
        }
    }
}
