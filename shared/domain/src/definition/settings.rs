//! The settings of a definition other than its fields and totals.

use serde::Deserialize;
use toml::Spanned;

use super::source::{DatasetError, Source};
use crate::dataset::{CsvOptions, Field, JsonOptions, Limits, Operation, RejectLimits};

/// The maximum number of properties in the path to the rows of a JSON document.
const MAX_PATH: usize = 16;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCsv {
    delimiter: Option<Spanned<String>>,
    quote: Option<Spanned<String>>,
    header: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawJson {
    path: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    record_bytes: Option<Spanned<u64>>,
    rejects: Option<u64>,
    reject_share: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOperation {
    column: Spanned<String>,
    delete: Option<Spanned<Vec<String>>>,
}

pub(super) fn check_csv(source: &Source<'_>, raw: &RawCsv) -> Result<CsvOptions, DatasetError> {
    let delimiter = source.check_optional("csv.delimiter", raw.delimiter.as_ref(), one_byte)?;
    let quote = source.check_optional("csv.quote", raw.quote.as_ref(), one_byte)?;
    let quote = quote.unwrap_or(b'"');
    let is_delimiter = match delimiter {
        // Files are then separated by commas or by tabs.
        None => matches!(quote, b',' | b'\t'),
        Some(delimiter) => delimiter == quote,
    };
    if is_delimiter {
        let setting = raw.quote.as_ref().or(raw.delimiter.as_ref());
        let span = setting.map_or(0..0, Spanned::span);
        let message = "the quote and the delimiter must differ";
        return Err(source.error(&span, "csv.quote", message));
    }
    Ok(CsvOptions {
        delimiter,
        quote,
        header: raw.header.unwrap_or(true),
    })
}

fn one_byte(text: &String) -> Result<u8, &'static str> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0) => Ok(*byte),
        _ => Err("must be a single ASCII character other than CR, LF and NUL"),
    }
}

pub(super) fn check_json(source: &Source<'_>, raw: &RawJson) -> Result<JsonOptions, DatasetError> {
    let path = source.check_optional("json.path", raw.path.as_ref(), |path| {
        let names: Vec<String> = path.split('.').map(str::to_owned).collect();
        if names.len() > MAX_PATH || names.iter().any(String::is_empty) {
            return Err(format!(
                "must be 1 to {MAX_PATH} property names separated by dots, like \"data.items\""
            ));
        }
        Ok(names)
    })?;
    Ok(JsonOptions {
        path: path.unwrap_or_default(),
    })
}

pub(super) fn check_limits(source: &Source<'_>, raw: &RawLimits) -> Result<Limits, DatasetError> {
    let bytes = raw.record_bytes.as_ref();
    let record_bytes = source.check_optional("limits.record_bytes", bytes, |bytes| {
        let is_valid = (16..=8 << 20).contains(bytes);
        is_valid
            .then_some(*bytes)
            .ok_or("must be from 16 to 8388608 (8 MiB)")
    })?;
    let share = raw.reject_share.as_ref();
    let share = source.check_optional("limits.reject_share", share, |share| {
        let is_valid = (0.0..=1.0).contains(share);
        is_valid.then_some(*share).ok_or("must be from 0 to 1")
    })?;
    Ok(Limits {
        record_bytes: record_bytes.unwrap_or(1 << 20),
        rejects: RejectLimits {
            count: raw.rejects,
            share,
        },
    })
}

pub(super) fn check_operation(
    source: &Source<'_>,
    raw: &RawOperation,
    fields: &[Field],
) -> Result<Operation, DatasetError> {
    let column = source.check("operation.column", &raw.column, |column| {
        if column.is_empty() {
            return Err("the name of the column is empty".to_owned());
        }
        match fields.iter().find(|field| field.column == *column) {
            None => Ok(column.clone()),
            Some(Field { name, .. }) => Err(format!(
                "the field {name} has this column too; remove the field"
            )),
        }
    })?;
    let deletes = source.check_optional("operation.delete", raw.delete.as_ref(), |texts| {
        if texts.is_empty() {
            return Err("must list at least one value that means a delete");
        }
        Ok(texts.clone())
    })?;
    Ok(Operation {
        column,
        deletes: deletes
            .unwrap_or_else(|| ["delete", "d", "DELETE", "D"].map(str::to_owned).to_vec()),
    })
}
