//! Records of rejects.

use std::collections::BTreeMap;

use landfall_domain::{Dataset, FieldType};
use serde_json::value::RawValue;

use super::super::sink::Record;
use crate::position::name_at;

/// The number of digits that a float always preserves.
const EXACT_DIGITS: usize = 15;

/// Returns the record for its reject. What a float cannot represent exactly becomes a string: a number, or the value of
/// a JSON field, which is read from its text too.
pub(super) fn record(text: &str, dataset: &Dataset) -> Option<Record> {
    let properties: BTreeMap<String, &RawValue> = if text.starts_with('[') {
        dataset.last_position()?;
        let values: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        let names = (0..values.len()).map(|index| name_at(dataset, index));
        names.zip(values).collect()
    } else {
        serde_json::from_str(text).ok()?
    };
    let is_json_field = |name: &str| {
        let mut fields = dataset.fields.iter();
        fields.any(|field| field.column == name && field.kind == FieldType::Json)
    };
    let mut record = Record::new();
    for (name, raw) in properties {
        let mut value: serde_json::Value = serde_json::from_str(raw.get()).ok()?;
        let is_changed = match &value {
            serde_json::Value::Number(number) => number.to_string().as_str() != raw.get(),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                is_json_field(&name) && !has_exact_numbers(raw.get())
            }
            _ => false,
        };
        if is_changed {
            value = raw.get().into();
        }
        record.insert(name, value);
    }
    Some(record)
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
