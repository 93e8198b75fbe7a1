//! The settings of a definition other than its fields and totals.

use serde::Deserialize;
use toml::Spanned;

use super::fields::{RawField, check_position};
use super::text::{DefinitionText, InvalidDefinition};
use crate::dataset::{
    CsvOptions, Dataset, Field, JsonOptions, Limits, Mode, Operation, Quote, RejectLimits,
};
use crate::encoding::Encoding;
use crate::prune::MAX_DELETE_SHARE;
use crate::value::is_same_word;

/// The maximum number of properties in the path to the rows of a JSON document.
const MAX_PATH: usize = 16;
/// The maximum number of bytes between two cells.
const MAX_DELIMITER_BYTES: usize = 8;
/// The maximum number of records that name the columns.
const MAX_HEADER_LINES: u32 = 8;
/// The maximum number of lines before the header.
const MAX_SKIP_LINES: u32 = 10_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the settings are independent"
)]
pub(super) struct RawCsv {
    delimiter: Option<Spanned<String>>,
    quote: Option<Spanned<String>>,
    escape: Option<Spanned<String>>,
    #[serde(default)]
    lenient: bool,
    comment: Option<Spanned<String>>,
    #[serde(default)]
    trim: bool,
    #[serde(default)]
    flexible: bool,
    #[serde(default)]
    quoted_empty: bool,
    skip_lines: Option<Spanned<u32>>,
    header: Option<bool>,
    header_lines: Option<Spanned<u32>>,
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
    warnings: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOperation {
    column: Spanned<String>,
    position: Option<Spanned<u32>>,
    delete: Option<Spanned<Vec<String>>>,
    upsert: Option<Spanned<Vec<String>>>,
}

pub(super) fn check_csv(
    source: &DefinitionText<'_>,
    raw: &RawCsv,
) -> Result<CsvOptions, InvalidDefinition> {
    let quote = source.check_optional("csv.quote", raw.quote.as_ref(), |text| {
        if text.is_empty() {
            return Ok(Quote::None);
        }
        one_byte(text).map(Quote::Byte)
    })?;
    let quote = quote.unwrap_or_default();
    let escape = source.check_optional("csv.escape", raw.escape.as_ref(), one_byte)?;
    let delimiter = raw.delimiter.as_ref();
    let skip_lines = raw.skip_lines.as_ref();
    let options = CsvOptions {
        delimiter: source.check_optional("csv.delimiter", delimiter, delimiter_text)?,
        quote,
        // Quotes are doubled anyway.
        escape: escape.filter(|escape| Some(*escape) != quote_byte(quote)),
        lenient: raw.lenient,
        comment: source.check_optional("csv.comment", raw.comment.as_ref(), one_byte)?,
        trim: raw.trim,
        flexible: raw.flexible,
        quoted_empty: raw.quoted_empty,
        skip_lines: source
            .check_optional("csv.skip_lines", skip_lines, at_most::<MAX_SKIP_LINES>)?
            .unwrap_or(0),
        header_records: check_header(source, raw)?,
    };
    check_distinct(source, raw, &options)?;
    Ok(options)
}

#[expect(
    clippy::ptr_arg,
    reason = "it checks an optional setting, which is a String"
)]
fn delimiter_text(text: &String) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_DELIMITER_BYTES || text.contains(['\r', '\n', '\0']) {
        return Err(format!(
            "must be a text of 1 to {MAX_DELIMITER_BYTES} bytes without CR, LF and NUL"
        ));
    }
    Ok(text.clone())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "it checks an optional setting, which is passed by reference"
)]
fn at_most<const MOST: u32>(number: &u32) -> Result<u32, String> {
    if *number > MOST {
        return Err(format!("must be at most {MOST}"));
    }
    Ok(*number)
}

fn check_header(source: &DefinitionText<'_>, raw: &RawCsv) -> Result<u32, InvalidDefinition> {
    let lines = raw.header_lines.as_ref();
    let lines = source.check_optional("csv.header_lines", lines, |lines| {
        if raw.header == Some(false) && *lines > 0 {
            return Err("contradicts header = false; remove one of the two".to_owned());
        }
        at_most::<MAX_HEADER_LINES>(lines)
    })?;
    Ok(match raw.header {
        Some(false) => 0,
        _ => lines.unwrap_or(1),
    })
}

/// Checks that delimiter, quote, escape and comment are different bytes.
fn check_distinct(
    source: &DefinitionText<'_>,
    raw: &RawCsv,
    options: &CsvOptions,
) -> Result<(), InvalidDefinition> {
    let quote = quote_byte(options.quote);
    // Without a delimiter in the definition, files are separated by commas or by tabs.
    let delimiter = options.delimiter.as_deref().unwrap_or(",\t").as_bytes();
    let settings = [
        ("csv.quote", quote, &raw.quote),
        ("csv.escape", options.escape, &raw.escape),
        ("csv.comment", options.comment, &raw.comment),
    ];
    for (index, (setting, byte, text)) in settings.into_iter().enumerate() {
        let Some(byte) = byte else { continue };
        let mut before = settings[..index].iter();
        let other = match before.find(|(_, other, _)| *other == Some(byte)) {
            Some((other, ..)) => *other,
            None if delimiter.contains(&byte) => "csv.delimiter",
            None => continue,
        };
        let set = text.as_ref().or(raw.delimiter.as_ref());
        let span = set.map_or(0..0, Spanned::span);
        return Err(source.error(&span, setting, format!("must differ from {other}")));
    }
    Ok(())
}

fn quote_byte(quote: Quote) -> Option<u8> {
    match quote {
        Quote::Usual => Some(b'"'),
        Quote::None => None,
        Quote::Byte(byte) => Some(byte),
    }
}

fn one_byte(text: &String) -> Result<u8, &'static str> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0) => Ok(*byte),
        _ => Err("must be a single ASCII character other than CR, LF and NUL"),
    }
}

pub(super) fn check_encoding(
    source: &DefinitionText<'_>,
    raw: Option<&Spanned<String>>,
    csv: &CsvOptions,
) -> Result<Encoding, InvalidDefinition> {
    let quote = match csv.quote {
        Quote::Byte(quote) => Some(quote),
        Quote::Usual | Quote::None => None,
    };
    let delimiter = csv.delimiter.as_deref().unwrap_or_default().bytes();
    let bytes = delimiter.chain(quote).chain(csv.escape).chain(csv.comment);
    // These can be part of a character of several bytes.
    let trail_bytes: Vec<u8> = bytes
        .filter(|byte| matches!(byte, b'0'..=b'9' | 0x40..))
        .collect();
    let encoding = source.check_optional("encoding", raw, |label| {
        let encoding = Encoding::for_label(label).ok_or_else(|| {
            "is not a known encoding, such as \"windows-1252\", \"iso-8859-2\", \"utf-16le\" or \"shift_jis\""
                .to_owned()
        })?;
        match trail_bytes.first() {
            Some(byte) if encoding.has_ascii_trail_bytes() => Err(format!(
                "in this encoding {:?} can be part of another character, so it cannot be the delimiter, quote, escape \
                 or comment of csv: save the files as UTF-8",
                char::from(*byte)
            )),
            _ => Ok(encoding),
        }
    })?;
    Ok(encoding.unwrap_or_default())
}

pub(super) fn check_json(
    source: &DefinitionText<'_>,
    raw: &RawJson,
) -> Result<JsonOptions, InvalidDefinition> {
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

pub(super) fn check_limits(
    source: &DefinitionText<'_>,
    raw: &RawLimits,
) -> Result<Limits, InvalidDefinition> {
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
    let warnings = raw.warnings.as_ref();
    let warnings_fail =
        source.check_optional("limits.warnings", warnings, |text| match text.as_str() {
            "fail" => Ok(true),
            "allow" => Ok(false),
            _ => Err("must be \"allow\" or \"fail\""),
        })?;
    Ok(Limits {
        record_bytes: record_bytes.unwrap_or(1 << 20),
        rejects: RejectLimits {
            count: raw.rejects,
            share,
            warnings_fail: warnings_fail.unwrap_or(false),
        },
    })
}

pub(super) fn check_max_delete_share(
    source: &DefinitionText<'_>,
    raw: Option<&Spanned<f64>>,
    mode: Mode,
) -> Result<f64, InvalidDefinition> {
    let share = source.check_optional("max_delete_share", raw, |share| {
        if mode != Mode::Snapshot {
            return Err("needs mode = \"snapshot\": only snapshots delete the rows that they lack");
        }
        let is_valid = *share > 0.0 && *share <= 1.0;
        is_valid
            .then_some(*share)
            .ok_or("must be greater than 0 and at most 1, which allows a snapshot to delete any number of rows")
    })?;
    Ok(share.unwrap_or(MAX_DELETE_SHARE))
}

pub(super) fn check_operation(
    source: &DefinitionText<'_>,
    raw: &RawOperation,
    fields: &[Field],
) -> Result<Operation, InvalidDefinition> {
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
    let listed = |setting: &str, texts: Option<&Spanned<Vec<String>>>| {
        source.check_optional(setting, texts, |texts| {
            if texts.is_empty() {
                return Err("must list at least one value");
            }
            Ok(texts.clone())
        })
    };
    let deletes = listed("operation.delete", raw.delete.as_ref())?;
    let upserts = listed("operation.upsert", raw.upsert.as_ref())?;
    let setting = "operation.position";
    let position = check_position(source, setting, raw.position.as_ref())?;
    if let Some(raw_position) = &raw.position
        && let Some(field) = fields.iter().find(|field| field.position == position)
    {
        let message = format!("the field {} has this position, too", field.name);
        return Err(source.error(&raw_position.span(), setting, message));
    }
    let usual = Operation {
        position,
        ..Operation::usual(column)
    };
    Ok(match (deletes, upserts) {
        (None, None) => usual,
        // What one list names is not in the default of the other.
        (Some(deletes), None) => Operation {
            upserts: without(usual.upserts, &deletes),
            deletes,
            ..usual
        },
        (None, Some(upserts)) => Operation {
            deletes: without(usual.deletes, &upserts),
            upserts,
            ..usual
        },
        (Some(deletes), Some(upserts)) => {
            let is_both = |text: &&String| deletes.iter().any(|other| is_same_word(text, other));
            if let Some(text) = upserts.iter().find(is_both) {
                let span = raw.upsert.as_ref().map_or(0..0, Spanned::span);
                let message = format!("{text:?} is in operation.delete too; remove one of the two");
                return Err(source.error(&span, "operation.upsert", message));
            }
            Operation {
                deletes,
                upserts,
                ..usual
            }
        }
    })
}

fn without(mut words: Vec<String>, others: &[String]) -> Vec<String> {
    words.retain(|word| !others.iter().any(|other| is_same_word(word, other)));
    words
}

/// Checks that everything a file without header must have has a position, if anything has one.
pub(super) fn check_positions(
    source: &DefinitionText<'_>,
    dataset: &Dataset,
    fields: &Spanned<Vec<RawField>>,
) -> Result<(), InvalidDefinition> {
    if dataset.csv.header_records > 0 || dataset.last_position().is_none() {
        return Ok(());
    }
    let needs = |field: &&Field| field.required && field.default.is_none();
    let mut without = dataset.fields.iter().filter(needs);
    let rule = "must have a position, because others have one and csv.header is false";
    if let Some(field) = without.find(|field| field.position.is_none()) {
        return Err(source.error(&fields.span(), &field.name, rule));
    }
    if dataset
        .operation
        .as_ref()
        .is_some_and(|operation| operation.position.is_none())
    {
        return Err(source.error(&fields.span(), "operation.position", rule));
    }
    Ok(())
}

/// Checks that a dataset that is merged by column has a column to merge.
pub(super) fn check_mode(
    source: &DefinitionText<'_>,
    dataset: &Dataset,
    fields: &Spanned<Vec<RawField>>,
) -> Result<(), InvalidDefinition> {
    if dataset.mode == Mode::Merge && dataset.fields.len() == dataset.key_indexes().len() {
        let message = "mode = \"merge\" needs a field outside the key; use mode = \"upsert\"";
        return Err(source.error(&fields.span(), "mode", message));
    }
    Ok(())
}
