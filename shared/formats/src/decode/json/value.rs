//! Values of fields from JSON, also as the extended JSON of `MongoDB` writes them.

use std::borrow::Cow;

use landfall_domain::{Dataset, Field, FieldType, RejectCode, Value, excerpt};

use super::super::exported;
use super::super::field::{Source, field_value, value_fault};
use super::super::sink::Fault;
use super::{Members, Text};

/// Returns the value of a field from the text of a JSON value, which is not empty. Sets `is_truncated` if the text has
/// more precision.
pub(super) fn field_value_of(
    field: &Field,
    json: &str,
    is_truncated: &mut bool,
) -> Result<Value, Fault> {
    let fault = |code, message| Err(Fault::in_column(&field.column, code, message));
    match (json.as_bytes()[0], field.kind) {
        (b'n', _) => field_value(field, &Source::Null, is_truncated),
        (b'"', FieldType::Json) if let Some(value) = json_of_text(field, json) => value,
        (_, FieldType::Json) => {
            Value::json(json).or_else(|error| fault(RejectCode::Type, error.to_string()))
        }
        (b'"', _) => match serde_json::from_str(json) {
            Ok(Text(text)) => field_value(field, &Source::Text(text), is_truncated),
            Err(error) => fault(
                RejectCode::Encoding,
                format!("{} is not valid Unicode: {error}", excerpt(json)),
            ),
        },
        (b'{', _) if let Some(value) = extended(field, json, is_truncated) => value,
        (first @ (b'{' | b'['), _) => {
            let found = if first == b'{' {
                "an object"
            } else {
                "an array"
            };
            let (name, kind) = (&field.name, field.kind.as_str());
            let message = format!(
                "{} is {found}, but {name} is of type {kind}; type = \"json\" accepts it",
                excerpt(json)
            );
            fault(RejectCode::Type, message)
        }
        // Texts that mean null are strings in the file, never numbers.
        _ => field
            .parse_json_scalar(json, is_truncated)
            .map_err(|error| value_fault(field, &error)),
    }
}

/// Returns the value of a field from a string that was a cell of CSV, or from any other JSON value.
pub(super) fn cell_value_of(
    dataset: &Dataset,
    field: &Field,
    json: &str,
    truncated: &mut bool,
) -> Result<Value, Fault> {
    let is_text = json.starts_with('"');
    match is_text.then(|| serde_json::from_str(json).ok()).flatten() {
        // An empty cell without quotes is null here.
        Some(Text(text))
            if text.is_empty() && dataset.csv.quoted_empty && field.kind == FieldType::Text =>
        {
            Ok(Value::Text("".into()))
        }
        Some(Text(text)) => field_value(field, &Source::Text(text), truncated),
        None => field_value_of(field, json, truncated),
    }
}

/// Returns the value of a field from JSON that the API has written. A string in a JSON field is only a string.
pub(super) fn exported_value_of(field: &Field, json: &str) -> Result<Value, Fault> {
    if field.kind != FieldType::Json || json == "null" {
        return field_value_of(field, json, &mut false);
    }
    Value::json(json).map_err(|error| value_fault(field, &error))
}

/// Returns the value of a field from a string that was a cell of CSV that the API has written, or from other JSON.
pub(super) fn exported_cell_of(field: &Field, json: &str) -> Result<Value, Fault> {
    let is_text = json.starts_with('"') && exported::is_text(field);
    match is_text.then(|| serde_json::from_str(json).ok()).flatten() {
        Some(Text(cell)) => {
            let text = exported::text_of(&cell).map(Cow::from);
            field_value(field, &text.map_or(Source::Null, Source::Text), &mut false)
        }
        None => exported_value_of(field, json),
    }
}

/// Returns the value of a JSON field from a string that is a cell of a CSV file: one that means null, or that contains
/// an object or an array. Any other string is a value by itself.
fn json_of_text(field: &Field, json: &str) -> Option<Result<Value, Fault>> {
    let Text(text) = serde_json::from_str(json).ok()?;
    if field.is_null(&text) {
        return Some(field_value(field, &Source::Text(text), &mut false));
    }
    let is_nested = text.trim_start().starts_with(['{', '[']);
    is_nested.then(|| Value::json(&text).ok()).flatten().map(Ok)
}

/// Returns the value of a field from an object of extended JSON, which contains one value and its type. `None` if the
/// object is another one. Numbers are those of JSON, whatever the notation of the field, also where they are texts.
fn extended(field: &Field, json: &str, is_truncated: &mut bool) -> Option<Result<Value, Fault>> {
    let (name, value) = only_member(json)?;
    match &*name {
        "$numberInt" | "$numberLong" | "$numberDouble" | "$numberDecimal"
            if let Some(number) = text_of(value).filter(|text| !field.is_null(text)) =>
        {
            let value = field.parse_json_scalar(&number, is_truncated);
            Some(value.map_err(|error| value_fault(field, &error)))
        }
        "$oid" | "$numberInt" | "$numberLong" | "$numberDouble" | "$numberDecimal" => {
            let text = text_of(value)?;
            Some(field_value(field, &Source::Text(text.into()), is_truncated))
        }
        "$date" => Some(
            instant(field, value)?
                .map_err(|message| Fault::in_column(&field.column, RejectCode::Type, message)),
        ),
        _ => None,
    }
}

/// Returns the value of a field from `$date`: ISO 8601, or milliseconds since 1970.
fn instant(field: &Field, value: &str) -> Option<Result<Value, String>> {
    let from_text = value.starts_with('"');
    let text = match only_member(value) {
        Some((name, number)) if name == "$numberLong" => text_of(number)?,
        _ => text_of(value)?,
    };
    let parsed = if from_text {
        Value::from_instant(field.kind, &text)
    } else {
        Value::from_milliseconds(field.kind, text.parse().ok()?)
    };
    Some(parsed.map_err(|error| error.to_string()))
}

/// Returns the property of an object that has no other.
fn only_member(json: &str) -> Option<(String, &str)> {
    let members = Members::of(json)?;
    let [(name, value)] = &members[..] else {
        return None;
    };
    Some((name.clone().into_owned(), value.get()))
}

/// Returns the content of a string, or the text of a number.
fn text_of(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok(),
        b'-' | b'0'..=b'9' => Some(json.to_owned()),
        _ => None,
    }
}
