//! Reads rows and totals, one page at a time.
//!
//! A page starts after a *place*: the sort value and the key of the previous page's last row. It starts at a number
//! only if the caller passes one. Whatever is written in between, a row that stays is therefore returned exactly
//! once.
//!
//! An index covers a field, then the key. Texts may exceed what an index can hold, so only their first 200
//! characters count, and then the key: PostgreSQL and SQLite index an expression, MariaDB and MySQL a stored
//! column. MongoDB indexes whole texts. There, rows whose texts begin alike are read by key, with one find per such
//! group. All texts compare by their bytes. In SQLite, decimals are text, so their index holds a text that sorts
//! numerically. Decimals in an SQLite key sort by their text.
//!
//! A cursor is a place with a digest of its query, so no other query accepts it. It is not secret and not signed.
//! Readers use read-only connections, with a timeout per statement and a number of bytes after which a page ends
//! early. Totals are sorted for each page, which has to read every group.

pub(crate) mod conditions;
pub(crate) mod fetch;
pub(crate) mod key_versions;
pub(crate) mod numbers;
pub(crate) mod page;
pub(crate) mod plan;
pub(crate) mod search;
pub(crate) mod sql;
pub(crate) mod statement;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use landfall_domain::{Dataset, RowQuery, Start, StoreKind, Total, Value};

use crate::error::StoreError;

/// Limits of a reader.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// The maximum number of connections of this process.
    pub connections: u32,
    /// The statement timeout. A longer statement fails with [`StoreError::Exceeded`]. A call that gets no connection
    /// within half of it fails with [`StoreError::Down`], and one that gets no answer soon after it with
    /// [`StoreError::Unavailable`].
    pub timeout: Duration,
    /// Approximate bytes of values after which a page ends before its limit. It has at least one row.
    pub page_bytes: usize,
}

impl ReadOptions {
    /// The longest that a call may take: a while after the statement timeout, by which the database should have ended
    /// it.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.timeout + Duration::from_secs(2)
    }

    /// The longest that a call waits for a connection.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.timeout / 2
    }
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            connections: 4,
            timeout: Duration::from_secs(5),
            page_bytes: 4 << 20,
        }
    }
}

/// A row as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    /// One value for each field of the dataset, in its order. `MongoDB` truncates timestamps outside the key to
    /// milliseconds. JSON that a store cannot hold as JSON is a JSON string of its text.
    pub values: Vec<Value>,
    /// Input columns that the dataset does not define: text of a JSON object.
    pub extra: Option<String>,
}

/// A page of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct RowPage {
    /// In the order of the query.
    pub rows: Vec<StoredRow>,
    /// The place of the last row, for [`Start::After`]; none if no row follows.
    pub next: Option<Vec<Value>>,
}

/// A page of the groups of a table of totals.
#[derive(Clone, Debug, PartialEq)]
pub struct TotalsPage {
    /// For each group the values of its fields, then those of the columns, in the order of the definition. Counts are
    /// integers. Sums are integers if they fit 64 bits. Other sums, like those of decimals, are texts of an exact
    /// number.
    pub groups: Vec<Vec<Value>>,
    /// The place of the last group, for [`Start::After`]; none if no group follows.
    pub next: Option<Vec<Value>>,
}

/// What a store has of a key beside the values of its row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyVersions {
    /// The row, if there is one.
    pub row: Option<StoredVersions>,
    /// The tombstone, if there is one.
    pub tombstone: Option<Tombstone>,
    /// The least version that a row of the newest snapshot can have that has deleted rows, or has begun to.
    pub floor: Option<Vec<u8>>,
}

/// The versions of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVersions {
    /// The version of the row.
    pub version: Vec<u8>,
    /// The names of its columns by version, the newest first, if it is merged by column. Empty if all columns have the
    /// version of the row.
    pub columns: Vec<(Vec<u8>, Vec<String>)>,
}

/// What a delete leaves of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The version of the delete.
    pub version: Vec<u8>,
    /// When a worker wrote it; RFC 3339.
    pub deleted_at: String,
}

/// A database that rows are read from.
///
/// Pages continue after a key, not after a number of rows. So following `next` returns every row exactly once that
/// exists throughout with the same sort value, whatever is written meanwhile. A dataset without a table has no rows;
/// a column that does not exist yet has nulls.
#[async_trait]
pub trait Reader: Send + Sync {
    /// Returns the kind of database.
    fn kind(&self) -> StoreKind;

    /// Returns a page of rows. Orders by key and by an indexed field use an index, whatever the size of the table.
    /// Filters on other fields may scan every row within the statement timeout.
    async fn rows(&self, dataset: &Dataset, query: &RowQuery) -> Result<RowPage, StoreError>;

    /// Returns the row of a key, whose values are in the order of the key.
    async fn row(&self, dataset: &Dataset, key: &[Value]) -> Result<Option<StoredRow>, StoreError>;

    /// Returns what the store has of a key, whose values are in the order of the key.
    async fn versions(&self, dataset: &Dataset, key: &[Value]) -> Result<KeyVersions, StoreError>;

    /// Returns which of these numbers have a row or a tombstone under a parent: the key of the dataset is `parent`,
    /// then the number, an integer. There may be at most [`MAX_NUMBERS`](crate::MAX_NUMBERS) numbers.
    async fn stored_numbers(
        &self,
        dataset: &Dataset,
        parent: &[Value],
        numbers: RangeInclusive<i64>,
    ) -> Result<BTreeSet<i64>, StoreError>;

    /// Returns a page of at most `limit` groups of one of the dataset's totals, ordered by their values, nulls last.
    /// Only SQL stores have totals.
    async fn totals(
        &self,
        dataset: &Dataset,
        total: &Total,
        start: &Start,
        limit: u32,
    ) -> Result<TotalsPage, StoreError>;

    /// Returns the groups of one of the dataset's totals whose first values are `first`, and whose next value, the last
    /// one, is one of `last`, of which there are at most as many as a page has rows. They are in no order, each as in a
    /// [`TotalsPage`]. Only SQL stores have totals.
    async fn groups(
        &self,
        dataset: &Dataset,
        total: &Total,
        first: &[Value],
        last: &[Value],
    ) -> Result<Vec<Vec<Value>>, StoreError>;
}
