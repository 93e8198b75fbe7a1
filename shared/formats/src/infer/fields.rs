//! The fields of an inferred definition: names, types, and texts that stand for null.

use std::collections::HashSet;

use landfall_domain::{FieldType, is_name};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::Setting;
use super::facts::Facts;
use super::table::{Cell, Column, Table};

/// The longest name of a field in bytes.
const MAX_NAME: usize = 50;

/// A field of an inferred definition.
#[derive(Clone, Debug, PartialEq)]
pub struct InferredField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: FieldType,
    /// All settings, in the order in which they are written.
    pub settings: Vec<Setting>,
    /// The number of rows that have a value.
    pub(super) values: u64,
    /// The texts that stand for null.
    pub(super) nulls: Vec<String>,
}

/// Returns the fields of the columns of a table.
pub(super) fn of_table(table: &Table) -> Vec<InferredField> {
    let mut names = HashSet::new();
    let columns = table.columns.iter().enumerate();
    columns
        .map(|(index, column)| {
            let cells = table.rows.iter().map(|row| &row[index]);
            field(column, cells, &mut names)
        })
        .collect()
}

fn field<'c>(
    column: &Column,
    cells: impl Iterator<Item = &'c Cell>,
    names: &mut HashSet<String>,
) -> InferredField {
    let facts = Facts::of(cells);
    let name = match column {
        Column::Position(position, column) if column.trim().is_empty() => {
            unused(&format!("column_{position}"), names)
        }
        Column::Named(column) | Column::Property(column) | Column::Position(_, column) => {
            unused(&identifier(column), names)
        }
    };
    let mut settings = vec![Setting::text("name", &name, "")];
    match column {
        Column::Named(column) if column.trim().to_lowercase() == name => {}
        Column::Named(column) | Column::Property(column) if *column == name => {}
        Column::Named(column) | Column::Property(column) => {
            settings.push(Setting::text("column", column, ""));
        }
        Column::Position(position, _) => {
            settings.push(Setting::new("position", position.to_string(), ""));
        }
    }
    let (kind, note) = facts.kind(&name);
    let (field_type, others): (_, &[_]) = match kind {
        Some(kind) => (kind.field.kind, kind.settings),
        None => (facts.json_kind(), &[]),
    };
    settings.push(Setting::text("type", field_type.as_str(), note));
    settings.extend(others.iter().map(notation));
    let nulls = facts.nulls(field_type);
    settings.extend(facts.nulls_setting(&nulls));
    let values = if nulls.is_empty() {
        facts.typed.values + facts.null_texts.values().sum::<u64>() + facts.json
    } else {
        facts.typed.values + facts.json
    };
    InferredField {
        name,
        kind: field_type,
        settings,
        values,
        nulls,
    }
}

/// Returns what a field needs to read these texts as values of a type: how they are written, and which of them stand
/// for null. If not all of them are values of the type, only the latter.
pub fn settings_of<'t>(kind: FieldType, texts: impl Iterator<Item = &'t str>) -> Vec<Setting> {
    let facts = Facts::of_texts(texts);
    let mut settings = facts.notation(kind);
    let nulls = facts.nulls(kind);
    settings.extend(facts.nulls_setting(&nulls));
    settings
}

/// Returns a setting of a kind.
pub(super) fn notation((name, value): &(&'static str, &'static str)) -> Setting {
    match *value {
        "true" => Setting::new(name, "true", ""),
        text => Setting::text(name, text, ""),
    }
}

/// Returns a name of a field or dataset that is like a text.
pub fn identifier(column: &str) -> String {
    let mut name = String::new();
    let mut before = ' ';
    for char in column
        .trim()
        .nfkd()
        .filter(|char| !is_combining_mark(*char))
    {
        let is_hump = char.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit());
        if (is_hump || !char.is_ascii_alphanumeric()) && !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        name.extend(char.to_lowercase().filter(char::is_ascii_alphanumeric));
        before = char;
    }
    name.truncate(MAX_NAME);
    let name = name.trim_end_matches('_');
    if is_name(name) {
        return name.to_owned();
    }
    let longer = format!("c_{name}");
    if !name.is_empty() && is_name(&longer) {
        longer
    } else {
        "column".to_owned()
    }
}

/// Returns the name, with a number if it is used already.
fn unused(name: &str, names: &mut HashSet<String>) -> String {
    let mut unused = name.to_owned();
    let mut number = 2;
    while !names.insert(unused.clone()) {
        unused = format!("{name}_{number}");
        number += 1;
    }
    unused
}
