//! Files that the API has written; see [`Dataset::of_exports`].

use std::borrow::Cow;

use landfall_domain::{Dataset, EXPORT_MARKER, Encoding, Format, Reading};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::json_value::JsonValue;
use crate::syntax::is_json_space;

/// Returns the dataset as its rows are written in a file.
pub(crate) fn in_file<'d>(dataset: &'d Dataset, reading: &Reading) -> Cow<'d, Dataset> {
    if reading.is_exported {
        Cow::Owned(dataset.of_exports())
    } else {
        dataset.of_records()
    }
}

/// Returns how to read a file that the API has written and a spreadsheet may have saved again. `None` for other files.
pub(crate) fn detect(text: &[u8], encoding: Option<Encoding>) -> Option<Reading> {
    let mut reading = match text.first()? {
        b'{' | b'[' => Reading::from(json(text)?),
        _ => Reading {
            delimiter: Some(delimiter(text)?.to_string()),
            ..Format::Csv.into()
        },
    };
    reading.is_exported = true;
    reading.encoding = encoding.unwrap_or_default();
    Some(reading)
}

/// Returns the delimiter of a header with the marker.
fn delimiter(text: &[u8]) -> Option<char> {
    let line = text.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let line = std::str::from_utf8(line).ok()?;
    let is_marked = |delimiter: &char| {
        let mut names = line.split(*delimiter);
        names.clone().count() > 1 && names.any(|name| name.trim_matches('"') == EXPORT_MARKER)
    };
    [',', ';', '\t', '|'].into_iter().find(is_marked)
}

/// Returns the format of objects with the marker.
fn json(text: &[u8]) -> Option<Format> {
    #[derive(Deserialize)]
    struct Marked {
        #[serde(rename = "_landfall")]
        _marker: IgnoredAny,
    }
    let start = text
        .iter()
        .position(|byte| *byte != b'[' && !is_json_space(*byte))?;
    let object = &text[start..];
    let mut value = JsonValue::starting_with(*object.first()?)?;
    let length = value.feed(&object[1..]).ok().flatten()?;
    let object = &object[..=length];
    serde_json::from_slice::<Marked>(object).ok()?;
    let is_document = text[0] == b'[' || object.contains(&b'\n');
    Some(if is_document {
        Format::Json
    } else {
        Format::Ndjson
    })
}
