//! Which numbers a parent's rows have, also deleted ones.
//!
//! One statement reads rows and tombstones, as a delete replaces the row by the tombstone, and a newer row the
//! tombstone by a row.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use landfall_domain::{Dataset, FieldType, QueryError, Value};

use super::page::PageBuilder;
use super::statement::{Dialect, ReadColumn, ReadTable, Statement};
use crate::error::Result;

/// The maximum number of numbers that one call looks for.
pub const MAX_NUMBERS: u32 = 1_000;

/// Bytes of a page of so many numbers, with room for what a row costs.
const PAGE_BYTES: usize = 1 << 20;

/// Checks that a call looks for few numbers under the parent of a dataset. Returns how many.
pub(crate) fn check(
    dataset: &Dataset,
    parent: &[Value],
    numbers: &RangeInclusive<i64>,
) -> Result<u32, QueryError> {
    let number = dataset.key_fields().last();
    let is_numbered = number.is_some_and(|number| number.kind == FieldType::Integer)
        && dataset.key_indexes().len() == parent.len() + 1;
    if !is_numbered {
        return Err(QueryError::Key(parent.len() + 1));
    }
    let count = numbers.end().saturating_sub(*numbers.start());
    let count = u32::try_from(count.saturating_add(1));
    let count = count.ok().filter(|count| *count <= MAX_NUMBERS);
    count.ok_or(QueryError::Limit)
}

/// Returns the table of the result: one column of numbers.
pub(crate) fn table() -> ReadTable {
    ReadTable {
        name: String::new(),
        columns: vec![ReadColumn::new(FieldType::Integer, String::new())],
        extra: None,
        by_key: "",
    }
}

/// Returns the page that has all of so many numbers.
pub(crate) fn page(count: u32) -> PageBuilder {
    PageBuilder::new(count, PAGE_BYTES)
}

/// Returns the statement that selects the numbers that have a row or a tombstone.
pub(crate) fn select(
    dialect: &impl Dialect,
    dataset: &Dataset,
    table: &ReadTable,
    has_tombstones: bool,
    parent: &[Value],
    numbers: &RangeInclusive<i64>,
) -> Statement {
    let mut values = Vec::new();
    let columns = || {
        dataset
            .key_indexes()
            .iter()
            .map(|field| &table.columns[*field])
    };
    let number = columns().next_back().map_or("NULL", |column| &column.raw);
    let mut of = |name: &str| {
        let mut conditions = Vec::new();
        let range = [numbers.start(), numbers.end()].map(|number| Value::Integer(*number));
        let compared = columns().map(|column| (column, "=")).take(parent.len());
        let compared = compared.chain(columns().next_back().map(|column| (column, ">=")));
        let compared = compared.chain(columns().next_back().map(|column| (column, "<=")));
        for ((column, comparison), value) in compared.zip(parent.iter().chain(&range)) {
            values.push(value.clone());
            let place = dialect.place(values.len(), column.kind);
            conditions.push(format!("{} {comparison} {place}", column.raw));
        }
        format!(
            "SELECT {number} FROM {name} WHERE {}",
            conditions.join(" AND ")
        )
    };
    let mut sql = of(&table.name);
    if has_tombstones {
        let tombstones = of(&dialect.tombstones(&dataset.name));
        sql = format!("{sql} UNION {tombstones}");
    }
    Statement { sql, values }
}

/// Returns the numbers of a page.
pub(crate) fn found(page: PageBuilder) -> BTreeSet<i64> {
    let rows = page.into_rows().into_iter();
    let numbers = rows.filter_map(|row| match row.values.first() {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    });
    numbers.collect()
}
