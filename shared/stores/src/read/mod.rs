//! Reading rows and totals back, a page at a time.

pub(crate) mod gather;
pub(crate) mod plan;
pub(crate) mod sql;
pub(crate) mod statement;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_domain::{Dataset, RowQuery, Start, StoreKind, Total, Value};

use crate::StoreError;
use crate::mongodb::ReadMongodb;
use crate::mysql::ReadMysql;
use crate::postgres::ReadPostgres;
use crate::sqlite::ReadSqlite;
use sql::SqlReader;

/// Bounds of a reader.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// The most connections of this process.
    pub connections: u32,
    /// The longest that the database may take for a statement; what would take longer ends as
    /// [`StoreError::Exceeded`]. A connection has to be there in half of it, and a call is over soon after it:
    /// else it ends as [`StoreError::Unavailable`].
    pub timeout: Duration,
    /// Bytes of values, about, after which a page ends before its limit; it has a row at least.
    pub page_bytes: usize,
}

impl ReadOptions {
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

/// A row as a store has it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    /// One value for each field of the dataset, in its order. `MongoDB` cuts timestamps outside the key to
    /// milliseconds. JSON that a store can't hold as such is a JSON string of its text.
    pub values: Vec<Value>,
    /// Columns that the dataset does not name: text of a JSON object.
    pub extra: Option<String>,
}

/// Rows one after another.
#[derive(Clone, Debug, PartialEq)]
pub struct RowPage {
    /// In the order of the question.
    pub rows: Vec<StoredRow>,
    /// The place of the last row, for [`Start::After`]; none where no row follows.
    pub next: Option<Vec<Value>>,
}

/// Groups of a table of totals one after another.
#[derive(Clone, Debug, PartialEq)]
pub struct TotalsPage {
    /// For each group the values of the fields it is made by, then those of the columns, in the order of the
    /// definition. Counts are integers. Sums are integers where 64 bits hold them, and else, like those of
    /// decimals, texts of an exact number.
    pub groups: Vec<Vec<Value>>,
    /// The place of the last group, for [`Start::After`]; none where no group follows.
    pub next: Option<Vec<Value>>,
}

/// A database that rows are read from.
///
/// Pages are found by key, not by number: whatever is written meanwhile, following `next` gives every row
/// exactly once that was there throughout and kept the value that is sorted by. A dataset without a table has
/// no rows, a column that is not there yet has nulls.
#[async_trait]
pub trait Reader: Send + Sync {
    /// What it is.
    fn kind(&self) -> StoreKind;

    /// A page of rows. Order by key and by an indexed field take an index, whatever the size of the table;
    /// conditions on other fields may look at every row, within the time that a statement has.
    async fn rows(&self, dataset: &Dataset, query: &RowQuery) -> Result<RowPage, StoreError>;

    /// The row of a key, given in the order of the key.
    async fn row(&self, dataset: &Dataset, key: &[Value]) -> Result<Option<StoredRow>, StoreError>;

    /// A page of at most `limit` groups of one of the dataset's totals, ordered by their values, nulls last.
    /// Only for SQL.
    async fn totals(
        &self,
        dataset: &Dataset,
        total: &Total,
        start: &Start,
        limit: u32,
    ) -> Result<TotalsPage, StoreError>;
}

/// A reader for `postgres://`, `postgresql://`, `mysql://`, `mariadb://` or `sqlite:///absolute/path`.
///
/// Connects when first used; errors of the connection come then.
pub async fn read_sql(url: &str, options: ReadOptions) -> Result<Arc<dyn Reader>, StoreError> {
    match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => {
            let database = ReadPostgres::new(url, options)?;
            Ok(Arc::new(SqlReader::new(database, options)))
        }
        Some(("mysql" | "mariadb", _)) => {
            let database = ReadMysql::new(url, options)?;
            Ok(Arc::new(SqlReader::new(database, options)))
        }
        Some(("sqlite", path)) => {
            let database = ReadSqlite::new(path, options)?;
            Ok(Arc::new(SqlReader::new(database, options)))
        }
        _ => Err(StoreError::Config(
            "the SQL URL must start with postgres://, mysql://, mariadb:// or sqlite:///"
                .to_owned(),
        )),
    }
}

/// A reader for a `mongodb://` or `mongodb+srv://` URI; of the database `landfall` where it names none.
///
/// Connects when first used; a `mongodb+srv://` name is looked up here.
pub async fn read_mongodb(uri: &str, options: ReadOptions) -> Result<Arc<dyn Reader>, StoreError> {
    Ok(Arc::new(ReadMongodb::new(uri, options).await?))
}
