//! The key of an inferred definition: fields whose values identify a row.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use landfall_domain::FieldType;

use super::fields::InferredField;
use super::table::{Cell, Table};
use super::write;

/// The columns of which pairs and triples are tried.
const COMBINED: usize = 12;
/// The candidates that a note names.
const NAMED: usize = 3;

/// The key of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Names of the fields. Empty if no fields clearly identify a row: then their place in the file does.
    pub fields: Vec<String>,
    /// Why these, and what else could be.
    pub note: String,
}

/// Finds the key: fields that are unique, and whose names say that they are meant to be. Values that merely happen to
/// be unique would make rows of later files replace each other.
pub(super) fn of_table(table: &Table, fields: &[InferredField]) -> Key {
    let rows = table.rows.len();
    let likelihood = |index: &usize| likelihood(&fields[*index], *index);
    let candidates: Vec<usize> = (0..fields.len())
        .filter(|index| can_be_key(&fields[*index], rows))
        .filter(|index| likelihood(index) != Likelihood::Measure)
        .collect();
    let mut unique: Vec<usize> = candidates
        .iter()
        .copied()
        .filter(|index| are_unique(table, &[*index]))
        .collect();
    unique.sort_by_key(|index| (likelihood(index), *index));
    let name = |index: &usize| fields[*index].name.clone();
    let looked_at = format!("the {rows} rows that were looked at");
    if let Some(best) = unique.first()
        && likelihood(best) <= Likelihood::KeyWord
    {
        let others: Vec<_> = unique.iter().skip(1).take(NAMED).map(name).collect();
        let mut note = format!("unique and never empty in {looked_at}");
        if !others.is_empty() {
            note.push_str("; so are ");
            note.push_str(&others.join(", "));
        }
        return Key {
            fields: vec![name(best)],
            note,
        };
    }
    if !unique.is_empty() {
        let names: Vec<_> = unique.iter().take(NAMED).map(name).collect();
        let note = format!(
            "each row is kept, identified by its place in the file, because no name of a field says that it identifies \
             a row; in {looked_at}, these are unique: {}",
            names.join(", ")
        );
        return Key::position(note);
    }
    let combined: Vec<usize> = candidates.into_iter().take(COMBINED).collect();
    let mut sizes = [2, 3].into_iter();
    let found = sizes.find_map(|size| combination(table, &combined, size));
    let Some(found) = found else {
        let note = format!(
            "each row is kept, identified by its place in the file, because no field, and no two or three together, \
             identify a row in {looked_at}"
        );
        return Key::position(note);
    };
    let names: Vec<_> = found.iter().map(name).collect();
    if found.iter().all(|index| is_part(&fields[*index])) {
        let note = format!("no single field is unique, but these together are, in {looked_at}");
        return Key {
            fields: names,
            note,
        };
    }
    let note = format!(
        "each row is kept, identified by its place in the file; if {} together identify a row, as they do in \
         {looked_at}, name them instead",
        names.join(", ")
    );
    Key::position(note)
}

/// Returns the first combination of so many columns that is unique.
fn combination(table: &Table, columns: &[usize], size: usize) -> Option<Vec<usize>> {
    fn next(
        table: &Table,
        columns: &[usize],
        size: usize,
        chosen: &mut Vec<usize>,
    ) -> Option<Vec<usize>> {
        if chosen.len() == size {
            return are_unique(table, chosen).then(|| chosen.clone());
        }
        for (index, column) in columns.iter().enumerate() {
            chosen.push(*column);
            let found = next(table, &columns[index + 1..], size, chosen);
            if found.is_some() {
                return found;
            }
            chosen.pop();
        }
        None
    }
    next(table, columns, size, &mut Vec::new())
}

/// Returns whether no two rows have the same values. Stops at the first that have.
fn are_unique(table: &Table, columns: &[usize]) -> bool {
    // Hashes take little memory. Two of a few hundred thousand are almost never equal by chance.
    let hasher = RandomState::new();
    let mut seen = HashSet::new();
    table.rows.iter().all(|row| {
        let cells: Vec<_> = columns.iter().map(|column| text(&row[*column])).collect();
        seen.insert(hasher.hash_one(cells))
    })
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Text(text) => text.trim().to_owned(),
        Cell::Json(value) => value.to_string(),
    }
}

fn can_be_key(field: &InferredField, rows: usize) -> bool {
    let has_kind = matches!(
        field.kind,
        FieldType::Text | FieldType::Integer | FieldType::Date | FieldType::Timestamp
    );
    has_kind && field.values == rows as u64 && field.nulls.is_empty()
}

/// Words in the names of fields that identify something, alone or with others.
const KEY_WORDS: [&str; 13] = [
    "id", "key", "sku", "uuid", "guid", "code", "isbn", "ean", "iata", "no", "number", "nr",
    "index",
];
const PART_WORDS: [&str; 9] = [
    "year", "month", "day", "date", "hour", "week", "quarter", "zip", "version",
];

/// Returns whether a field is meant to identify a row together with others: by its name, or as a time.
fn is_part(field: &InferredField) -> bool {
    let mut words = field.name.split('_');
    matches!(field.kind, FieldType::Date | FieldType::Timestamp)
        || words.any(|word| KEY_WORDS.contains(&word) || PART_WORDS.contains(&word))
}

/// How likely a field identifies a row, the likelier first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likelihood {
    /// Its name is that of a key.
    Key,
    /// Its name contains a word that is.
    KeyWord,
    /// Words, times, or numbers of the calendar.
    Plain,
    /// A number that is more likely a measure.
    Measure,
}

fn likelihood(field: &InferredField, index: usize) -> Likelihood {
    let name = field.name.as_str();
    let has = |words: &[&str]| name.split('_').any(|word| words.contains(&word));
    match field.kind {
        _ if KEY_WORDS.contains(&name) => Likelihood::Key,
        _ if has(&KEY_WORDS) => Likelihood::KeyWord,
        FieldType::Integer if index > 0 && !has(&PART_WORDS) => Likelihood::Measure,
        _ => Likelihood::Plain,
    }
}

impl Key {
    fn position(note: String) -> Self {
        Self {
            fields: Vec::new(),
            note,
        }
    }

    /// Returns the setting in TOML.
    pub(super) fn to_toml(&self) -> String {
        if self.fields.is_empty() {
            return write::quoted("position");
        }
        write::list(&self.fields)
    }
}
