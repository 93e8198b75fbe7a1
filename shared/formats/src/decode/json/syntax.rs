//! What is wrong with a record that is not a JSON object, without repeating the record.

use std::fmt;

use landfall_domain::RejectCode;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;

use super::super::sink::Fault;

/// Returns the fault of a record that cannot be parsed.
#[cold]
pub(super) fn fault(text: &str, error: &serde_json::Error) -> Fault {
    if error.classify() == Category::Data {
        let found = match text.trim_start().as_bytes().first() {
            Some(b'[') => {
                let message =
                    "the record is an array; set position for each field if rows are arrays";
                return Fault::in_record(RejectCode::Json, message);
            }
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            Some(b'{') => {
                let message = format!("the record: {}", error_in_record(error));
                return Fault::in_record(RejectCode::Json, message);
            }
            _ => "a number",
        };
        let message = format!("the record is {found}, not a JSON object");
        return Fault::in_record(RejectCode::Json, message);
    }
    let word = word_at(text, error);
    let Some(instead) = word.and_then(instead_of) else {
        let error = error_in_record(error);
        let message = format!("the record is not a JSON object: {error}");
        return Fault::in_record(RejectCode::Json, message);
    };
    let word = word.unwrap_or_default();
    let message = format!("{word} is not JSON; {instead}");
    match property_of_error(text) {
        Some(name) => Fault::in_column(&name, RejectCode::Json, message),
        None => Fault::in_record(RejectCode::Json, message),
    }
}

/// Returns the message of an error. Says that its position is one in the record, not in the file.
fn error_in_record(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let (line, column) = (error.line(), error.column());
    let Some(text) = text.strip_suffix(&format!(" at line {line} column {column}")) else {
        return text;
    };
    if line == 1 {
        format!("{text} at byte {column} of the record")
    } else {
        format!("{text} at byte {column} of line {line} of the record")
    }
}

/// Returns what to write instead of a bare word that programs write although it is not JSON.
fn instead_of(word: &str) -> Option<&'static str> {
    Some(match word {
        "NaN" | "nan" | "Infinity" | "-Infinity" | "+Infinity" | "inf" | "-inf" => {
            "write null, or write it in quotes and name it in nulls"
        }
        "None" | "NULL" | "Null" | "nil" | "undefined" | "NA" => "write null",
        "True" | "TRUE" => "write true",
        "False" | "FALSE" => "write false",
        _ => return None,
    })
}

/// Returns the word at the position of an error.
fn word_at<'t>(text: &'t str, error: &serde_json::Error) -> Option<&'t str> {
    let line = text.split('\n').nth(error.line().checked_sub(1)?)?;
    let at = error.column().checked_sub(1)?;
    let is_word = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'+');
    let bytes = line.as_bytes();
    let before = bytes
        .get(..at)?
        .iter()
        .rev()
        .take_while(|byte| is_word(byte))
        .count();
    let after = bytes[at..].iter().take_while(|byte| is_word(byte)).count();
    line.get(at - before..at + after)
}

/// Returns the name of the property in whose value the syntax error is.
fn property_of_error(text: &str) -> Option<String> {
    let mut name = None;
    let mut json = serde_json::Deserializer::from_str(text);
    Names(&mut name).deserialize(&mut json).err()?;
    name
}

/// Keeps the name of the property that is being parsed.
struct Names<'n>(&'n mut Option<String>);

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            *self.0 = Some(name);
            map.next_value::<IgnoredAny>()?;
            *self.0 = None;
        }
        Ok(())
    }
}
