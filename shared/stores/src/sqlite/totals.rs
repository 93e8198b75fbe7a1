//! Tables of totals: a transaction's changes are added up in memory and written before its commit.
//!
//! They are written in the order of the groups. Sums are exact beyond 64 bits.

use landfall_domain::{FieldType, Measure, Total};
use rusqlite::types::ValueRef;
use rusqlite::{Row, Transaction};

use super::changes::{Changes, Measured};
use super::table::quote;
use super::values::type_of;
use crate::error::Result;
use crate::registry::Registered;
use crate::schema::list;
use crate::sql::totals::extremes;

/// Approximate bytes of groups in memory above which they are written.
const HELD_BYTES: usize = 8 << 20;

/// The totals of a dataset, and their changes that are not written yet.
pub(super) struct Totals {
    columns: Vec<String>,
    tables: Vec<Changes>,
    held: usize,
}

pub(super) fn make(
    transaction: &Transaction<'_>,
    table: &str,
    registered: &Registered,
    total: &Total,
) -> Result<()> {
    let kind_of = |field: &str| registered.kind_of(field);
    let by = list(&total.by, "", |name| {
        format!("{} {}, ", quote(name), type_of(kind_of(name)))
    });
    let measures = list(&total.columns, "", |column| {
        let sql_type = match &column.measure {
            Measure::Count => "INTEGER NOT NULL",
            // Text if 64 bits cannot hold it.
            Measure::Sum(field) if kind_of(field) == FieldType::Integer => "ANY NOT NULL",
            Measure::Sum(_) => "TEXT NOT NULL",
            Measure::Min(field) | Measure::Max(field) => type_of(kind_of(field)),
        };
        format!("{} {sql_type}, ", quote(&column.name))
    });
    let create = format!(
        "CREATE TABLE {} ({by}{measures}_rows INTEGER NOT NULL, _group TEXT PRIMARY KEY) \
         STRICT, WITHOUT ROWID;",
        quote(&total.name)
    );
    transaction.execute_batch(&create)?;
    for (_, _, field) in extremes(total) {
        let columns = total.by.iter().map(String::as_str);
        let columns = columns.filter(|name| *name != field).chain([field]);
        let create = format!(
            "CREATE INDEX IF NOT EXISTS {} ON {} ({})",
            index(total, field),
            quote(table),
            list(columns, ", ", quote)
        );
        transaction.execute_batch(&create)?;
    }
    let only = Registered {
        totals: vec![total.clone()],
        ..registered.clone()
    };
    let mut totals = Totals::new(table, &only);
    let select = format!("SELECT 0{} FROM {}", totals.select(), quote(table));
    let mut select = transaction.prepare(&select)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let new = totals.values_for_totals(row, 1)?;
        totals.change(None, Some(&new))?;
        totals.write_if_many(transaction)?;
    }
    totals.write(transaction)
}

/// Drops the tables of these totals if they exist.
pub(super) fn drop_tables(transaction: &Transaction<'_>, totals: &[Total]) -> Result<()> {
    for total in totals {
        let drop = format!("DROP TABLE IF EXISTS {}", quote(&total.name));
        transaction.execute_batch(&drop)?;
        for (_, _, field) in extremes(total) {
            let drop = format!("DROP INDEX IF EXISTS {}", index(total, field));
            transaction.execute_batch(&drop)?;
        }
    }
    Ok(())
}

/// Returns the name of the index of a group's extremes. No table has such a name.
fn index(total: &Total, field: &str) -> String {
    quote(format!("_{}_{field}", total.name))
}

impl Totals {
    pub(super) fn new(table: &str, registered: &Registered) -> Self {
        let mut columns: Vec<String> = Vec::new();
        let mut place = |name: &str| {
            let known = columns.iter().position(|column| column == name);
            known.unwrap_or_else(|| {
                columns.push(name.to_owned());
                columns.len() - 1
            })
        };
        let mut tables = Vec::new();
        for total in &registered.totals {
            let group = list(&total.by, "", |name| format!("{} IS ? AND ", quote(name)));
            let mut measured = |measure: &Measure| {
                let mut extreme = |field: &str, is_least| {
                    let kind = registered.kind_of(field);
                    let order = if is_least { "" } else { " DESC" };
                    // Decimals are text, which does not sort as they do.
                    let (distinct, end) = if kind == FieldType::Decimal {
                        ("DISTINCT ", String::new())
                    } else {
                        ("", format!(" ORDER BY 1{order} LIMIT 1"))
                    };
                    let field = (place(field), quote(field));
                    Measured::Extreme {
                        column: field.0,
                        kind,
                        is_least,
                        select: format!(
                            "SELECT {distinct}{0} FROM {1} WHERE {group}{0} IS NOT NULL{end}",
                            field.1,
                            quote(table)
                        ),
                    }
                };
                match measure {
                    Measure::Count => Measured::Count,
                    Measure::Min(field) => extreme(field, true),
                    Measure::Max(field) => extreme(field, false),
                    Measure::Sum(field) => Measured::Sum {
                        column: place(field),
                        kind: registered.kind_of(field),
                    },
                }
            };
            let measures = total.columns.iter().map(|column| measured(&column.measure));
            let measures = measures.collect();
            let by = total.by.iter().map(|name| place(name)).collect();
            tables.push(Changes::new(total, by, measures));
        }
        Self {
            columns,
            tables,
            held: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns the columns that totals use, each after a comma, for the list of a `SELECT`.
    pub(super) fn select(&self) -> String {
        list(&self.columns, "", |name| format!(", {}", quote(name)))
    }

    /// Returns the values of those columns, which start at this position of a result.
    pub(super) fn values_for_totals<'a>(
        &self,
        row: &'a Row<'_>,
        first: usize,
    ) -> rusqlite::Result<Vec<ValueRef<'a>>> {
        (0..self.columns.len())
            .map(|column| row.get_ref(first + column))
            .collect()
    }

    /// Adds a change: the values of [`Totals::columns`] before and after.
    pub(super) fn change(
        &mut self,
        old: Option<&[ValueRef<'_>]>,
        new: Option<&[ValueRef<'_>]>,
    ) -> Result<()> {
        for table in &mut self.tables {
            if let (Some(old), Some(new)) = (old, new)
                && table
                    .column_indexes()
                    .all(|column| old[column] == new[column])
            {
                continue;
            }
            for (row, sign) in [(old, -1), (new, 1)] {
                if let Some(row) = row {
                    self.held += table.add(row, sign)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the changes if many are in memory. The rows must be written before.
    pub(super) fn write_if_many(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        if self.held > HELD_BYTES {
            self.write(transaction)?;
        }
        Ok(())
    }

    /// Writes the changes. The rows must be written before.
    pub(super) fn write(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        for table in &mut self.tables {
            table.write(transaction)?;
        }
        self.held = 0;
        Ok(())
    }
}
