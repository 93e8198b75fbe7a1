//! Where the rows of a table end: before notes below it, or before another table.
//!
//! What follows is not a part of the table, so it says nothing about the types of the columns. It is read nevertheless:
//! the functions reject what does not fit.

use landfall_domain::excerpt;

use super::header;
use super::table::Record;

/// The most records below a table that are notes.
const MAX_NOTES: usize = 10;
/// The fewest rows of a table before another one.
const FEWEST_ROWS: usize = 5;

/// Removes the records after the rows of the table. Returns why, for people.
pub(super) fn cut(records: &mut Vec<Record>, cells: usize) -> Option<String> {
    if let Some(end) = other_table(records, cells) {
        let note = format!(
            "{:?} looks like the header of another table, so only the rows before it were looked at: split the file",
            excerpt(&records[end].join(","))
        );
        records.truncate(end);
        return Some(note);
    }
    let notes = notes(records, cells);
    records.truncate(records.len() - notes);
    (notes > 0).then(|| {
        format!(
            "the last {notes} records are mostly empty, like notes or totals below a table, so they were not looked at"
        )
    })
}

/// Returns the index of a record in the middle that looks like a header.
fn other_table(records: &[Record], cells: usize) -> Option<usize> {
    let values = header::values(records, cells);
    let later = records.iter().enumerate().skip(FEWEST_ROWS);
    // Looking for a word first is faster.
    let mut later = later.filter(|(_, record)| {
        let mut columns = record.iter().zip(&values);
        columns.any(|(cell, has_values)| *has_values && cell.starts_with(char::is_alphabetic))
    });
    let found = later.find(|(_, record)| header::is_header(record, &values));
    found.map(|(index, _)| index)
}

/// Returns how many records at the end are mostly empty, if hardly any other one is.
fn notes(records: &[Record], cells: usize) -> usize {
    let is_sparse = |record: &&Record| {
        let filled = record.iter().filter(|cell| !cell.trim().is_empty()).count();
        cells > 2 && record.len() == cells && filled * 2 <= cells
    };
    let notes = records.iter().rev().take_while(is_sparse).count();
    let rows = &records[..records.len() - notes];
    let others = rows.iter().filter(is_sparse).count();
    let is_unusual = notes <= MAX_NOTES && rows.len() > MAX_NOTES && others * 100 <= rows.len();
    if is_unusual { notes } else { 0 }
}
