//! The fields of an inferred definition: names, types, and texts that stand for null.

use std::collections::{BTreeMap, HashSet};

use landfall_domain::{FieldType, excerpt, is_name};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::Setting;
use super::kinds::{Kind, Kinds, MAX_DIGITS, NULLS, Seen};
use super::table::{Cell, Column, Table};
use super::write;

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
        Column::Named(column) | Column::Property(column) => unused(&identifier(column), names),
        Column::Position(position) => unused(&format!("column_{position}"), names),
    };
    let mut settings = vec![Setting::text("name", &name, "")];
    match column {
        Column::Named(column) if column.trim().to_lowercase() == name => {}
        Column::Named(column) | Column::Property(column) if *column == name => {}
        Column::Named(column) | Column::Property(column) => {
            settings.push(Setting::text("column", column, ""));
        }
        Column::Position(position) => {
            settings.push(Setting::new("position", position.to_string(), ""));
        }
    }
    let (kind, note) = facts.kind(&name);
    let (field_type, others): (_, &[_]) = match kind {
        Some(kind) => (kind.field.kind, kind.settings),
        None => (facts.json_kind(), &[]),
    };
    settings.push(Setting::text("type", field_type.as_str(), note));
    for (setting, value) in others {
        settings.push(match *value {
            "true" => Setting::new(setting, "true", ""),
            text => Setting::text(setting, text, ""),
        });
    }
    let nulls = facts.nulls(field_type);
    if !nulls.is_empty() {
        let counts = nulls.iter().map(|text| {
            let count = facts.null_texts.get(text).copied().unwrap_or(0);
            format!("{text:?} in {count} rows")
        });
        let note = counts.collect::<Vec<_>>().join(", ");
        let mut all = vec![String::new()];
        all.extend(nulls.iter().cloned());
        settings.push(Setting::new("nulls", write::list(&all), note));
    }
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

/// What was seen of the values of a column.
#[derive(Default)]
struct Facts {
    /// The texts that are neither empty nor may stand for null.
    typed: Seen,
    /// How often each text was seen that may stand for null.
    null_texts: BTreeMap<String, u64>,
    /// Values of JSON that are no strings.
    json: u64,
    integers: u64,
    /// Numbers without an exponent and without many digits, which decimals keep as they are.
    decimals: u64,
    numbers: u64,
    booleans: u64,
    /// Objects and arrays.
    nested: u64,
    /// The least and the greatest integer.
    least: Option<i64>,
    greatest: Option<i64>,
}

impl Facts {
    fn of<'c>(cells: impl Iterator<Item = &'c Cell>) -> Self {
        let kinds = Kinds::get();
        let mut facts = Self::default();
        for cell in cells {
            match cell {
                Cell::Null => {}
                Cell::Text(text) => facts.add_text(kinds, text),
                Cell::Json(value) => facts.add_json(value),
            }
        }
        facts
    }

    fn add_text(&mut self, kinds: &Kinds, text: &str) {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return;
        }
        if NULLS.contains(&trimmed) {
            *self.null_texts.entry(trimmed.to_owned()).or_default() += 1;
            return;
        }
        self.typed.add(kinds, trimmed);
        if let Ok(number) = trimmed.parse::<i64>() {
            self.add_integer(number);
        }
    }

    fn add_integer(&mut self, number: i64) {
        self.least = Some(self.least.map_or(number, |least| least.min(number)));
        self.greatest = Some(self.greatest.map_or(number, |most| most.max(number)));
    }

    fn add_json(&mut self, value: &serde_json::Value) {
        self.json += 1;
        match value {
            serde_json::Value::Number(number) => {
                self.numbers += 1;
                let text = number.to_string();
                let digits = text.bytes().filter(u8::is_ascii_digit).count();
                self.decimals += u64::from(digits <= MAX_DIGITS && !text.contains(['e', 'E']));
                if let Some(number) = number.as_i64() {
                    self.integers += 1;
                    self.add_integer(number);
                }
            }
            serde_json::Value::Bool(_) => self.booleans += 1,
            _ => self.nested += 1,
        }
    }

    /// Returns the kind of the texts, and what is uncertain about it. There is none if they are mere text, or if all
    /// values are JSON of other types.
    fn kind(&self, name: &str) -> (Option<&'static Kind>, String) {
        let texts = self.typed.values;
        if texts == 0 {
            return match self.json {
                0 => (None, "no row has a value".to_owned()),
                _ => (None, self.epoch_note(name).unwrap_or_default()),
            };
        }
        let kinds = self.typed.kinds(Kinds::get());
        let is_mixed = self.json > 0;
        let Some(first) = kinds.first().filter(|_| !is_mixed) else {
            let note = match &self.typed.not_numeric {
                _ if is_mixed => "strings and other JSON values".to_owned(),
                Some(text) if !self.starts_as_text() => {
                    format!("not a number because of {:?}", excerpt(text))
                }
                _ => String::new(),
            };
            return (None, note);
        };
        // Eight digits are a day if the column says so.
        let is_day = |kind: &&&Kind| {
            let lower = name.to_lowercase();
            let says_day = ["date", "day", "datum", "_dt"]
                .iter()
                .any(|word| lower.contains(word));
            first.field.kind == FieldType::Integer && kind.field.kind == FieldType::Date && says_day
        };
        let best = *kinds.iter().find(is_day).unwrap_or(first);
        (Some(best), self.doubts(name, best, &kinds))
    }

    /// Returns what the values could be instead of the best kind.
    fn doubts(&self, name: &str, best: &Kind, kinds: &[&Kind]) -> String {
        let others = kinds
            .iter()
            .filter(|kind| !std::ptr::eq(**kind, best))
            .filter(|kind| best.conflicts(kind) || kind.conflicts(best));
        let others: Vec<_> = others.map(|kind| kind.describe()).collect();
        let mut doubts = Vec::new();
        if !others.is_empty() {
            doubts.push(format!(
                "every value that was looked at could also be {}",
                others.join(", or ")
            ));
        }
        doubts.extend(self.epoch_note(name));
        let is_flag = best.field.kind == FieldType::Integer
            && (self.least, self.greatest) == (Some(0), Some(1));
        if is_flag {
            doubts.push("only 0 and 1: could also be boolean".to_owned());
        }
        let has_offset = best.settings.iter().any(|(_, value)| value.ends_with('z'));
        if best.field.kind == FieldType::Timestamp && !has_offset {
            doubts.push("times without an offset are in UTC, unless timezone is set".to_owned());
        }
        doubts.join("; ")
    }

    /// Returns whether most values are no numbers anyway, which needs no explanation.
    fn starts_as_text(&self) -> bool {
        self.typed.values < 2
            || self
                .typed
                .not_numeric
                .as_ref()
                .is_some_and(|text| text.chars().all(|char| !char.is_ascii_digit()))
    }

    fn epoch_note(&self, name: &str) -> Option<String> {
        let (least, greatest) = (self.least?, self.greatest?);
        let lower = name.to_lowercase();
        let says_time = ["time", "_at", "_ts", "epoch", "created", "updated"]
            .iter()
            .any(|word| lower.contains(word));
        let format = match (least, greatest) {
            (946_684_800..=4_102_444_800, 946_684_800..=4_102_444_800) => "epoch_s",
            (946_684_800_000..=4_102_444_800_000, 946_684_800_000..=4_102_444_800_000) => {
                "epoch_ms"
            }
            _ => return None,
        };
        says_time.then(|| format!("could also be timestamp with format = {format:?}"))
    }

    /// Returns the type of JSON values that are no strings.
    fn json_kind(&self) -> FieldType {
        let only = |count: u64| count == self.json && self.typed.values == 0 && self.json > 0;
        if only(self.integers) {
            FieldType::Integer
        } else if only(self.decimals) {
            FieldType::Decimal
        } else if only(self.numbers) {
            FieldType::Float
        } else if only(self.booleans) {
            FieldType::Boolean
        } else if self.json > 0 && self.nested > 0 {
            FieldType::Json
        } else {
            FieldType::Text
        }
    }

    /// Returns the texts that stand for null: those that are no values of the type.
    fn nulls(&self, kind: FieldType) -> Vec<String> {
        let texts = self.null_texts.keys();
        match kind {
            // A name can be "None", and a code "NA"; only what databases write is certain.
            FieldType::Text => texts.filter(|text| *text == "\\N").cloned().collect(),
            FieldType::Json => Vec::new(),
            _ => texts.cloned().collect(),
        }
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
