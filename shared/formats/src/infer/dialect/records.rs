//! The records of a text under a dialect, and what surrounds the table.

use std::collections::BTreeMap;

use crate::csv::dialect::Dialect;
use crate::csv::records::{Quotes, Records};

/// The most records that are tried.
const TRIED_RECORDS: usize = 2_000;
/// The most records before the header.
const MAX_PREAMBLE: usize = 50;

/// The records of a text under a dialect.
pub(super) struct Read {
    pub(super) records: Vec<ReadRecord>,
}

pub(super) struct ReadRecord {
    /// Where it starts, in bytes.
    pub(super) start: usize,
    pub(super) cells: usize,
    /// The number of cells that look like something.
    pub(super) known: usize,
    /// The number of cells that look like numbers, dates or times.
    values: usize,
    /// Whether something is wrong with its quotes.
    pub(super) is_faulty: bool,
    /// Whether its last cell is empty.
    ends_empty: bool,
    /// The number of its cells that are not empty.
    filled: usize,
    /// Whether it may be a title above the table: words in the first of several cells, or nothing.
    is_title: bool,
}

impl Read {
    /// Reads the records that are not blank.
    pub(super) fn new(text: &str, dialect: &Dialect) -> Self {
        let mut all = Records::new(text.as_bytes(), dialect);
        let mut read = Self {
            records: Vec::new(),
        };
        while read.records.len() < TRIED_RECORDS
            && let Some(block) = all.next_block()
        {
            for record in block.records {
                let Some(cells) = block.cells(record) else {
                    continue;
                };
                if cells.are_blank() && cells.len() == 1 {
                    continue;
                }
                let known = cells.iter().filter(|cell| is_known(cell)).count();
                let values = cells.iter().filter(|cell| starts_as_value(cell)).count();
                let filled = cells.iter().filter(|cell| !cell.is_empty()).count();
                let first = cells.get_or_empty(0);
                let is_word = first.is_empty() || first.chars().any(char::is_alphabetic);
                let is_rest_empty = filled == usize::from(!first.is_empty());
                read.records.push(ReadRecord {
                    filled,
                    is_title: cells.len() > 2 && is_word && is_rest_empty,
                    start: record.start,
                    cells: cells.len(),
                    known,
                    values,
                    is_faulty: record.quotes != Quotes::Correct,
                    ends_empty: cells.iter().last().is_some_and(str::is_empty),
                });
            }
        }
        read
    }

    /// Returns the length of the first line if a wrong quote in it makes it one record with others, else zero.
    pub(super) fn broken_line(&self, text: &str) -> usize {
        let [first, second, ..] = &self.records[..] else {
            return 0;
        };
        let record = &text[first.start..second.start];
        let line = record.find('\n').map_or(record.len(), |end| end + 1);
        if first.is_faulty && line < record.len() {
            first.start + line
        } else {
            0
        }
    }

    /// Returns the number of cells that most records have; of equally many, the greatest.
    pub(super) fn usual_cells(&self) -> Option<usize> {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for record in &self.records {
            *counts.entry(record.cells).or_default() += 1;
        }
        let most = counts
            .into_iter()
            .max_by_key(|(cells, count)| (*count, *cells));
        most.map(|(cells, _)| cells)
    }

    /// Returns whether the first record lacks the last cell of the others, which is always empty.
    pub(super) fn has_surplus(&self, cells: usize) -> bool {
        let Some((header, rows)) = self.records.split_first() else {
            return false;
        };
        let mut usual = rows.iter().filter(|row| row.cells == cells);
        header.cells > 1
            && header.cells + 1 == cells
            && !header.ends_empty
            && usual.all(|row| row.ends_empty)
    }

    /// Returns the number of records before the first one of two with the usual number of cells, or before a header
    /// whose first row is broken.
    pub(super) fn preamble(&self, cells: usize) -> usize {
        if cells < 2 {
            return 0;
        }
        let is_usual = |index: usize| {
            let record = self.records.get(index);
            record.is_none_or(|record| record.cells == cells)
        };
        let most = self.records.len().min(MAX_PREAMBLE);
        let is_first = |index: usize| {
            is_usual(index) && (is_usual(index + 1) || self.is_header_of_others(index, cells))
        };
        let first = (0..most).find(|index| is_first(*index));
        let first = first.unwrap_or(0);
        // Spreadsheets give a title as many cells as the table. A header without gaps follows it.
        let rest = &self.records[first..];
        let titles = rest.iter().take_while(|record| record.is_title).count();
        match rest.get(titles) {
            Some(header) if header.filled == cells => first + titles,
            _ => first,
        }
    }

    /// Returns whether a record names the columns of those after the next one: words in all of its cells.
    fn is_header_of_others(&self, index: usize, cells: usize) -> bool {
        let Some([header, _, rows @ ..]) = self.records.get(index..) else {
            return false;
        };
        // A line above the table may have two words by chance.
        let are_rows = |row: &ReadRecord| row.cells == cells && (cells > 2 || row.values > 0);
        let has_names = header.filled == cells && header.values == 0;
        has_names && rows.len() > 1 && rows.iter().take(2).all(are_rows)
    }
}

/// Returns whether a cell starts like a number, a date or a time.
fn starts_as_value(cell: &str) -> bool {
    let cell = cell.trim_start_matches([' ', '+', '-', '.', '(', '$', '€', '£']);
    cell.starts_with(|char: char| char.is_ascii_digit())
}

/// Returns whether a cell looks like something people write into tables.
fn is_known(cell: &str) -> bool {
    let cell = cell.trim();
    if cell.is_empty() {
        return true;
    }
    let is_in = |quote| cell.len() > 1 && cell.starts_with(quote) && cell.ends_with(quote);
    if is_in('"') || is_in('\'') {
        // These are more likely the quotes of the cell.
        return false;
    }
    let is_plain = |char: char| char.is_alphanumeric() || char == '_';
    let is_number = |char: char| char.is_ascii_digit() || "+-.,:/%eETZ() $€£'\u{a0}".contains(char);
    // Numbers, dates and times.
    if cell.starts_with(|char: char| is_number(char) || char.is_ascii_digit())
        && cell.chars().all(is_number)
    {
        return true;
    }
    // Addresses, paths and JSON.
    if cell.contains("://") || (cell.contains('@') && !cell.contains(' ')) {
        return !cell.contains([',', ';', '|', '\t']);
    }
    if serde_json::from_str::<serde::de::IgnoredAny>(cell).is_ok() {
        return true;
    }
    // Words, with the punctuation of sentences.
    cell.chars()
        .all(|char| is_plain(char) || " .-&()!?'’+/\u{a0}".contains(char))
        && cell.chars().any(is_plain)
}
