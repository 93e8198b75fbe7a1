//! The pending changes of one table of totals.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bigdecimal::{BigDecimal, ToPrimitive};
use landfall_domain::{FieldType, Total};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{OptionalExtension, Transaction, params_from_iter};

use super::error::unavailable;
use super::table::quote;
use super::values::{bound, value};
use crate::error::{Result, StoreError};
use crate::schema::list;

pub(super) struct Changes {
    statements: Statements,
    /// Indexes of the columns that make a group.
    by: Vec<usize>,
    measures: Vec<Measured>,
    groups: HashMap<Vec<u8>, Group>,
}

pub(super) enum Measured {
    Count,
    Sum {
        column: usize,
        kind: FieldType,
    },
    Extreme {
        column: usize,
        kind: FieldType,
        is_least: bool,
        select: String,
    },
}

struct Group {
    by: Vec<Value>,
    rows: i64,
    measures: Vec<Change>,
}

#[derive(Clone, Default)]
struct Change {
    /// Exact, of any number of digits.
    sum: BigDecimal,
    /// The extremes of the added and of the removed values.
    added: Option<Extreme>,
    removed: Option<Extreme>,
}

/// A least or greatest value. Dates and timestamps are texts, which sort as they do.
type Extreme = landfall_domain::Value;

struct Statements {
    select: String,
    replace: String,
    delete: String,
}

impl Statements {
    fn new(total: &Total) -> Self {
        let name = quote(&total.name);
        let columns = total.columns.iter().map(|column| quote(&column.name));
        let columns: Vec<String> = columns.collect();
        let places = vec!["?"; total.by.len() + columns.len() + 2];
        Self {
            select: format!(
                "SELECT _rows{} FROM {name} WHERE _group = ?",
                list(&columns, "", |column| format!(", {column}"))
            ),
            // In the column order of the table.
            replace: format!(
                "INSERT OR REPLACE INTO {name} VALUES ({})",
                places.join(", ")
            ),
            delete: format!("DELETE FROM {name} WHERE _group = ?"),
        }
    }
}

impl Measured {
    fn column(&self) -> Option<usize> {
        match self {
            Self::Count => None,
            Self::Sum { column, .. } | Self::Extreme { column, .. } => Some(*column),
        }
    }
}

impl Changes {
    /// Returns no changes. `by` are the indexes of the columns that make a group.
    pub(super) fn new(total: &Total, by: Vec<usize>, measures: Vec<Measured>) -> Self {
        Self {
            statements: Statements::new(total),
            by,
            measures,
            groups: HashMap::new(),
        }
    }

    /// Returns the indexes of the columns that this table uses.
    pub(super) fn column_indexes(&self) -> impl Iterator<Item = usize> {
        let measured = self.measures.iter().filter_map(Measured::column);
        self.by.iter().copied().chain(measured)
    }

    /// Adds a row to its group, or removes it. Returns the approximate bytes of memory that this takes.
    pub(super) fn add(&mut self, row: &[ValueRef<'_>], sign: i64) -> Result<usize> {
        let name = name_of(self.by.iter().map(|column| row[*column]))?;
        let mut held = 0;
        let group = match self.groups.entry(name) {
            Entry::Occupied(group) => group.into_mut(),
            Entry::Vacant(place) => {
                held = 200 + 3 * place.key().len() + 100 * self.measures.len();
                let by = self.by.iter().map(|column| Value::try_from(row[*column]));
                let by = by.collect::<std::result::Result<_, _>>();
                place.insert(Group {
                    by: by.map_err(|_| unreadable())?,
                    rows: 0,
                    measures: vec![Change::default(); self.measures.len()],
                })
            }
        };
        group.rows += sign;
        for (measured, change) in self.measures.iter().zip(&mut group.measures) {
            match measured {
                Measured::Count => {}
                Measured::Sum { column, .. } => {
                    let value = sum_of(row[*column])?;
                    change.sum += if sign < 0 { -value } else { value };
                }
                Measured::Extreme {
                    column,
                    kind,
                    is_least,
                    ..
                } => {
                    let value = extreme_of(*kind, row[*column])?;
                    let best = if sign < 0 {
                        &mut change.removed
                    } else {
                        &mut change.added
                    };
                    *best = best_of(best.take(), value, *is_least);
                }
            }
        }
        Ok(held)
    }

    pub(super) fn write(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        let prepare = |sql: &str| transaction.prepare_cached(sql);
        let mut select = prepare(&self.statements.select)?;
        let mut replace = prepare(&self.statements.replace)?;
        let mut delete = prepare(&self.statements.delete)?;
        let mut groups: Vec<_> = self.groups.drain().collect();
        groups.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (name, group) in groups {
            let name = Value::Text(String::from_utf8_lossy(&name).into_owned());
            let stored = select
                .query_row([&name], |row| {
                    let measures = 0..self.measures.len();
                    let measures = measures.map(|index| row.get(index + 1));
                    let measures = measures.collect::<rusqlite::Result<Vec<Value>>>()?;
                    Ok((row.get::<_, i64>(0)?, measures))
                })
                .optional()?;
            let none = || (0, vec![Value::Null; self.measures.len()]);
            let (rows, stored) = stored.unwrap_or_else(none);
            let rows = rows + group.rows;
            debug_assert!(rows >= 0, "a group loses only rows that it has");
            if rows <= 0 {
                delete.execute([&name])?;
                continue;
            }
            let mut values = group.by.clone();
            for ((measured, change), stored) in
                self.measures.iter().zip(group.measures).zip(&stored)
            {
                let stored = ValueRef::from(stored);
                values.push(measured.changed(transaction, change, stored, rows, &group.by)?);
            }
            values.extend([Value::Integer(rows), name]);
            replace.execute(params_from_iter(values))?;
        }
        Ok(())
    }
}

impl Measured {
    fn changed(
        &self,
        transaction: &Transaction<'_>,
        change: Change,
        stored: ValueRef<'_>,
        rows: i64,
        by: &[Value],
    ) -> Result<Value> {
        match self {
            Self::Count => Ok(Value::Integer(rows)),
            Self::Sum { kind, .. } => {
                let sum = sum_of(stored)? + change.sum;
                Ok(match sum.to_i64() {
                    Some(sum) if *kind == FieldType::Integer => Value::Integer(sum),
                    _ => Value::Text(sum.normalized().to_plain_string()),
                })
            }
            Self::Extreme {
                kind,
                is_least,
                select,
                ..
            } => {
                let Change { added, removed, .. } = change;
                let stored = extreme_of(*kind, stored)?;
                let mut best = best_of(stored.clone(), removed.clone(), *is_least);
                if removed.is_none() || best != removed {
                    best = best_of(stored, added, *is_least);
                } else {
                    // The extreme itself has left: the remaining rows have the next one.
                    let mut select = transaction.prepare_cached(select)?;
                    let mut found = select.query(params_from_iter(by))?;
                    best = None;
                    while let Some(row) = found.next()? {
                        let value = extreme_of(*kind, row.get_ref(0)?)?;
                        best = best_of(best, value, *is_least);
                    }
                }
                Ok(best.map_or(Value::Null, bound))
            }
        }
    }
}

/// Reads a value of a column of this type; none if it is null.
fn extreme_of(kind: FieldType, stored: ValueRef<'_>) -> Result<Option<Extreme>> {
    let kind = match kind {
        FieldType::Date | FieldType::Timestamp => FieldType::Text,
        other => other,
    };
    let extreme = value(kind, stored).map_err(|_| unreadable())?;
    Ok(Some(extreme).filter(|extreme| !extreme.is_null()))
}

/// Returns the lesser or greater of two values of a column.
fn best_of(one: Option<Extreme>, other: Option<Extreme>, is_least: bool) -> Option<Extreme> {
    let (Some(first), Some(second)) = (&one, &other) else {
        return one.or(other);
    };
    if first.cmp_key(second).is_lt() == is_least {
        one
    } else {
        other
    }
}

/// A column of the rows or of the totals holds a value that Landfall does not write.
fn unreadable() -> StoreError {
    unavailable("a value that totals use cannot be read")
}

fn sum_of(value: ValueRef<'_>) -> Result<BigDecimal> {
    match value {
        ValueRef::Null => Ok(BigDecimal::default()),
        ValueRef::Integer(number) => Ok(number.into()),
        other => {
            let sum = other.as_str().ok().and_then(|text| text.parse().ok());
            sum.ok_or_else(unreadable)
        }
    }
}

/// Returns the name of a group: its values as a JSON array.
fn name_of<'a>(values: impl Iterator<Item = ValueRef<'a>>) -> Result<Vec<u8>> {
    let mut name = vec![b'['];
    for value in values {
        if name.len() > 1 {
            name.push(b',');
        }
        let written = match value {
            ValueRef::Null => serde_json::to_writer(&mut name, &()),
            ValueRef::Integer(number) => serde_json::to_writer(&mut name, &number),
            other => serde_json::to_writer(&mut name, other.as_str().map_err(|_| unreadable())?),
        };
        written.map_err(|_| unreadable())?;
    }
    name.push(b']');
    Ok(name)
}
