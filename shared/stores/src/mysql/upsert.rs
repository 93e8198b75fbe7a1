//! Rows into a table: multi-row upserts that write only over what is older, and count.

use landfall_domain::{ObjectOrder, Row, RowVersion, StoreCounts, Value};
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments as _, AssertSqlSafe, MySqlConnection, Row as _};

use super::dialect::quote;
use super::{error, run};
use crate::StoreError;
use crate::schema::{ColumnKind, Table, VERSION, list};
use crate::text::{date_text, timestamp_text};

/// Rows of one statement, the values that a statement can have, and their bytes: well below the 16
/// MiB of `max_allowed_packet` in `MariaDB`, the smallest default.
const BATCH_ROWS: usize = 1024;
const BATCH_VALUES: usize = 65_535;
const BATCH_BYTES: usize = 2 << 20;

const COUNT: &str = "SET @landfall_updated = 0, @landfall_unchanged = 0, @landfall_stale = 0";
const COUNTED: &str = "SELECT CAST(@landfall_updated AS SIGNED), CAST(@landfall_unchanged AS SIGNED), \
     CAST(@landfall_stale AS SIGNED)";

/// The statement that upserts rows, but for their number.
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
        let same = list(table.values(), " AND ", |column| {
            format!("{0} <=> VALUES({0})", quote(&column.name))
        });
        let same = if same.is_empty() { "TRUE" } else { &same };
        let newer = format!("{target}.{VERSION} < VALUES({VERSION})");
        // Never zero, and in the first assignment, where all the old values are still there: assignments are
        // made from left to right.
        let count = format!(
            "IF({newer}, IF({same}, {}, {}), IF({target}.{VERSION} = VALUES({VERSION}), {0}, {}))",
            increment("unchanged"),
            increment("updated"),
            increment("stale"),
        );
        // The duplicate may be one of another unique index, and then its row is not this one's to change:
        // null is refused there.
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

    /// Sets the counters of this connection to zero.
    pub(super) async fn start_count(connection: &mut MySqlConnection) -> Result<(), StoreError> {
        run(connection, COUNT).await.map(drop)
    }

    /// Upserts rows; all of them are of one object, and sorted by key. To be called once for each
    /// [`Upsert::start_count`].
    pub(super) async fn run(
        &self,
        connection: &mut MySqlConnection,
        order: &ObjectOrder,
        rows: &[&Row],
    ) -> Result<StoreCounts, StoreError> {
        let put = |arguments: &mut MySqlArguments, _: usize, row: &Row| {
            for value in &row.values {
                bind(arguments, value)?;
            }
            if self.has_extra {
                add(arguments, row.extra.as_deref())?;
            }
            add(arguments, version(order, row).as_slice())
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
        let count = |index: usize| counted.try_get(index).map(i64::unsigned_abs).map_err(error);
        let (updated, unchanged, stale) = (count(0)?, count(1)?, count(2)?);
        Ok(StoreCounts {
            inserted: rows.len() as u64 - updated - unchanged - stale,
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

/// The bytes of a row's version.
pub(super) fn version(order: &ObjectOrder, row: &Row) -> [u8; RowVersion::LEN] {
    *order.at(row.offset).as_bytes()
}

/// Inserts rows with a statement of this beginning, places of a row and end.
///
/// While the server works on one batch, the next one is made.
pub(super) async fn fill(
    connection: &mut MySqlConnection,
    [insert, places, end]: [&str; 3],
    columns: usize,
    rows: &[&Row],
    put: impl Fn(&mut MySqlArguments, usize, &Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
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

/// The rows of the next statement. Their number is a power of two, so that there are few statements to
/// prepare.
fn batch<'a, 'r>(rows: &'a [&'r Row], most: usize) -> &'a [&'r Row] {
    let mut bytes = 0;
    let fits = rows.iter().take(most).take_while(|row| {
        bytes += size(row);
        bytes <= BATCH_BYTES
    });
    let length = fits.count().max(1).min(rows.len());
    &rows[..length.checked_ilog2().map_or(0, |log| 1 << log)]
}

/// Bytes that a row takes in a statement, about.
fn size(row: &Row) -> usize {
    let value = |value: &Value| match value {
        Value::Text(text) => text.len() + 4,
        Value::Json(text) => text.len() + 4,
        _ => 30,
    };
    let extra = row.extra.as_ref().map_or(0, String::len);
    row.values.iter().map(value).sum::<usize>() + extra + 40
}

pub(super) fn bind(arguments: &mut MySqlArguments, value: &Value) -> Result<(), StoreError> {
    match value {
        Value::Null => add(arguments, None::<&str>),
        Value::Text(text) => add(arguments, text.as_str()),
        Value::Json(text) => add(arguments, text.as_str()),
        Value::Integer(number) => add(arguments, number),
        Value::Decimal(number) => add(arguments, number.to_string()),
        Value::Float(number) => add(arguments, number),
        Value::Boolean(boolean) => add(arguments, boolean),
        Value::Date(day) => add(arguments, date_text(*day)),
        Value::Timestamp(instant) => add(arguments, timestamp_text(*instant, ' ', "")),
    }
}

pub(super) fn add<'q, T>(arguments: &mut MySqlArguments, value: T) -> Result<(), StoreError>
where
    T: sqlx::Encode<'q, sqlx::MySql> + sqlx::Type<sqlx::MySql>,
{
    arguments
        .add(value)
        .map_err(|failure| error(sqlx::Error::Encode(failure)))
}
