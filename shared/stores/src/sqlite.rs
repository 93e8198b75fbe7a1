//! `SQLite`: a chunk is one immediate transaction of prepared statements.
//!
//! Decimals are text in their shortest form; dates and timestamps are ISO 8601 text of one length
//! (`2026-11-20`, `2026-11-20T08:30:00.000000Z`), so that their order is that of time. JSON stays
//! the text that it was.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use landfall_domain::{Dataset, FieldType, ObjectOrder, Row, StoreCounts, StoreKind, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, Transaction, TransactionBehavior, params_from_iter};
use tracing::warn;

use crate::retry::{bounded, retried};
use crate::schema::{Column, ColumnKind, ExistingColumn, Prepared, Table, list};
use crate::text::{date_text, timestamp_text};
use crate::{Store, StoreError, StoreOptions};

/// How long `SQLite` itself waits for another writer; after that the attempt is made anew.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A `SQLite` file.
pub(crate) struct Sqlite {
    inner: Arc<Inner>,
    timeout: Duration,
}

/// Bytes of the write-ahead log from which on a writer empties it.
const LOG_BYTES: u64 = 128 << 20;

struct Inner {
    path: PathBuf,
    connection: Mutex<Option<Connection>>,
    prepared: Prepared,
}

impl Sqlite {
    /// Opens the file when first used, and makes it where it is missing.
    pub(crate) fn new(path: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            let message = "the SQLite URL must be sqlite:// and an absolute path";
            return Err(StoreError::Config(message.to_owned()));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                connection: Mutex::new(None),
                prepared: Prepared::default(),
            }),
            timeout: options.timeout,
        })
    }

    /// Runs `work` in a transaction, once, on a thread that may block.
    async fn attempt<T, W>(&self, work: Arc<W>) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Fn(&Transaction<'_>) -> Result<T, StoreError> + Send + Sync + 'static,
    {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || inner.transact(work.as_ref()))
            .await
            .unwrap_or_else(|_| Err(unavailable("the transaction was cut off")))
    }
}

impl Inner {
    fn transact<T>(
        &self,
        work: impl Fn(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut slot = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let connection = match slot.as_mut() {
            Some(connection) => connection,
            None => slot.insert(self.open().map_err(|error| from_rusqlite(&error))?),
        };
        // Immediate: a transaction that reads first can't wait for the lock it needs to write.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| from_rusqlite(&error))?;
        let result = work(&transaction)?;
        transaction
            .commit()
            .map_err(|error| from_rusqlite(&error))?;
        self.empty_log(connection);
        Ok(result)
    }

    /// Empties the write-ahead log once it is long: among writers that never pause, the checkpoints
    /// that SQLite makes by itself do not come to its end, and it grows without bound.
    fn empty_log(&self, connection: &Connection) {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        if std::fs::metadata(log).is_ok_and(|log| log.len() > LOG_BYTES) {
            let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            if let Err(error) = emptied {
                // The rows are committed all the same; the next writer tries again.
                warn!(%error, "the write-ahead log could not be emptied");
            }
        }
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // NORMAL may lose the last commits with the power, after the ledger has counted them.
        connection.pragma_update(None, "synchronous", "full")?;
        Ok(connection)
    }
}

#[async_trait]
impl Store for Sqlite {
    fn kind(&self) -> StoreKind {
        StoreKind::Sqlite
    }

    async fn prepare(&self, dataset: &Dataset) -> Result<(), StoreError> {
        let table = Table::of(dataset, StoreKind::Sqlite)?;
        let make = || {
            let table = table.clone();
            self.attempt(Arc::new(move |transaction: &Transaction<'_>| {
                make(transaction, &table)
            }))
        };
        self.inner.prepared.once(&table, self.timeout, make).await
    }

    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<[Row]>,
    ) -> Result<StoreCounts, StoreError> {
        let table = Table::of(dataset, StoreKind::Sqlite)?;
        let key = dataset.key_indexes().to_vec();
        let statements = Statements::new(&table);
        // The thread outlives a caller that stops waiting.
        let (order, rows) = (*order, Arc::clone(rows));
        let work = Arc::new(move |transaction: &Transaction<'_>| {
            merge(transaction, &statements, &key, order, &rows)
        });
        let attempts = retried(|| self.attempt(Arc::clone(&work)));
        bounded(StoreKind::Sqlite, self.timeout, attempts)
            .await
            .inspect_err(|_| self.inner.prepared.forget(&table.name))
    }

    async fn prune(&self, _: &Dataset, _: &ObjectOrder) -> Result<u64, StoreError> {
        Err(StoreError::Config("not built yet".to_owned()))
    }

    async fn rebuild_totals(&self, _: &Dataset) -> Result<Vec<(String, u64)>, StoreError> {
        Err(StoreError::Config("not built yet".to_owned()))
    }
}

fn type_of(column: &Column) -> String {
    let name = match column.kind {
        ColumnKind::Version => "BLOB",
        ColumnKind::Extra => "TEXT",
        ColumnKind::Key(kind) | ColumnKind::Field(kind) => match kind {
            FieldType::Integer | FieldType::Boolean => "INTEGER",
            FieldType::Float => "REAL",
            FieldType::Text
            | FieldType::Decimal
            | FieldType::Date
            | FieldType::Timestamp
            | FieldType::Json => "TEXT",
        },
    };
    name.to_owned()
}

/// Names come checked from [`Table::of`] and hold no quotes.
fn quote(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref())
}

fn make(transaction: &Transaction<'_>, table: &Table) -> Result<(), StoreError> {
    let columns = list(&table.columns, ", ", |column| {
        let null = if column.kind.is_required() {
            " NOT NULL"
        } else {
            ""
        };
        format!("{} {}{null}", quote(&column.name), type_of(column))
    });
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {} ({columns}, PRIMARY KEY ({})) STRICT, WITHOUT ROWID",
        quote(&table.name),
        list(&table.key, ", ", quote)
    );
    let unfit = |error: rusqlite::Error| match error.sqlite_error_code() {
        // A name or number of columns that `SQLite` does not take.
        Some(ErrorCode::Unknown) => StoreError::Schema {
            store: StoreKind::Sqlite,
            table: table.name.clone(),
            reason: "SQLite does not take this table".to_owned(),
        },
        _ => from_rusqlite(&error),
    };
    transaction.execute_batch(&create).map_err(unfit)?;
    let existing = existing_columns(transaction, table).map_err(unfit)?;
    for column in table.missing(&existing, type_of)? {
        let (table, name) = (quote(&table.name), quote(&column.name));
        let add = format!("ALTER TABLE {table} ADD COLUMN {name} {}", type_of(column));
        transaction.execute_batch(&add).map_err(unfit)?;
    }
    Ok(())
}

fn existing_columns(
    transaction: &Transaction<'_>,
    table: &Table,
) -> rusqlite::Result<Vec<ExistingColumn>> {
    let mut statement = transaction.prepare("SELECT name, type, pk FROM pragma_table_info(?)")?;
    let columns = statement.query_map([&table.name], |row| {
        let place: u32 = row.get(2)?;
        Ok(ExistingColumn {
            name: row.get(0)?,
            sql_type: row.get(1)?,
            key_place: place.checked_sub(1).map(|place| place as usize),
        })
    })?;
    columns.collect()
}

/// The statements for one row. The first three take the columns in the table's order.
struct Statements {
    insert: String,
    /// Overwrites an older row that has other values.
    change: String,
    /// Advances an older row, which has the same values.
    advance: String,
    /// Whether the row has this very version; takes the version, then the key.
    same_version: String,
    has_extra: bool,
}

impl Statements {
    fn new(table: &Table) -> Self {
        let place = |name: &str| {
            let index = table.columns.iter().position(|column| column.name == name);
            format!("?{}", index.map_or(0, |index| index + 1))
        };
        let target = quote(&table.name);
        let names = list(&table.columns, ", ", |column| quote(&column.name));
        let places = list(&table.columns, ", ", |column| place(&column.name));
        let set = list(
            table
                .columns
                .iter()
                .filter(|column| !matches!(column.kind, ColumnKind::Key(_))),
            ", ",
            |column| format!("{} = {}", quote(&column.name), place(&column.name)),
        );
        let version = place(crate::schema::VERSION);
        let key = list(&table.key, " AND ", |name| {
            format!("{} = {}", quote(name), place(name))
        });
        let differs = list(table.values(), " OR ", |column| {
            format!("{} IS NOT {}", quote(&column.name), place(&column.name))
        });
        let differs = if differs.is_empty() {
            "FALSE".to_owned()
        } else {
            differs
        };
        let older = format!("WHERE {key} AND _version < {version}");
        Self {
            insert: format!(
                "INSERT INTO {target} ({names}) VALUES ({places}) ON CONFLICT ({}) DO NOTHING",
                list(&table.key, ", ", quote)
            ),
            change: format!("UPDATE {target} SET {set} {older} AND ({differs})"),
            advance: format!("UPDATE {target} SET _version = {version} {older}"),
            same_version: format!(
                "SELECT _version = ? FROM {target} WHERE {}",
                list(&table.key, " AND ", |name| format!("{} = ?", quote(name)))
            ),
            has_extra: table.has_extra(),
        }
    }
}

fn merge(
    transaction: &Transaction<'_>,
    statements: &Statements,
    key: &[usize],
    order: ObjectOrder,
    rows: &[Row],
) -> Result<StoreCounts, StoreError> {
    let error = |error| from_rusqlite(&error);
    let prepare = |sql: &str| transaction.prepare(sql).map_err(error);
    let mut insert = prepare(&statements.insert)?;
    let mut change = prepare(&statements.change)?;
    let mut advance = prepare(&statements.advance)?;
    let mut same_version = prepare(&statements.same_version)?;
    let mut counts = StoreCounts::default();
    for row in rows {
        let version = order.at(row.offset);
        let version = Param::Bytes(version.as_bytes());
        let mut params: Vec<Param<'_>> = row.values.iter().map(Param::of).collect();
        if statements.has_extra {
            params.push(row.extra.as_deref().map_or(Param::Null, Param::Text));
        }
        params.push(version.clone());
        if insert.execute(params_from_iter(&params)).map_err(error)? == 1 {
            counts.inserted += 1;
        } else if change.execute(params_from_iter(&params)).map_err(error)? == 1 {
            counts.updated += 1;
        } else {
            let key = key.iter().map(|index| params[*index].clone());
            let key: Vec<_> = std::iter::once(version).chain(key).collect();
            let is_same = same_version
                .query_row(params_from_iter(&key), |row| row.get(0))
                .map_err(error)?;
            if is_same || advance.execute(params_from_iter(&params)).map_err(error)? == 1 {
                counts.unchanged += 1;
            } else {
                counts.stale += 1;
            }
        }
    }
    Ok(counts)
}

/// A value as it is bound.
#[derive(Clone)]
enum Param<'a> {
    Null,
    Text(&'a str),
    OwnText(String),
    Integer(i64),
    Real(f64),
    Bytes(&'a [u8]),
}

impl<'a> Param<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Text(text) | Value::Json(text) => Self::Text(text),
            Value::Integer(number) => Self::Integer(*number),
            Value::Decimal(number) => Self::OwnText(number.to_string()),
            Value::Float(number) => Self::Real(*number),
            Value::Boolean(boolean) => Self::Integer(i64::from(*boolean)),
            Value::Date(day) => Self::OwnText(date_text(*day)),
            Value::Timestamp(instant) => Self::OwnText(timestamp_text(*instant, 'T', "Z")),
        }
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::OwnText(text) => ValueRef::Text(text.as_bytes()),
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable {
        store: StoreKind::Sqlite,
        reason: reason.to_owned(),
    }
}

/// Sorts an error by its code; messages of `SQLite` may quote.
fn from_rusqlite(error: &rusqlite::Error) -> StoreError {
    let store = StoreKind::Sqlite;
    let rusqlite::Error::SqliteFailure(failure, message) = error else {
        let reason = match error {
            rusqlite::Error::SqlInputError { .. } => "the table is not as it was prepared",
            _ => "the answer could not be understood",
        };
        return unavailable(reason);
    };
    let reason = format!("{} {:?}", failure.extended_code, failure.code);
    match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            StoreError::Contended { store, reason }
        }
        ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch
        | ErrorCode::TooBig
        | ErrorCode::NotADatabase
        | ErrorCode::ParameterOutOfRange => StoreError::Refused { store, reason },
        // Also what `SQLite` says of a table or column that is gone.
        ErrorCode::Unknown => unavailable(&format!(
            "{reason} {}",
            crate::sql_error::without_values(message.as_deref().unwrap_or_default())
        )),
        _ => unavailable(&reason),
    }
}
