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
    let delimiter = match &raw.delimiter {
        None => None,
        Some(text) => Some(source.one_byte("csv.delimiter", text)?),
    };
    let quote = match &raw.quote {
        None => b'"',
        Some(text) => source.one_byte("csv.quote", text)?,
    };
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

pub(super) fn check_json(source: &Source<'_>, raw: &RawJson) -> Result<JsonOptions, DatasetError> {
    let Some(path) = &raw.path else {
        return Ok(JsonOptions::default());
    };
    let names: Vec<String> = path.get_ref().split('.').map(str::to_owned).collect();
    if names.len() > MAX_PATH || names.iter().any(String::is_empty) {
        let message = format!(
            "must be 1 to {MAX_PATH} property names separated by dots, like \"data.items\""
        );
        return Err(source.error(&path.span(), "json.path", message));
    }
    Ok(JsonOptions { path: names })
}

pub(super) fn check_limits(source: &Source<'_>, raw: &RawLimits) -> Result<Limits, DatasetError> {
    let record_bytes = match &raw.record_bytes {
        None => 1 << 20,
        Some(bytes) if (16..=8 << 20).contains(bytes.get_ref()) => *bytes.get_ref(),
        Some(bytes) => {
            let message = "must be from 16 to 8388608 (8 MiB)";
            return Err(source.error(&bytes.span(), "limits.record_bytes", message));
        }
    };
    let reject_share = match &raw.reject_share {
        None => None,
        Some(share) if (0.0..=1.0).contains(share.get_ref()) => Some(*share.get_ref()),
        Some(share) => {
            let message = "must be from 0 to 1";
            return Err(source.error(&share.span(), "limits.reject_share", message));
        }
    };
    Ok(Limits {
        record_bytes,
        rejects: RejectLimits {
            count: raw.rejects,
            share: reject_share,
        },
    })
}

pub(super) fn check_operation(
    source: &Source<'_>,
    raw: &RawOperation,
    fields: &[Field],
) -> Result<Operation, DatasetError> {
    let column = raw.column.get_ref();
    let error = |message: String| source.error(&raw.column.span(), "operation.column", message);
    if column.is_empty() {
        return Err(error("the name of the column is empty".to_owned()));
    }
    if let Some(field) = fields.iter().find(|field| field.column == *column) {
        let message = format!(
            "the field {} has this column too; remove the field",
            field.name
        );
        return Err(error(message));
    }
    let deletes = match &raw.delete {
        None => ["delete", "d", "DELETE", "D"].map(str::to_owned).to_vec(),
        Some(texts) if texts.get_ref().is_empty() => {
            let message = "must list at least one value that means a delete";
            return Err(source.error(&texts.span(), "operation.delete", message));
        }
        Some(texts) => texts.get_ref().clone(),
    };
    Ok(Operation {
        column: column.clone(),
        deletes,
    })
}
