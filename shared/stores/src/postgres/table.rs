//! Tables and their columns in SQL.
//!
//! Pages are filled to half (`fillfactor = 50`). The next version of a row then fits on the same page, and no index
//! is touched (HOT), which makes updates much cheaper, including those that change only the version. The table
//! takes twice the space at first, and does not grow when every row is updated next, as a full one would.

use landfall_domain::{FieldType, SORTED_CHARS};
use sqlx::PgConnection;

use super::statement::error;
use crate::error::Result;
use crate::schema::{Column, ColumnKind, ExistingColumn, Index, Table, list};

/// Percentage of a page that rows fill. The rest is for the next version of each row: an update that stays on its
/// page touches no index (HOT), which halves its cost.
const FILL: u32 = 50;

/// Returns the type of a field's column, in the form of `format_type`.
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

pub(super) fn type_of(column: &Column) -> String {
    let name = match column.kind {
        ColumnKind::Version | ColumnKind::Versions => "bytea",
        ColumnKind::Extra => "jsonb",
        ColumnKind::Search => "text",
        ColumnKind::Key(kind) | ColumnKind::Field(kind) => field_type(kind),
    };
    name.to_owned()
}

pub(super) fn definition(column: &Column) -> String {
    let collate = match column.kind {
        // Byte order: chunks are sorted by it, and it is the fastest to compare.
        ColumnKind::Key(FieldType::Text) => " COLLATE \"C\"",
        _ => "",
    };
    format!("{} {}{collate}", quote(&column.name), type_of(column))
}

/// Quotes a name. [`Table::new`] has checked it, so it holds no quotes.
pub(super) fn quote(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref())
}

/// Returns a name that is unique to a definition.
pub(super) fn name_for(prefix: &str, definition: &str) -> String {
    let digest = blake3::hash(definition.as_bytes()).to_hex();
    quote(format!("{prefix}_{}", &digest[..16]))
}

/// Returns the statement that creates the table if it is missing.
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

/// Returns the expression by which texts that may be long are indexed and sorted.
pub(super) fn beginning(expression: &str) -> String {
    format!("left({expression}, {SORTED_CHARS}) COLLATE \"C\"")
}

/// Returns the name of an index, and the rest of the statement that creates it.
pub(super) fn index(table: &Table, index: &Index) -> (String, String) {
    let first = if index.is_cut {
        beginning(&quote(&index.field))
    } else {
        quote(&index.field)
    };
    let columns = list(&index.ties, "", |name| format!(", {}", quote(name)));
    let on = format!("ON {} ({first}{columns})", quote(&table.name));
    (name_for("_by", &on), on)
}

/// Returns the columns that the table lacks, or none if there is no table.
pub(super) async fn missing<'t>(
    connection: &mut PgConnection,
    table: &'t Table,
) -> Result<Option<Vec<&'t Column>>> {
    let found: Vec<(String, String, Option<i32>)> = sqlx::query_as(
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
    let existing = found
        .into_iter()
        .map(|(name, sql_type, place)| ExistingColumn {
            name,
            sql_type,
            key_place: place.and_then(|place| usize::try_from(place).ok()),
        });
    table
        .missing(&existing.collect::<Vec<_>>(), type_of)
        .map(Some)
}
