//! Tables, columns and indexes in SQL.

use landfall_domain::{FieldType, SORTED_CHARS};
use rusqlite::{Connection, ErrorCode, Transaction};

use super::error::mismatch;
use super::values::type_of;
use crate::error::{Result, StoreError};
use crate::registry::tombstones_of;
use crate::schema::{Column, ColumnKind, ExistingColumn, Index, Table, VERSION, list};

/// The maximum number of digits before the point of a decimal.
const WHOLE_DIGITS: usize = 28;
/// Column of the time of a delete in tombstones.
pub(super) const DELETED_AT: &str = "_deleted_at";

/// Quotes a name. [`Table::new`] or the registry has checked it, so it holds no quotes.
pub(super) fn quote(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref())
}

/// Returns the quoted name of the table of a dataset's tombstones.
pub(super) fn tombstones(dataset: &str) -> String {
    quote(tombstones_of(dataset))
}

fn column_type(column: &Column) -> String {
    let name = match column.kind {
        ColumnKind::Version | ColumnKind::Versions => "BLOB",
        ColumnKind::Extra | ColumnKind::Search => "TEXT",
        ColumnKind::Key(kind) | ColumnKind::Field(kind) => type_of(kind),
    };
    name.to_owned()
}

pub(super) fn definition(column: &Column) -> String {
    let required = if column.kind.is_required() {
        " NOT NULL"
    } else {
        ""
    };
    format!("{} {}{required}", quote(&column.name), column_type(column))
}

pub(super) fn exists(transaction: &Connection, name: &str) -> Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?)";
    Ok(transaction.query_row(select, [name], |row| row.get(0))?)
}

pub(super) fn create(transaction: &Transaction<'_>, table: &Table) -> Result<()> {
    let key = list(&table.key, ", ", quote);
    let is_key = |column: &&Column| matches!(column.kind, ColumnKind::Key(_));
    let tombstones = tombstones(&table.name);
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({key})) STRICT;
         CREATE TABLE IF NOT EXISTS {tombstones} ({}, {VERSION} BLOB NOT NULL, {DELETED_AT} TEXT NOT NULL, \
             PRIMARY KEY ({key})) STRICT;
         CREATE INDEX IF NOT EXISTS {} ON {tombstones} ({DELETED_AT})",
        quote(&table.name),
        list(&table.columns, ", ", definition),
        list(table.columns.iter().filter(is_key), ", ", definition),
        quote(format!("_deleted_at_{}", table.name)),
    );
    transaction
        .execute_batch(&create)
        .map_err(|error| mismatch_of(table, error))
}

/// Returns an expression that sorts as the values do: decimals are text.
pub(super) fn ordered(kind: FieldType, expression: &str) -> String {
    if kind != FieldType::Decimal {
        return expression.to_owned();
    }
    let digits = format!("ltrim({expression}, '-')");
    let zeros = "0".repeat(WHOLE_DIGITS);
    let padded = format!("substr('{zeros}', instr({digits} || '.', '.')) || {digits}");
    // The greater the digits of a negative number, the less it is.
    let mirrored = ('0'..='9').zip(('a'..='j').rev());
    let mirrored = mirrored.fold(padded.clone(), |text, (digit, letter)| {
        format!("replace({text}, '{digit}', '{letter}')")
    });
    format!("CASE WHEN {expression} < '0' THEN '-' || {mirrored} || '~' ELSE {padded} END")
}

/// Returns the expression by which texts that may be long are indexed and sorted.
pub(super) fn beginning(expression: &str) -> String {
    format!("substr({expression}, 1, {SORTED_CHARS})")
}

/// Returns the name of an index. No name of a table or field has a dot, so it is unique.
pub(super) fn index_name(table: &Table, index: &Index) -> String {
    format!("_by_{}.{}", table.name, index.field)
}

pub(super) fn create_index(table: &Table, index: &Index) -> String {
    let field = quote(&index.field);
    let first = if index.is_cut {
        beginning(&field)
    } else {
        ordered(index.kind, &field)
    };
    format!(
        "CREATE INDEX IF NOT EXISTS {} ON {} ({}{})",
        quote(index_name(table, index)),
        quote(&table.name),
        first,
        list(&index.ties, "", |name| format!(", {}", quote(name))),
    )
}

pub(super) fn add_columns(transaction: &Transaction<'_>, table: &Table) -> Result<()> {
    let missing = missing(transaction, table)?;
    debug_assert!(missing.is_some(), "the table was created");
    for column in missing.unwrap_or_default() {
        let add = format!(
            "ALTER TABLE {} ADD COLUMN {}",
            quote(&table.name),
            definition(column)
        );
        transaction
            .execute_batch(&add)
            .map_err(|error| mismatch_of(table, error))?;
    }
    Ok(())
}

/// Returns the columns that the table lacks, or none if there is no table.
pub(super) fn missing<'t>(
    connection: &Connection,
    table: &'t Table,
) -> Result<Option<Vec<&'t Column>>> {
    let select =
        "SELECT name, type, pk, (SELECT wr FROM pragma_table_list(?1)) FROM pragma_table_info(?1)";
    let mut statement = connection.prepare(select)?;
    let columns = statement.query_map([&table.name], |row| {
        let place: u32 = row.get(2)?;
        let column = ExistingColumn {
            name: row.get(0)?,
            sql_type: row.get(1)?,
            key_place: place.checked_sub(1).map(|place| place as usize),
        };
        Ok((column, row.get::<_, bool>(3)?))
    })?;
    let (existing, without_rowid): (Vec<_>, Vec<_>) = columns
        .collect::<rusqlite::Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    if existing.is_empty() {
        return Ok(None);
    }
    if without_rowid.contains(&true) {
        return Err(mismatch(&table.name, "it has no row ids; rename it"));
    }
    table.missing(&existing, column_type).map(Some)
}

fn mismatch_of(table: &Table, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        // A name or number of columns that `SQLite` rejects.
        Some(ErrorCode::Unknown) => mismatch(&table.name, "SQLite rejects the table's definition"),
        _ => error.into(),
    }
}
