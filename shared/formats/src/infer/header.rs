//! Decides which records name the columns.

use std::collections::HashSet;

use landfall_domain::FieldType;

use super::Setting;
use super::kinds::{Kinds, NULLS, Seen};
use super::table::{Column, Record, Table};
use crate::csv::header::join_names;

/// The number of rows that are compared with the first record.
const COMPARED: usize = 1_000;
/// The most records of a header.
const MAX_LINES: usize = 3;
/// The rows that show which columns have values, such as numbers and dates.
const TYPED_BY: usize = 20;

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
        let position = |number| Column::Position(number, String::new());
        table.columns = (1..).take(cells).map(position).collect();
        return;
    }
    let lines = lines(records, cells);
    if lines > 1 {
        let note = "none of these lines has a value where the rows have numbers or times";
        let setting = Setting::new("csv.header_lines", lines.to_string(), note);
        table.settings.push(setting);
    }
    let header: Vec<Record> = records.drain(..lines).collect();
    // Files that were joined repeat it.
    records.retain(|record| !header.contains(record));
    let mut names = Vec::new();
    for line in &header {
        join_names(&mut names, line.iter().map(String::as_str));
    }
    names.resize(cells, String::new());
    let folded = |name: &str| name.trim().to_lowercase();
    let all: Vec<String> = names.iter().map(|name| folded(name)).collect();
    let column = |(name, position): (String, u32)| {
        let folded = folded(&name);
        let is_only = all.iter().filter(|other| **other == folded).count() == 1;
        if is_only && !folded.is_empty() {
            Column::Named(name)
        } else {
            Column::Position(position, name)
        }
    };
    table.columns = names.into_iter().zip(1..).map(column).collect();
    if table
        .columns
        .iter()
        .any(|column| matches!(column, Column::Position(..)))
    {
        table.notes.push(
            "some columns have no name, or that of another; they are found by their position"
                .to_owned(),
        );
    }
}

/// Returns how many records name the columns, of which the first one does.
fn lines(records: &[Record], cells: usize) -> usize {
    let are_names = |count: &usize| {
        let Some(([first, more @ ..], rows)) = records.split_at_checked(*count) else {
            return false;
        };
        let values = values(rows, cells);
        let is_other = |(column, name): (usize, &String)| {
            let mut rows = rows.iter().take(COMPARED);
            name.is_empty() || rows.all(|row| row.get(column) != Some(name))
        };
        // A record that repeats the first one says nothing more.
        more.iter().all(|record| {
            record != first && is_header(record, &values) && record.iter().enumerate().all(is_other)
        })
    };
    (2..=MAX_LINES).rev().find(are_names).unwrap_or(1)
}

/// Returns in which columns the first rows have nothing but numbers, dates and times.
pub(super) fn values(rows: &[Record], cells: usize) -> Vec<bool> {
    let rows = rows.iter().filter(|row| row.len() == cells).take(TYPED_BY);
    let rows: Vec<_> = rows.collect();
    let is_column_of_values = |column: usize| {
        let cells = rows.iter().map(|row| row[column].trim());
        let cells = cells.filter(|cell| !is_no_value(cell));
        let cells: Vec<_> = cells.collect();
        cells.len() > 2 && cells.iter().all(|cell| is_value(cell))
    };
    (0..cells).map(is_column_of_values).collect()
}

/// Returns whether a record has words, all different, in most of the columns that otherwise have values, and values in
/// none of them. One word is not enough: it may stand for a value that is missing.
pub(super) fn is_header(record: &Record, values: &[bool]) -> bool {
    if record.len() != values.len() {
        return false;
    }
    let columns = record
        .iter()
        .zip(values)
        .filter(|(_, has_values)| **has_values);
    let columns: Vec<_> = columns.map(|(cell, _)| cell.trim()).collect();
    let words = columns.iter().filter(|cell| !is_no_value(cell));
    let different: HashSet<_> = words.clone().collect();
    let count = words.clone().count();
    let is_word = |cell: &&str| cell.contains(char::is_alphabetic) && !is_value(cell);
    count > 1
        && different.len() == count
        && count * 2 >= columns.len()
        && words.copied().all(|cell| is_word(&cell))
}

/// Returns whether a cell is empty, or may stand for null.
fn is_no_value(cell: &str) -> bool {
    cell.is_empty() || NULLS.contains(&cell)
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
