//! Tables and their columns in SQL.

use landfall_domain::{FieldType, SORTED_CHARS};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::error;
use crate::StoreError;
use crate::schema::{Column, ColumnKind, ExistingColumn, Index, Table, list};

/// Share of a page that rows are put into, in percent. The other half is for the next version of each
/// row: an update that stays on its page touches no index (HOT), which halves its cost.
const FILL: u32 = 50;

/// The type of a field's column, as `format_type` of `PostgreSQL` names it.
pub(super) fn field_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text => "text",
        FieldType::Integer => "bigint",
        FieldType::Decimal => "numeric",
        FieldType::Float => "double precision",
        FieldType::Boolean => "boolean",
        FieldType::Date => "date",
        FieldType::Timestamp => "timestamp with time zone",
        FieldType::Json => "jsonb",
    }
}

/// The type of a column.
pub(super) fn type_of(column: &Column) -> String {
    let name = match column.kind {
        ColumnKind::Version => "bytea",
        ColumnKind::Extra => "jsonb",
        ColumnKind::Key(kind) | ColumnKind::Field(kind) => field_type(kind),
    };
    name.to_owned()
}

/// Name and type of a column.
pub(super) fn definition(column: &Column) -> String {
    let collate = match column.kind {
        // Byte order, as chunks are sorted by, and the cheapest to compare.
        ColumnKind::Key(FieldType::Text) => " COLLATE \"C\"",
        _ => "",
    };
    format!("{} {}{collate}", quote(&column.name), type_of(column))
}

/// Names come checked from [`Table::of`] and hold no quotes.
pub(super) fn quote(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref())
}

/// Name of a thing that belongs to this definition: another definition has another thing.
pub(super) fn name_for(prefix: &str, definition: &str) -> String {
    let digest = blake3::hash(definition.as_bytes()).to_hex();
    quote(format!("{prefix}_{}", &digest[..16]))
}

/// Makes the table where it is missing.
pub(super) fn create(table: &Table) -> String {
    let columns = list(&table.columns, ", ", |column| {
        let null = if column.kind.is_required() {
            " NOT NULL"
        } else {
            ""
        };
        format!("{}{null}", definition(column))
    });
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({columns}, PRIMARY KEY ({})) WITH (fillfactor = {FILL})",
        quote(&table.name),
        list(&table.key, ", ", quote)
    )
}

pub(super) fn add_columns(table: &Table, missing: &[&Column]) -> String {
    let columns = list(missing, ", ", |column| {
        format!("ADD COLUMN {} {}", quote(&column.name), type_of(column))
    });
    format!("ALTER TABLE {} {columns}", quote(&table.name))
}

/// What an index has of a text that may be long, and what rows are sorted by.
pub(super) fn beginning(expression: &str) -> String {
    format!("left({expression}, {SORTED_CHARS}) COLLATE \"C\"")
}

pub(super) fn create_index(table: &Table, index: &Index) -> String {
    let first = if index.is_cut {
        beginning(&quote(&index.field))
    } else {
        quote(&index.field)
    };
    let columns = list(&index.ties, "", |name| format!(", {}", quote(name)));
    let on = format!("ON {} ({first}{columns})", quote(&table.name));
    format!("CREATE INDEX IF NOT EXISTS {} {on}", name_for("_by", &on))
}

/// The columns that the table lacks; none where there is no table.
pub(super) async fn missing<'t>(
    connection: &mut PgConnection,
    table: &'t Table,
) -> Result<Option<Vec<&'t Column>>, StoreError> {
    let found = sqlx::query(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
         array_position(i.indkey::int2[], a.attnum) \
         FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary \
         WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
    )
    .bind(quote(&table.name))
    .fetch_all(connection)
    .await
    .map_err(error)?;
    if found.is_empty() {
        return Ok(None);
    }
    let existing = found.iter().map(|row| {
        let place: Option<i32> = row.try_get(2)?;
        Ok(ExistingColumn {
            name: row.try_get(0)?,
            sql_type: row.try_get(1)?,
            key_place: place.and_then(|place| usize::try_from(place).ok()),
        })
    });
    let existing: Vec<_> = existing
        .collect::<Result<_, sqlx::Error>>()
        .map_err(error)?;
    table.missing(&existing, type_of).map(Some)
}

/// Runs statements, and gives the number of rows that they touched.
pub(super) async fn run(
    connection: &mut PgConnection,
    statements: impl Into<String>,
) -> Result<u64, StoreError> {
    // Unprepared: a plan made for an empty table would stay otherwise.
    let done = sqlx::raw_sql(AssertSqlSafe(statements.into()))
        .execute(connection)
        .await
        .map_err(error)?;
    Ok(done.rows_affected())
}

/// Runs a statement that gives one row of counts.
pub(super) async fn count<const N: usize>(
    connection: &mut PgConnection,
    statement: impl Into<String>,
) -> Result<[u64; N], StoreError> {
    let row = sqlx::raw_sql(AssertSqlSafe(statement.into()))
        .fetch_one(connection)
        .await
        .map_err(error)?;
    let mut counts = [0; N];
    for (index, count) in counts.iter_mut().enumerate() {
        *count = row.try_get(index).map(i64::unsigned_abs).map_err(error)?;
    }
    Ok(counts)
}
