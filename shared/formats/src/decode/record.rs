//! Records of rejects of CSV and TSV: the cells of a record by name, as a JSON object.
//!
//! A cell is a string, with the text that it has in the file, so that the settings of its field still apply when the
//! record is fixed and handed in again. It is JSON only where the cell of a `json` field holds an object or an array.

use std::collections::HashSet;

use landfall_domain::{Dataset, Field, FieldType, Record, UnknownColumns};
use serde::de::IgnoredAny;

use super::json::{has_exact_numbers, push_property};
use crate::csv::header::Header;
use crate::csv::records::Cells;
use crate::position::nameless;

/// The names of the columns in records of rejects: those by which JSON is matched to fields.
pub(super) struct Names<'d> {
    dataset: &'d Dataset,
    columns: Vec<Option<Column<'d>>>,
    /// Whether a record may have more cells than there are columns.
    is_open: bool,
}

struct Column<'d> {
    name: String,
    /// Its field, if it has one.
    field: Option<&'d Field>,
    /// Whether a cell counts only if it has a value.
    is_nameless: bool,
}

impl<'d> Names<'d> {
    pub(super) fn new(dataset: &'d Dataset, header: &Header) -> Self {
        let mut columns: Vec<Option<Column<'d>>> = Vec::new();
        columns.resize_with(header.columns.len(), || None);
        let named = |name: String, field| Column {
            name,
            field,
            is_nameless: false,
        };
        for (field, index) in dataset.fields.iter().zip(&header.fields) {
            if let Some(index) = *index {
                columns[index] = Some(named(field.column.clone(), Some(field)));
            }
        }
        if let (Some(operation), Some(index)) = (&dataset.operation, header.operation) {
            columns[index].get_or_insert_with(|| named(operation.column.clone(), None));
        }
        let fields = dataset.fields.iter().map(|field| field.column.clone());
        let operation = dataset.operation.iter();
        let operation = operation.map(|operation| operation.column.clone());
        let mut taken: HashSet<String> = fields.chain(operation).collect();
        let mut unique = |base: String| {
            let mut name = base.clone();
            let mut number = 1;
            while !taken.insert(name.clone()) {
                number += 1;
                name = format!("{base}_{number}");
            }
            name
        };
        for unknown in &header.unknown {
            let name = serde_json::from_str(&unknown.json_name).unwrap_or_default();
            columns[unknown.index] = Some(Column {
                name: unique(name),
                field: None,
                is_nameless: !unknown.is_named,
            });
        }
        if dataset.unknown_columns == UnknownColumns::Drop {
            // A later definition may have fields for them.
            let dropped = columns.iter_mut().zip(&header.columns);
            for (column, name) in dropped.filter(|(_, name)| !name.trim().is_empty()) {
                column.get_or_insert_with(|| named(unique(name.clone()), None));
            }
        }
        Self {
            dataset,
            columns,
            is_open: header.is_open,
        }
    }

    /// Returns the record with these cells. With `quoted_empty`, empty cells without quotes are null in text fields.
    pub(super) fn record(&self, cells: Cells<'_>, quoted_empty: bool) -> Option<Record> {
        let mut record = String::new();
        for (index, column) in self.columns.iter().enumerate().take(cells.len()) {
            let Some(column) = column else {
                continue;
            };
            let cell = cells.get(index);
            if cell.is_empty() && column.is_nameless {
                continue;
            }
            let is_null = |field: &Field| {
                field.kind == FieldType::Text && field.is_null("") && !cells.is_quoted_empty(index)
            };
            match column.field {
                Some(field) if quoted_empty && cell.is_empty() && is_null(field) => {
                    push_property(&mut record, &column.name, "null");
                }
                Some(field) if field.kind == FieldType::Json && is_nested_json(cell) => {
                    push_property(&mut record, &column.name, cell);
                }
                _ => push_property(&mut record, &column.name, &string(cell)),
            }
        }
        let surplus = self.columns.len()..cells.len();
        for index in surplus.filter(|index| self.is_open && !cells.get(*index).is_empty()) {
            let name = nameless(self.dataset, index);
            push_property(&mut record, &name, &string(cells.get(index)));
        }
        let start = if record.is_empty() { "{" } else { "" };
        Record::new(format!("{start}{record}}}"))
    }
}

fn string(cell: &str) -> String {
    serde_json::Value::from(cell).to_string()
}

/// Returns whether a cell holds an object or array that can be a part of the record: one on a single line, without
/// numbers that a float would change.
fn is_nested_json(cell: &str) -> bool {
    cell.trim_start().starts_with(['{', '['])
        && !cell.contains(['\n', '\r'])
        && has_exact_numbers(cell)
        && serde_json::from_str::<IgnoredAny>(cell).is_ok()
}
