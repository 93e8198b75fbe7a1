//! Making a dataset's tables.

use landfall_domain::{Dataset, FieldType, SORTED_CHARS, StoreKind};
use rusqlite::{Connection, ErrorCode, Transaction};

use super::error::{Failure, Result, misfit};
use super::values::type_of;
use super::{registry, totals};
use crate::registry::{Registered, tombstones_of};
use crate::schema::{Column, ColumnKind, ExistingColumn, Index, Table, VERSION, list};

/// The most digits before the point of a decimal.
const WHOLE_DIGITS: usize = 28;
/// Column of when a tombstone was made.
pub(super) const DELETED_AT: &str = "_deleted_at";

/// Names come checked from [`Table::of`] or the registry and hold no quotes.
pub(super) fn quote(name: impl AsRef<str>) -> String {
    format!("\"{}\"", name.as_ref())
}

/// Name of the table of a dataset's tombstones, quoted.
pub(super) fn tombstones(dataset: &str) -> String {
    quote(tombstones_of(dataset))
}

fn column_type(column: &Column) -> String {
    let name = match column.kind {
        ColumnKind::Version => "BLOB",
        ColumnKind::Extra => "TEXT",
        ColumnKind::Key(kind) | ColumnKind::Field(kind) => type_of(kind),
    };
    name.to_owned()
}

fn definition(column: &Column) -> String {
    let required = if column.kind.is_required() {
        " NOT NULL"
    } else {
        ""
    };
    format!("{} {}{required}", quote(&column.name), column_type(column))
}

/// Whether there is a table or view of this name.
pub(super) fn exists(transaction: &Connection, name: &str) -> Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?)";
    Ok(transaction.query_row(select, [name], |row| row.get(0))?)
}

/// Makes what is missing of a dataset's tables, and registers it.
pub(super) fn make(transaction: &Transaction<'_>, dataset: &Dataset, table: &Table) -> Result<()> {
    registry::make(transaction)?;
    let mut known = registry::read(transaction, &table.name)?;
    // A table that someone dropped starts anew, without what was counted and deleted of it.
    if !exists(transaction, &table.name)?
        && let Some(entry) = known.take()
    {
        totals::drop_tables(transaction, &entry.registered.totals)?;
        let drop = format!("DROP TABLE IF EXISTS {}", tombstones(&table.name));
        transaction.execute_batch(&drop)?;
        registry::remove(transaction, &table.name)?;
    }
    create(transaction, table)?;
    let known = known.map(|entry| entry.registered);
    let registered = match &known {
        Some(known) => known.with(Registered::of(dataset), &table.name, StoreKind::Sqlite)?,
        None => Registered::of(dataset),
    };
    add_columns(transaction, table)?;
    for index in &table.indexes {
        transaction.execute_batch(&create_index(table, index))?;
    }
    for total in &registered.totals {
        let is_known = known
            .as_ref()
            .is_some_and(|known| known.totals.contains(total));
        if !exists(transaction, &total.name)? {
            totals::make(transaction, &table.name, &registered, total)?;
        } else if !is_known {
            return Err(misfit(
                &total.name,
                "it is there and not the totals of the dataset; rename one of them",
            )
            .into());
        }
    }
    if known.as_ref() != Some(&registered) {
        registry::write(transaction, &table.name, &registered)?;
    }
    Ok(())
}

/// Makes the totals anew that a dataset defines, and no others.
pub(super) fn rebuild_totals(
    transaction: &Transaction<'_>,
    dataset: &Dataset,
    table: &Table,
) -> Result<Vec<(String, i64)>> {
    // Whatever is registered of totals may be what is to be mended.
    let mut plain = dataset.clone();
    plain.totals.clear();
    make(transaction, &plain, table)?;
    let mut registered = registry::prepared(transaction, &table.name)?.registered;
    totals::drop_tables(transaction, &registered.totals)?;
    registered.totals.clone_from(&dataset.totals);
    registry::write(transaction, &table.name, &registered)?;
    make(transaction, dataset, table)?;
    let groups = |name: &String| {
        let count = format!("SELECT count(*) FROM {}", quote(name));
        let groups = transaction.query_row(&count, [], |row| row.get(0));
        Ok((name.clone(), groups?))
    };
    dataset
        .totals
        .iter()
        .map(|total| groups(&total.name))
        .collect()
}

fn create(transaction: &Transaction<'_>, table: &Table) -> Result<()> {
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
        .map_err(|error| unfit(table, error))
}

/// What has the order of an expression's values: decimals are text, and not in the order of numbers.
pub(super) fn ordered(kind: FieldType, expression: &str) -> String {
    if kind != FieldType::Decimal {
        return expression.to_owned();
    }
    let digits = format!("ltrim({expression}, '-')");
    let zeros = "0".repeat(WHOLE_DIGITS);
    let padded = format!("substr('{zeros}', instr({digits} || '.', '.')) || {digits}");
    // The greater a negative number's digits are, the less it is.
    let mirrored = ('0'..='9').zip(('a'..='j').rev());
    let mirrored = mirrored.fold(padded.clone(), |text, (digit, letter)| {
        format!("replace({text}, '{digit}', '{letter}')")
    });
    format!("CASE WHEN {expression} < '0' THEN '-' || {mirrored} || '~' ELSE {padded} END")
}

/// What an index has of a text that may be long, and what rows are sorted by.
pub(super) fn beginning(expression: &str) -> String {
    format!("substr({expression}, 1, {SORTED_CHARS})")
}

fn create_index(table: &Table, index: &Index) -> String {
    let field = quote(&index.field);
    let first = if index.is_cut {
        beginning(&field)
    } else {
        ordered(index.kind, &field)
    };
    format!(
        "CREATE INDEX IF NOT EXISTS {} ON {} ({}{})",
        // With a dot, which no name has, so that no two have one name.
        quote(format!("_by_{}.{}", table.name, index.field)),
        quote(&table.name),
        first,
        list(&index.ties, "", |name| format!(", {}", quote(name))),
    )
}

fn add_columns(transaction: &Transaction<'_>, table: &Table) -> Result<()> {
    for column in missing(transaction, table)?.unwrap_or_default() {
        let add = format!(
            "ALTER TABLE {} ADD COLUMN {}",
            quote(&table.name),
            definition(column)
        );
        transaction
            .execute_batch(&add)
            .map_err(|error| unfit(table, error))?;
    }
    Ok(())
}

/// The columns that the table lacks; none where there is no table.
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
        return Err(misfit(&table.name, "it has no row ids; rename it").into());
    }
    Ok(Some(table.missing(&existing, column_type)?))
}

fn unfit(table: &Table, error: rusqlite::Error) -> Failure {
    match error.sqlite_error_code() {
        // A name or number of columns that `SQLite` does not take.
        Some(ErrorCode::Unknown) => misfit(&table.name, "SQLite does not take this table").into(),
        _ => error.into(),
    }
}
