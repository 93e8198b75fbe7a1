//! Writes rows to a table with multi-row upserts that overwrite only older rows, and counts the outcomes.
//!
//! Each statement is an `INSERT … ON DUPLICATE KEY UPDATE` of 1,024 rows, sorted by key. The next statement is
//! built while the server executes the current one. Every assignment is guarded by the version, and the version
//! itself is assigned last: assignments run from left to right, so all of them compare with the old version.
//!
//! Neither server returns old values, so variables in the first assignment count what was inserted, updated,
//! unchanged or stale. The written data does not depend on these variables. A duplicate of another unique index
//! would be the row of another key. In that case the version becomes null, which the column refuses.
//!
//! # Tried and given up
//!
//! - A staging table: filling it and joining with it costs more than it saves. Keys are staged only if totals,
//!   tombstones or deletes need them.
//! - A multi-table `UPDATE` costs more than an upsert.
//! - A join with a newly filled table is planned with statistics that call it empty. Without
//!   `FORCE INDEX (PRIMARY)`, which every join by key now has, the server compared each chunk row by row with the
//!   whole table.

use landfall_domain::{Row, RowVersions, StoreCounts, Value};
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments as _, AssertSqlSafe, MySqlConnection, Row as _};

use super::dialect::quote;
use super::statement::{STORE, error, run};
use crate::error::{Result, StoreError};
use crate::registry::{uncounted, unsigned};
use crate::schema::{ColumnKind, Table, VERSION, list};
use crate::text::{date_text, timestamp_text};

/// Limits of one statement: rows, values (the protocol's), and bytes, well below the 16 MiB of `max_allowed_packet`
/// in `MariaDB`, the smallest default.
const BATCH_ROWS: usize = 1024;
const BATCH_VALUES: usize = 65_535;
const BATCH_BYTES: usize = 2 << 20;

const COUNT: &str = "SET @landfall_updated = 0, @landfall_unchanged = 0, @landfall_stale = 0";
const COUNTED: &str = "SELECT CAST(@landfall_updated AS SIGNED), CAST(@landfall_unchanged AS SIGNED), \
     CAST(@landfall_stale AS SIGNED)";

pub(super) struct Upsert {
    insert: String,
    places: String,
    update: String,
    columns: usize,
    has_extra: bool,
}

impl Upsert {
    pub(super) fn new(table: &Table) -> Self {
        let target = quote(&table.name);
        let written = || {
            let columns = table.columns.iter();
            columns.filter(|column| !matches!(column.kind, ColumnKind::Key(_)))
        };
        let compared = table.values().filter(|column| column.is_compared());
        let same = list(compared, " AND ", |column| {
            format!("{0} <=> VALUES({0})", quote(&column.name))
        });
        let same = if same.is_empty() { "TRUE" } else { &same };
        let newer = format!("{target}.{VERSION} < VALUES({VERSION})");
        // Never zero, and in the first assignment, where all old values are still visible: assignments run from left
        // to right.
        let count = format!(
            "IF({newer}, IF({same}, {}, {}), IF({target}.{VERSION} = VALUES({VERSION}), {0}, {}))",
            increment("unchanged"),
            increment("updated"),
            increment("stale"),
        );
        // The duplicate may be in another unique index, and then its row must not change: the column refuses null.
        let same_key = list(&table.key, " AND ", |name| {
            format!("{target}.{0} = VALUES({0})", quote(name))
        });
        let assignments: Vec<String> = written()
            .enumerate()
            .map(|(index, column)| {
                let name = quote(&column.name);
                let mut value = format!("IF({newer}, VALUES({name}), {target}.{name})");
                if column.name == VERSION {
                    value = format!("IF({same_key}, {value}, NULL)");
                }
                if index == 0 {
                    value = format!("IF({count}, {value}, NULL)");
                }
                format!("{name} = {value}")
            })
            .collect();
        let names = list(&table.columns, ", ", |column| quote(&column.name));
        Self {
            insert: format!("INSERT INTO {target} ({names}) VALUES "),
            places: format!("({})", list(&table.columns, ",", |_| "?".to_owned())),
            update: format!(" ON DUPLICATE KEY UPDATE {}", assignments.join(", ")),
            columns: table.columns.len(),
            has_extra: table.has_extra(),
        }
    }

    pub(super) async fn start_count(connection: &mut MySqlConnection) -> Result<()> {
        run(connection, COUNT).await.map(drop)
    }

    /// Upserts rows of one object, sorted by key. Call it once after each [`Upsert::start_count`].
    pub(super) async fn run(
        &self,
        connection: &mut MySqlConnection,
        versions: RowVersions,
        rows: &[&Row],
    ) -> Result<StoreCounts> {
        let put = |arguments: &mut MySqlArguments, _: usize, row: &Row| {
            for value in &row.values {
                bind(arguments, value)?;
            }
            if self.has_extra {
                add(arguments, row.extra.as_deref())?;
            }
            add(arguments, versions.of(row).as_bytes())
        };
        fill(
            connection,
            [&self.insert, &self.places, &self.update],
            self.columns,
            rows,
            put,
        )
        .await?;
        let counted = sqlx::query(COUNTED)
            .fetch_one(connection)
            .await
            .map_err(error)?;
        let count = |index: usize| unsigned(STORE, counted.try_get(index).map_err(error)?);
        let (updated, unchanged, stale) = (count(0)?, count(1)?, count(2)?);
        Ok(StoreCounts {
            inserted: uncounted(STORE, rows.len() as u64, [updated, unchanged, stale])?,
            updated,
            unchanged,
            stale,
            ..StoreCounts::default()
        })
    }
}

fn increment(counter: &str) -> String {
    format!("@landfall_{counter} := @landfall_{counter} + 1")
}

/// Inserts rows with statements that consist of this beginning, the placeholders of each row, and this end.
///
/// The next batch is built while the server works on one.
pub(super) async fn fill(
    connection: &mut MySqlConnection,
    [insert, places, end]: [&str; 3],
    columns: usize,
    rows: &[&Row],
    put: impl Fn(&mut MySqlArguments, usize, &Row) -> Result<()>,
) -> Result<()> {
    let most = BATCH_ROWS.min(BATCH_VALUES / columns);
    let mut rest = rows;
    let mut next = || {
        let batch = batch(rest, most);
        let first = rows.len() - rest.len();
        rest = &rest[batch.len()..];
        let mut arguments = MySqlArguments::default();
        arguments.reserve(
            batch.len() * columns,
            batch.iter().map(|row| size(row)).sum(),
        );
        for (index, row) in batch.iter().enumerate() {
            put(&mut arguments, first + index, row)?;
        }
        Ok::<_, StoreError>((batch.len(), arguments))
    };
    let (mut length, mut arguments) = next()?;
    while length > 0 {
        let places = vec![places; length].join(",");
        let statement = AssertSqlSafe(format!("{insert}{places}{end}"));
        let execute = sqlx::query_with(statement, arguments).execute(&mut *connection);
        let (done, following) = tokio::join!(execute, async { next() });
        done.map_err(error)?;
        (length, arguments) = following?;
    }
    Ok(())
}

/// Returns the rows of the next statement. Their number is a power of two, so that few statements are prepared.
fn batch<'a, 'r>(rows: &'a [&'r Row], most: usize) -> &'a [&'r Row] {
    let mut bytes = 0;
    let fits = rows.iter().take(most).take_while(|row| {
        bytes += size(row);
        bytes <= BATCH_BYTES
    });
    let length = fits.count().max(1).min(rows.len());
    &rows[..length.checked_ilog2().map_or(0, |log| 1 << log)]
}

fn size(row: &Row) -> usize {
    let value = |value: &Value| match value {
        Value::Text(text) => text.len() + 4,
        Value::Json(text) => text.len() + 4,
        _ => 30,
    };
    let extra = row.extra.as_ref().map_or(0, String::len);
    row.values.iter().map(value).sum::<usize>() + extra + 40
}

pub(super) fn bind(arguments: &mut MySqlArguments, value: &Value) -> Result<()> {
    match value {
        Value::Null => add(arguments, None::<&str>),
        Value::Text(text) => add(arguments, text.as_str()),
        Value::Json(text) => add(arguments, text.as_str()),
        Value::Integer(number) => add(arguments, number),
        Value::Decimal(number) => add(arguments, number.to_string()),
        Value::Float(number) => add(arguments, number),
        Value::Boolean(boolean) => add(arguments, boolean),
        Value::Date(day) => add(arguments, date_text(*day)),
        Value::Timestamp(instant) => add(arguments, timestamp_text(instant.to_datetime(), ' ', "")),
    }
}

pub(super) fn add<'q, T>(arguments: &mut MySqlArguments, value: T) -> Result<()>
where
    T: sqlx::Encode<'q, sqlx::MySql> + sqlx::Type<sqlx::MySql>,
{
    arguments
        .add(value)
        .map_err(|failure| error(sqlx::Error::Encode(failure)))
}
