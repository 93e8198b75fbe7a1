//! Ranges of keys, in which totals are built: whether a row is included follows from its key, wherever the row is.
//!
//! A place is a key as JSON: the texts of its values, in hexadecimal.

use landfall_domain::FieldType;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::statement::{STORE, error};
use super::table::{field_type, quote};
use crate::error::{Result, StoreError};
use crate::schema::{ColumnKind, Table, list};
use crate::walk::Range;

/// Returns the range of so many rows after a place. Its condition is on the alias `t`, and `next` is its last key.
pub(super) async fn next(
    connection: &mut PgConnection,
    table: &Table,
    place: Option<&str>,
    rows: u64,
) -> Result<Range> {
    let after = match place {
        Some(place) => compare(table, "t", ">", place)?,
        None => "true".to_owned(),
    };
    let key = list(&table.key, ", ", |name| format!("t.{}", quote(name)));
    let values = list(&table.key, ", ", |name| {
        format!("encode(convert_to(t.{}::text, 'UTF8'), 'hex')", quote(name))
    });
    let last = format!(
        "SELECT {values} FROM {} t WHERE {after} ORDER BY {key} OFFSET {} LIMIT 1",
        quote(&table.name),
        rows.saturating_sub(1)
    );
    let last = sqlx::query(AssertSqlSafe(last)).persistent(false);
    let Some(last) = last.fetch_optional(connection).await.map_err(error)? else {
        return Ok(Range {
            condition: after,
            next: None,
        });
    };
    let values = (0..table.key.len()).map(|place| last.try_get::<String, _>(place));
    let values: Vec<String> = values.collect::<Result<_, _>>().map_err(error)?;
    let next = serde_json::to_string(&values).map_err(|_| unreadable())?;
    Ok(Range {
        condition: format!("{after} AND {}", compare(table, "t", "<=", &next)?),
        next: Some(next),
    })
}

/// Returns the condition that compares the key of an alias with a place.
pub(super) fn compare(table: &Table, alias: &str, operator: &str, place: &str) -> Result<String> {
    let values: Vec<String> = serde_json::from_str(place).map_err(|_| unreadable())?;
    let is_hex = |value: &String| value.chars().all(|char| char.is_ascii_hexdigit());
    if values.len() != table.key.len() || !values.iter().all(is_hex) {
        return Err(unreadable());
    }
    let key = list(&table.key, ", ", |name| format!("{alias}.{}", quote(name)));
    let literals = list(table.key.iter().zip(&values), ", ", |(name, value)| {
        let text = format!("convert_from('\\x{value}'::bytea, 'UTF8')");
        format!("{text}::{}", field_type(kind_of(table, name)))
    });
    Ok(format!("({key}) {operator} ({literals})"))
}

fn kind_of(table: &Table, name: &str) -> FieldType {
    let mut columns = table.columns.iter();
    let kind = columns.find_map(|column| match column.kind {
        ColumnKind::Key(kind) if column.name == name => Some(kind),
        _ => None,
    });
    debug_assert!(kind.is_some(), "the key has the column {name}");
    kind.unwrap_or(FieldType::Text)
}

fn unreadable() -> StoreError {
    StoreError::unavailable(STORE, "the place of a walk cannot be read")
}
