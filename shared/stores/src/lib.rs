//! Databases that rows are applied to and read from: `MongoDB`, `PostgreSQL`, `MySQL`/`MariaDB` and `SQLite`.
//!
//! All of them keep one promise. Whatever the number of appliers, the order of chunks and the number
//! of times each is delivered, every key ends with the row of its greatest version. For that each
//! row carries its version (column or field `_version`), a write touches only what is older, and a
//! row whose values are the same is still given the newer version: left at the older one, a chunk
//! from between the two would overwrite it.
//!
//! | field | `PostgreSQL` | `MySQL`, `MariaDB` | `SQLite` (STRICT) | `MongoDB` |
//! |---|---|---|---|---|
//! | text | `text` (`"C"` in the key) | `longtext`, key `varchar(512)` | `TEXT` | string |
//! | integer | `bigint` | `bigint` | `INTEGER` | long |
//! | decimal | `numeric` | `decimal(56,28)` | `TEXT` | decimal |
//! | float | `double precision` | `double` | `REAL` | double |
//! | boolean | `boolean` | `tinyint(1)` | `INTEGER` | bool |
//! | date | `date` | `date` | `TEXT` | date, midnight UTC |
//! | timestamp | `timestamptz` | `datetime(6)`, UTC | `TEXT`, UTC | date, cut to ms |
//! | json | `jsonb` | `longtext` | `TEXT` | document, array, value |
//!
//! Where a type can't hold a value, its exact text stands there instead: JSON with numbers beyond
//! `jsonb` and BSON, nested too deep or with names with `$` or `.` for BSON, and dates and timestamps in the keys of
//! `MongoDB`, where a BSON date would make one key of two within a millisecond. Columns that the dataset does not name are JSON in `_extra`.
//!
//! In `MySQL` and `MariaDB`, texts of a key of several texts are `varbinary`, as only so do they fit an
//! index. Row values are compared in SQL; in `MongoDB` by a digest, so that what someone changed
//! there by hand stays until the row's values change.

mod connect;
mod error;
mod json;
mod lanes;
mod mongodb;
mod mysql;
mod postgres;
mod read;
mod registry;
mod retry;
mod schema;
mod sql_error;
mod sqlite;
mod text;

use std::sync::Arc;

use async_trait::async_trait;
use landfall_domain::{Dataset, ObjectOrder, Row, StoreCounts, StoreKind};

pub use connect::{StoreOptions, connect_mongodb, connect_sql};
pub use error::StoreError;
pub use read::{ReadOptions, Reader, RowPage, StoredRow, TotalsPage, read_mongodb, read_sql};

/// A database that rows are applied to.
#[async_trait]
pub trait Store: Send + Sync {
    /// What it is.
    fn kind(&self) -> StoreKind;

    /// Makes the dataset's table or collection, and its columns, where they are missing.
    ///
    /// Drops and changes nothing. Safe beside other workers, and free the second time for the same
    /// definition. Fails with [`StoreError::Schema`] where a table of that name has another key or
    /// other types.
    async fn prepare(&self, dataset: &Dataset) -> Result<(), StoreError>;

    /// Applies rows of one object, after [`Store::prepare`].
    ///
    /// `rows` are sorted by key and each key stands once, as `latest_by_key` gives them; the version
    /// of a row is `order.at(row.offset)`. In `SQLite` it is all of them or none; in the others (of many rows,
    /// in `PostgreSQL` and `MySQL`) an error may leave some applied, and applying all of them again completes it.
    ///
    /// The counts add up to `rows.len()`:
    /// - inserted: the key was absent;
    /// - updated: an older version with other values was there;
    /// - unchanged: this very version was there, or an older one with the same values (which then
    ///   gets this version), or a key to be deleted that was not there;
    /// - stale: a newer version was there and stays, or a newer row deleted the key;
    /// - deleted: an older version was there, and the row says that the key is to be deleted. Older
    ///   rows of the key that come later are stale.
    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<Vec<Row>>,
    ) -> Result<StoreCounts, StoreError>;

    /// Deletes what a snapshot of this order does not have: every row that is older than all of it. Rows
    /// of older objects that come later are stale.
    ///
    /// Gives how many rows that were; the same again when it is repeated. To be called once all rows of
    /// the snapshot are applied.
    async fn prune(&self, dataset: &Dataset, order: &ObjectOrder) -> Result<u64, StoreError>;

    /// Makes the tables of totals anew, as the dataset defines them, from the rows that are there; gives
    /// the number of groups of each. No store but those of SQL has any.
    async fn rebuild_totals(&self, dataset: &Dataset) -> Result<Vec<(String, u64)>, StoreError>;
}
