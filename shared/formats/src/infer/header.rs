//! Decides whether the first record names the columns.

use std::collections::HashSet;

use landfall_domain::FieldType;

use super::Setting;
use super::kinds::{Kinds, Seen};
use super::table::{Column, Record, Table};

/// The number of rows that are compared with the first record.
const COMPARED: usize = 1_000;

/// Takes the header from the records, and adds the columns to the table.
pub(super) fn take(table: &mut Table, records: &mut Vec<Record>, cells: usize) {
    let Some(first) = records.first() else {
        return;
    };
    let rows = &records[1..records.len().min(COMPARED + 1)];
    if let Err(reason) = check(first, rows, cells) {
        let note = format!("the first record is a row: {reason}");
        table
            .settings
            .push(Setting::new("csv.header", "false", note));
        table.columns = (1..).take(cells).map(Column::Position).collect();
        return;
    }
    let mut header = records.remove(0);
    // Files that were joined repeat it.
    records.retain(|record| *record != header);
    header.resize(cells, String::new());
    let folded = |name: &str| name.trim().to_lowercase();
    let all: Vec<String> = header.iter().map(|name| folded(name)).collect();
    table.columns = header
        .iter()
        .zip(1..)
        .map(|(name, position)| {
            let folded = folded(name);
            let is_only = all.iter().filter(|other| **other == folded).count() == 1;
            if is_only && !folded.is_empty() {
                Column::Named(name.clone())
            } else {
                Column::Position(position)
            }
        })
        .collect();
    if table
        .columns
        .iter()
        .any(|column| matches!(column, Column::Position(_)))
    {
        table.notes.push(
            "some columns have no name, or that of another; they are found by their position"
                .to_owned(),
        );
    }
}

/// Returns why a record is no header.
fn check(first: &Record, rows: &[Record], cells: usize) -> Result<(), String> {
    let named = first.iter().filter(|name| !name.trim().is_empty());
    let names: HashSet<&str> = named.clone().map(|name| name.trim()).collect();
    if names.is_empty() || first.len() > cells {
        return Err("it does not fit the others".to_owned());
    }
    if let Some(value) = named.clone().find(|name| is_value(name)) {
        return Err(format!("{value:?} is no name"));
    }
    if rows.is_empty() {
        return Ok(());
    }
    // The value of a single column may be repeated, and so may a whole header.
    if cells == 1 || rows.contains(first) {
        return Ok(());
    }
    let is_repeated = |column: usize, name: &String| {
        !name.trim().is_empty() && rows.iter().any(|row| row.get(column) == Some(name))
    };
    let mut columns = first.iter().enumerate();
    match columns.find(|(column, name)| is_repeated(*column, name)) {
        Some((_, name)) => Err(format!("{name:?} is a value of other rows, too")),
        None => Ok(()),
    }
}

/// Returns whether a text is a number, a date or a time, but not a year, which may name a column, as may `y` and `n`.
fn is_value(text: &str) -> bool {
    let text = text.trim();
    let is_year = text.len() == 4 && text.starts_with(['1', '2']) && text.parse::<u16>().is_ok();
    if is_year {
        return false;
    }
    let mut seen = Seen::default();
    seen.add(Kinds::get(), text);
    let mut kinds = seen.kinds(Kinds::get()).into_iter();
    kinds.any(|kind| kind.field.kind != FieldType::Boolean)
}
