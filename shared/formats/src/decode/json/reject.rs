//! Records of rejects.

use std::borrow::Cow;

use landfall_domain::{Dataset, Record};
use serde_json::value::RawValue;

use super::value::field_value_of;
use super::{Members, push_property};
use crate::position::{name_at, nameless};

/// The number of digits that a float always preserves.
const EXACT_DIGITS: usize = 15;

/// Returns the record for its reject, on one line.
///
/// A program that fixes it may read numbers as floats. What a float would change is a string therefore, if a string has
/// the same meaning.
pub(super) fn record(text: &str, dataset: &Dataset) -> Option<Record> {
    let members: Vec<(Cow<'_, str>, &RawValue)> = if text.starts_with('[') {
        dataset.last_position()?;
        let values: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        let members = values.into_iter().enumerate().map(|(index, value)| {
            let name = name_at(dataset, index);
            // Null in a place that belongs to nothing does not count.
            let is_kept = value.get() != "null" || name != nameless(dataset, index);
            is_kept.then(|| (name.into(), value))
        });
        members.flatten().collect()
    } else {
        Members::of(text)?
    };
    let mut record = String::new();
    for (name, value) in members {
        let json = value.get();
        let string = (!has_exact_numbers(json)).then(|| serde_json::Value::from(json).to_string());
        let string = string.filter(|string| has_same_meaning(dataset, &name, json, string));
        push_property(&mut record, &name, string.as_deref().unwrap_or(json));
    }
    let start = if record.is_empty() { "{" } else { "" };
    // Line ends are between tokens only.
    let record = record.replace(['\n', '\r'], " ");
    Record::new(format!("{start}{record}}}"))
}

/// Returns whether a value and the string of its text mean the same in the column with this name.
fn has_same_meaning(dataset: &Dataset, name: &str, json: &str, string: &str) -> bool {
    let field = dataset.fields.iter().find(|field| field.column == name);
    field.is_some_and(|field| {
        let value = field_value_of(field, json, &mut false).ok();
        value.is_some() && value == field_value_of(field, string, &mut false).ok()
    })
}

/// Returns whether integers and floats of 64 bits represent all numbers of a JSON text exactly.
pub(in crate::decode) fn has_exact_numbers(json: &str) -> bool {
    let mut in_string = false;
    let mut escaped = false;
    let outside = json.split(|character: char| {
        let is_text = in_string;
        in_string ^= character == '"' && !escaped;
        escaped = is_text && character == '\\' && !escaped;
        is_text || !matches!(character, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')
    });
    outside
        .filter(|token| token.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']))
        .all(is_exact)
}

fn is_exact(number: &str) -> bool {
    let mantissa = number.split(['e', 'E']).next().unwrap_or(number);
    let digits = mantissa.trim_start_matches(['-', '0', '.']).bytes();
    let digits = digits.filter(u8::is_ascii_digit).count();
    let is_normal = |float: f64| float.is_normal() || (float == 0.0 && digits == 0);
    number.parse::<i64>().is_ok() || (digits <= EXACT_DIGITS && number.parse().is_ok_and(is_normal))
}
