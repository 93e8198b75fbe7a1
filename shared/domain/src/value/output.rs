//! Values as JSON, for people and clients.

use std::borrow::Cow;

use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Value;

/// Serializes a value. Decimals, dates and timestamps are strings; as numbers, decimals would lose digits in most
/// clients.
pub struct JsonOf<'a>(pub &'a Value);

impl Serialize for JsonOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Integer(number) => number.serialize(serializer),
            Value::Boolean(boolean) => boolean.serialize(serializer),
            // NaN and infinity, which only another program can have stored, become null.
            Value::Float(number) => number.serialize(serializer),
            Value::Json(text) => JsonText(text).serialize(serializer),
            // Only null has no text.
            value => value.to_text().serialize(serializer),
        }
    }
}

/// Serializes JSON text as it is, but on one line. Text that is not JSON, which another program must have stored,
/// becomes a string.
pub struct JsonText<'a>(pub &'a str);

impl Serialize for JsonText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Line ends are between tokens only.
        let line = if self.0.contains(['\n', '\r']) {
            Cow::Owned(self.0.replace(['\n', '\r'], " "))
        } else {
            Cow::Borrowed(self.0)
        };
        match serde_json::from_str::<&RawValue>(&line) {
            Ok(raw) => raw.serialize(serializer),
            Err(_) => self.0.serialize(serializer),
        }
    }
}
