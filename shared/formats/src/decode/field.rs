//! The values of fields, and the checks that apply to every format.

use std::borrow::Cow;

use arcstr::ArcStr;
use landfall_domain::{
    Dataset, Field, FieldType, MAX_KEY_BYTES, Operation, RejectCode, Text, Value, ValueError,
    excerpt, key_text_bytes,
};

use super::sink::Fault;

/// The content of the cell or property of a field.
pub(super) enum Source<'a> {
    /// There is no cell or property.
    Missing,
    /// A JSON null.
    Null,
    /// Text, which may mean null.
    Text(Cow<'a, str>),
    /// Text without U+0000, which may mean null, and the text of which it is a slice.
    Part(&'a str, &'a ArcStr),
}

impl Source<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Missing | Self::Null => None,
            Self::Text(text) => Some(text),
            Self::Part(text, _) => Some(text),
        }
    }
}

/// Returns the value of a field. Sets `is_truncated` if its text has more precision.
pub(super) fn field_value(
    field: &Field,
    source: &Source<'_>,
    is_truncated: &mut bool,
) -> Result<Value, Fault> {
    let value = match (source, source.text()) {
        (Source::Part(text, whole), _) if field.kind == FieldType::Text && !field.is_null(text) => {
            return Ok(Value::Text(Text::part(text, whole)));
        }
        (_, Some(text)) if !is_null(field, text) => {
            return field
                .parse_noting(text, is_truncated)
                .map_err(|error| value_fault(field, &error));
        }
        _ => field.default.clone().unwrap_or(Value::Null),
    };
    if !field.required || !value.is_null() {
        return Ok(value);
    }
    let reason = match (source, source.text()) {
        (_, Some(text)) => format!("{:?} means null", excerpt(text)),
        (Source::Null, _) => "the value is null".to_owned(),
        _ => "there is no value".to_owned(),
    };
    let message = format!("{reason}, but {} is required", field.name);
    Err(Fault::in_column(
        &field.column,
        RejectCode::Required,
        message,
    ))
}

/// Returns whether a text means null. White space around values is ignored, except in text.
fn is_null(field: &Field, text: &str) -> bool {
    match field.kind {
        FieldType::Text => field.is_null(text),
        _ => field.is_null(text.trim()),
    }
}

/// Returns the fault of a text that is not a value of the field.
pub(super) fn value_fault(field: &Field, error: &ValueError) -> Fault {
    let code = if error.encoding {
        RejectCode::Encoding
    } else {
        RejectCode::Type
    };
    Fault::in_column(&field.column, code, error.to_string())
}

/// Returns whether this operation deletes the key of its row. The empty text stands for a missing operation.
pub(super) fn is_delete(operation: &Operation, text: &str) -> Result<bool, Fault> {
    operation.is_delete(text).ok_or_else(|| {
        let Operation {
            column,
            deletes,
            upserts,
            ..
        } = operation;
        let message = format!(
            "{:?} is neither in operation.delete {deletes:?} nor in operation.upsert {upserts:?}; add it to one of \
            them",
            excerpt(text)
        );
        Fault::in_column(column, RejectCode::Operation, message)
    })
}

/// Checks that every store can index the key.
pub(super) fn check_key(dataset: &Dataset, values: &[Value]) -> Result<(), Fault> {
    let key = dataset.key_indexes().iter();
    let key = key.map(|index| (&dataset.fields[*index], &values[*index]));
    let bytes: usize = key.clone().map(|(_, value)| value.key_bytes()).sum();
    if bytes <= key_text_bytes(key.len()) {
        return Ok(());
    }
    let is_text = |value: &Value| matches!(value, Value::Text(_));
    let texts = key.clone().filter(|(_, value)| is_text(value));
    let (number, longest) = texts.fold((0, 0), |(number, longest), (_, value)| {
        (number + 1, value.key_bytes().max(longest))
    });
    let most = key_text_bytes(number);
    let message = if bytes > MAX_KEY_BYTES {
        format!("the key has {bytes} bytes, more than the maximum of {MAX_KEY_BYTES}")
    } else if longest > most {
        format!(
            "the text has {longest} bytes, more than the maximum of {most} in a key of {number} texts"
        )
    } else {
        return Ok(());
    };
    Err(match key.max_by_key(|(_, value)| value.key_bytes()) {
        Some((field, Value::Text(text))) => {
            let message = format!("{message}: {:?}", excerpt(text));
            Fault::in_column(&field.column, RejectCode::KeyLength, message)
        }
        _ => Fault::in_record(RejectCode::KeyLength, message),
    })
}
