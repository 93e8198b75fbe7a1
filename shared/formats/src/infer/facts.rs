//! What was seen of the values of a column, and what follows for its type.

use std::collections::BTreeMap;

use landfall_domain::{FieldType, excerpt};

use super::fields::notation;
use super::kinds::{Kind, Kinds, MAX_DIGITS, NULLS, Seen};
use super::table::Cell;
use super::{Setting, write};

/// How databases export null. It is hardly ever a value.
const DATABASE_NULL: &str = "\\N";

/// What was seen of the values of a column.
#[derive(Default)]
pub(super) struct Facts {
    /// The texts that are neither empty nor may stand for null.
    pub(super) typed: Seen,
    /// How often each text was seen that may stand for null.
    pub(super) null_texts: BTreeMap<String, u64>,
    /// Values of JSON that are no strings.
    pub(super) json: u64,
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
    /// Whether a text would be a time without an offset from UTC.
    lacks_offset: bool,
}

impl Facts {
    pub(super) fn of<'c>(cells: impl Iterator<Item = &'c Cell>) -> Self {
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

    /// Returns what is seen of texts.
    pub(super) fn of_texts<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let kinds = Kinds::get();
        let mut facts = Self::default();
        texts.for_each(|text| facts.add_text(kinds, text));
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
        self.lacks_offset |= !has_offset(trimmed);
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
    pub(super) fn kind(&self, name: &str) -> (Option<&'static Kind>, String) {
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
            let note = match (self.typed.not_time(), &self.typed.not_numeric) {
                _ if is_mixed => "strings and other JSON values".to_owned(),
                (Some(text), _) => format!("not a date or time because of {:?}", excerpt(text)),
                (None, Some(text)) if !self.starts_as_text() => {
                    format!("not a number because of {:?}", excerpt(text))
                }
                _ => String::new(),
            };
            let notes = [note, self.kept_nulls()];
            let notes: Vec<_> = notes.into_iter().filter(|it| !it.is_empty()).collect();
            return (None, notes.join("; "));
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
        if best.field.kind == FieldType::Timestamp && self.lacks_offset && !has_offset {
            doubts.push("times without an offset are in UTC, unless timezone is set".to_owned());
        }
        doubts.extend(self.typed.impossible().map(|(count, text)| {
            let kind = best.field.kind.as_str();
            format!("{count} values are no {kind}, such as {text:?}: their rows are rejects")
        }));
        doubts.join("; ")
    }

    /// Returns what to know about texts that may stand for null in a column of text, where they are kept.
    fn kept_nulls(&self) -> String {
        let kept = self
            .null_texts
            .iter()
            .filter(|(text, _)| *text != DATABASE_NULL);
        let kept: Vec<_> = kept
            .map(|(text, count)| format!("{text:?} in {count} rows"))
            .collect();
        if kept.is_empty() {
            return String::new();
        }
        format!(
            "{} is text: name it in nulls if it stands for no value",
            kept.join(", ")
        )
    }

    /// Returns whether most values are no numbers anyway, which needs no explanation.
    fn starts_as_text(&self) -> bool {
        let is_words = |text: &String| {
            text.contains(char::is_whitespace) || !text.contains(|char: char| char.is_ascii_digit())
        };
        self.typed.values < 2 || self.typed.not_numeric.as_ref().is_some_and(is_words)
    }

    /// Returns how all texts are written if they are values of a type.
    pub(super) fn notation(&self, kind: FieldType) -> Vec<Setting> {
        let mut kinds = self.typed.kinds(Kinds::get()).into_iter();
        if let Some(fitting) = kinds.find(|it| it.field.kind == kind) {
            return fitting.settings.iter().map(notation).collect();
        }
        let epoch = self.epoch().filter(|_| kind == FieldType::Timestamp);
        epoch
            .map(|format| Setting::text("format", format, ""))
            .into_iter()
            .collect()
    }

    /// Returns the unit in which integers count the time since 1970, if they are times of this century.
    fn epoch(&self) -> Option<&'static str> {
        match (self.least?, self.greatest?) {
            (946_684_800..=4_102_444_800, 946_684_800..=4_102_444_800) => Some("epoch_s"),
            (946_684_800_000..=4_102_444_800_000, 946_684_800_000..=4_102_444_800_000) => {
                Some("epoch_ms")
            }
            _ => None,
        }
    }

    fn epoch_note(&self, name: &str) -> Option<String> {
        let format = self.epoch()?;
        let lower = name.to_lowercase();
        let says_time = ["time", "_at", "_ts", "epoch", "created", "updated"]
            .iter()
            .any(|word| lower.contains(word));
        says_time.then(|| format!("could also be timestamp with format = {format:?}"))
    }

    /// Returns the type of JSON values that are no strings.
    pub(super) fn json_kind(&self) -> FieldType {
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
    pub(super) fn nulls(&self, kind: FieldType) -> Vec<String> {
        let texts = self.null_texts.keys();
        match kind {
            // A name can be "None", and a code "NA"; only what databases write is certain.
            FieldType::Text => texts
                .filter(|text| *text == DATABASE_NULL)
                .cloned()
                .collect(),
            FieldType::Json => Vec::new(),
            _ => texts.cloned().collect(),
        }
    }

    /// Returns the setting for these texts.
    pub(super) fn nulls_setting(&self, nulls: &[String]) -> Option<Setting> {
        if nulls.is_empty() {
            return None;
        }
        let counts = nulls.iter().map(|text| {
            let count = self.null_texts.get(text).copied().unwrap_or(0);
            format!("{text:?} in {count} rows")
        });
        let note = counts.collect::<Vec<_>>().join(", ");
        let mut all = vec![String::new()];
        all.extend(nulls.iter().cloned());
        Some(Setting::new("nulls", write::list(&all), note))
    }
}

/// Returns whether a time has an offset from UTC.
fn has_offset(time: &str) -> bool {
    let clock = time.find(':').map_or("", |colon| &time[colon..]);
    clock.ends_with(['Z', 'z'])
        || clock.contains(['+', '-', '\u{2212}'])
        || clock.ends_with("UTC")
        || clock.ends_with("GMT")
}
