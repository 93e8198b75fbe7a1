//! The records of a sample as a table of cells.

use landfall_domain::Format;

use super::sample::SampleText;
use super::{Setting, dialect, extent, header};
use crate::csv::records::{Quotes, Records};

/// The most rows that are looked at. Later ones are left out.
const MAX_ROWS: usize = 400_000;

/// The most columns that become fields.
pub(super) const MAX_COLUMNS: usize = 500;

/// A cell: its text, JSON, or nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// A JSON null, or a property that a record does not have.
    Null,
    /// A cell of delimited text, or a JSON string.
    Text(String),
    /// Any other JSON value.
    Json(serde_json::Value),
}

/// The records of a sample.
#[derive(Default)]
pub(super) struct Table {
    /// The columns, with what a definition calls them.
    pub(super) columns: Vec<Column>,
    /// The rows, each with a cell per column.
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) settings: Vec<Setting>,
    pub(super) notes: Vec<String>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// By its name, whatever the case.
    Named(String),
    /// By exactly this name.
    Property(String),
    /// Its name, which may be empty, says nothing, so its number, from 1, is used.
    Position(u32, String),
}

/// A record of delimited text.
pub(super) type Record = Vec<String>;

impl Table {
    /// Reads delimited text.
    pub(super) fn of_delimited(text: &SampleText, format: Format) -> Self {
        let first = text.parts.first().map_or("", String::as_str);
        let found = dialect::find(first, format);
        let mut table = Self {
            settings: found.settings(format),
            ..Self::default()
        };
        let mut records = Vec::new();
        for (index, part) in text.parts.iter().enumerate() {
            let body = if index == 0 {
                found.body(part)
            } else {
                part.as_str()
            };
            records.extend(read(body, &found.dialect).filter(|record| {
                // Parts that start inside of a quoted cell begin with records of other lengths.
                index == 0 || record.len() == found.cells + usize::from(found.has_surplus)
            }));
            if records.len() > MAX_ROWS {
                records.truncate(MAX_ROWS);
                table
                    .notes
                    .push(format!("only the first {MAX_ROWS} rows were looked at"));
                break;
            }
        }
        if found.has_surplus {
            let surplus = |record: &&mut Record| {
                record.len() == found.cells + 1 && record.last().is_some_and(String::is_empty)
            };
            records.iter_mut().filter(surplus).for_each(|record| {
                record.pop();
            });
        }
        let other = records.iter().filter(|it| it.len() != found.cells).count();
        header::take(&mut table, &mut records, found.cells);
        if other > 0 {
            table.notes.push(format!(
                "{other} records have another number of cells than {}: they are rejects, unless csv.flexible helps",
                found.cells
            ));
        }
        if table.columns.len() > MAX_COLUMNS {
            table.columns.truncate(MAX_COLUMNS);
            table.notes.push(format!(
                "only the first {MAX_COLUMNS} columns are fields; the others are kept in _extra"
            ));
        }
        table.notes.extend(extent::cut(&mut records, found.cells));
        let regular = records.into_iter().filter(|it| it.len() == found.cells);
        table.rows = regular
            .map(|record| {
                record
                    .into_iter()
                    .take(MAX_COLUMNS)
                    .map(Cell::Text)
                    .collect()
            })
            .collect();
        table
    }
}

/// Reads all records that are not blank.
pub(super) fn read<'t>(
    text: &'t str,
    dialect: &'t crate::csv::dialect::Dialect,
) -> impl Iterator<Item = Record> + 't {
    let mut records = Records::new(text.as_bytes(), dialect);
    let mut block: std::vec::IntoIter<Record> = Vec::new().into_iter();
    std::iter::from_fn(move || {
        loop {
            if let Some(record) = block.next() {
                return Some(record);
            }
            let next = records.next_block()?;
            let read = next.records.iter().filter_map(|record| {
                let cells = next.cells(record)?;
                let is_row = record.quotes == Quotes::Correct && !cells.are_blank();
                is_row.then(|| cells.iter().map(str::to_owned).collect())
            });
            block = read.collect::<Vec<_>>().into_iter();
        }
    })
}
