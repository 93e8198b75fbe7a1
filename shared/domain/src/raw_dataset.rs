//! The TOML of a dataset as it is written, and the checks that make a [`Dataset`] of it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::dataset::{MAX_FIELDS, MAX_INDEXES, is_name, is_system_column};
use crate::raw_totals::{self, RawOperation, RawTotal};
use crate::{
    CsvOptions, Dataset, DatasetError, Field, FieldType, Format, JsonOptions, Limits, Mode,
    RejectLimits, UnknownColumns, Value,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDataset {
    name: Spanned<String>,
    key: Spanned<Vec<Spanned<String>>>,
    format: Option<Format>,
    #[serde(default)]
    unknown_columns: UnknownColumns,
    #[serde(default)]
    mode: Mode,
    operation: Option<RawOperation>,
    nulls: Option<Vec<String>>,
    #[serde(default)]
    csv: RawCsv,
    #[serde(default)]
    json: RawJson,
    #[serde(default)]
    limits: RawLimits,
    fields: Spanned<Vec<RawField>>,
    #[serde(default)]
    totals: Vec<RawTotal>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCsv {
    delimiter: Option<Spanned<String>>,
    quote: Option<Spanned<String>>,
    header: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJson {
    path: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    record_bytes: Option<Spanned<u64>>,
    rejects: Option<u64>,
    reject_share: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    name: Spanned<String>,
    #[serde(rename = "type")]
    kind: FieldType,
    #[serde(default)]
    required: bool,
    default: Option<Spanned<toml::Value>>,
    column: Option<Spanned<String>>,
    nulls: Option<Vec<String>>,
    format: Option<Spanned<String>>,
    index: Option<Spanned<bool>>,
}

/// Turns places in the text into errors.
pub(crate) struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    pub(crate) fn error(
        &self,
        span: &Range<usize>,
        field: &str,
        message: impl Into<String>,
    ) -> DatasetError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        DatasetError {
            file: self.file.to_owned(),
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            field: field.to_owned(),
            message: message.into(),
        }
    }

    fn one_byte(&self, setting: &str, text: &Spanned<String>) -> Result<u8, DatasetError> {
        match text.get_ref().as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0) => Ok(*byte),
            _ => Err(self.error(
                &text.span(),
                setting,
                "must be one ASCII character that ends no line",
            )),
        }
    }
}

pub(crate) fn parse(file: &str, text: &str) -> Result<Dataset, DatasetError> {
    let source = Source { file, text };
    let raw: RawDataset = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        source.error(&span, setting_at(text, span.start), error.message().trim())
    })?;

    if !is_name(raw.name.get_ref()) {
        return Err(source.error(&raw.name.span(), "name", NAME_RULE));
    }
    if raw.name.get_ref().starts_with("sqlite_") {
        let message = "must not begin with sqlite_, which SQLite keeps for itself";
        return Err(source.error(&raw.name.span(), "name", message));
    }
    if raw.fields.get_ref().is_empty() || raw.fields.get_ref().len() > MAX_FIELDS {
        let message = format!("a dataset has 1 to {MAX_FIELDS} fields");
        return Err(source.error(&raw.fields.span(), "fields", message));
    }
    let mut fields = Vec::with_capacity(raw.fields.get_ref().len());
    let mut names = HashMap::new();
    let mut columns = HashSet::new();
    for raw_field in raw.fields.get_ref() {
        let field = check_field(&source, raw_field, raw.nulls.as_deref())?;
        let span = raw_field.name.span();
        if names.insert(field.name.clone(), fields.len()).is_some() {
            return Err(source.error(&span, &field.name, "two fields have this name"));
        }
        if !columns.insert(field.column.clone()) {
            let span = raw_field.column.as_ref().map_or(span, Spanned::span);
            return Err(source.error(&span, &field.name, "two fields have this column"));
        }
        fields.push(field);
        if let Some(index) = raw_field.index.as_ref().filter(|index| *index.get_ref())
            && fields.iter().filter(|field| field.indexed).count() > MAX_INDEXES
        {
            let message = format!("at most {MAX_INDEXES} fields have an index");
            return Err(source.error(&index.span(), raw_field.name.get_ref(), message));
        }
    }

    let key = check_key(&source, &raw.key, &names, &mut fields)?;
    let csv = check_csv(&source, &raw.csv)?;
    let json = check_json(&source, &raw.json)?;
    let limits = check_limits(&source, &raw.limits)?;
    let operation = raw_totals::check_operation(&source, raw.operation.as_ref(), &fields)?;
    let totals = raw_totals::check_totals(&source, raw.name.get_ref(), &raw.totals, &fields)?;
    Ok(Dataset {
        name: raw.name.into_inner(),
        format: raw.format,
        unknown_columns: raw.unknown_columns,
        csv,
        json,
        limits,
        mode: raw.mode,
        operation,
        totals,
        fields,
        key,
    })
}

pub(crate) const NAME_RULE: &str =
    "must start with a letter a-z and have only a-z, 0-9 and _, at most 48 characters";

fn check_field(
    source: &Source<'_>,
    raw: &RawField,
    nulls: Option<&[String]>,
) -> Result<Field, DatasetError> {
    let name = raw.name.get_ref();
    if !is_name(name) {
        return Err(source.error(&raw.name.span(), name, format!("the name {NAME_RULE}")));
    }
    if is_system_column(name) {
        let message = "PostgreSQL has a column of this name in every table: give the field another, and this one as its column";
        return Err(source.error(&raw.name.span(), name, message));
    }
    let mut field = Field::new(name, raw.kind);
    field.required = raw.required;
    if let Some(column) = &raw.column {
        if column.get_ref().is_empty() {
            return Err(source.error(&column.span(), name, "the column's name is empty"));
        }
        field.column.clone_from(column.get_ref());
    }
    if let Some(nulls) = raw.nulls.as_deref().or(nulls) {
        field.nulls = nulls.to_vec();
    }
    if let Some(pattern) = &raw.format {
        if !matches!(raw.kind, FieldType::Date | FieldType::Timestamp) {
            let message = "only dates and timestamps have a format";
            return Err(source.error(&pattern.span(), name, message));
        }
        // A pattern that jiff can't even print with can't be read with either.
        if jiff::fmt::strtime::format(pattern.get_ref(), &jiff::Zoned::default()).is_err() {
            let message = "not a strptime pattern like \"%d/%m/%Y\"";
            return Err(source.error(&pattern.span(), name, message));
        }
        field.pattern = Some(pattern.get_ref().clone());
    }
    if let Some(index) = &raw.index {
        field.indexed = *index.get_ref();
        if field.indexed && !raw.kind.is_ordered() {
            return Err(source.error(&index.span(), name, "JSON has no order to index"));
        }
    }
    if let Some(default) = &raw.default {
        let text = match default.get_ref() {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(boolean) => boolean.to_string(),
            toml::Value::Datetime(time) => time.to_string(),
            toml::Value::Array(_) | toml::Value::Table(_) => {
                let message = "write a JSON default as text, like '{\"a\": 1}'";
                return Err(source.error(&default.span(), name, message));
            }
        };
        let value = Value::parse(&field, &text)
            .map_err(|error| source.error(&default.span(), name, format!("the default {error}")))?;
        field.default = Some(value);
    }
    Ok(field)
}

fn check_key(
    source: &Source<'_>,
    raw: &Spanned<Vec<Spanned<String>>>,
    names: &HashMap<String, usize>,
    fields: &mut [Field],
) -> Result<Vec<usize>, DatasetError> {
    if raw.get_ref().is_empty() || raw.get_ref().len() > 8 {
        return Err(source.error(&raw.span(), "key", "a key has 1 to 8 fields"));
    }
    let mut key = Vec::new();
    for part in raw.get_ref() {
        let name = part.get_ref();
        let Some(index) = names.get(name) else {
            return Err(source.error(&part.span(), "key", format!("no field is named {name:?}")));
        };
        let field = &mut fields[*index];
        if !field.kind.can_be_key() {
            let message = format!("{} can't be part of a key", field.kind.as_str());
            return Err(source.error(&part.span(), name, message));
        }
        if key.contains(index) {
            return Err(source.error(&part.span(), name, "stands twice in the key"));
        }
        field.required = true;
        key.push(*index);
    }
    Ok(key)
}

fn check_csv(source: &Source<'_>, raw: &RawCsv) -> Result<CsvOptions, DatasetError> {
    let delimiter = match &raw.delimiter {
        None => None,
        Some(text) => Some(source.one_byte("csv.delimiter", text)?),
    };
    let quote = match &raw.quote {
        None => b'"',
        Some(text) => source.one_byte("csv.quote", text)?,
    };
    // Without a delimiter of its own, a file is comma- or tab-separated.
    if delimiter.map_or(matches!(quote, b',' | b'\t'), |delimiter| {
        delimiter == quote
    }) {
        let span = raw.quote.as_ref().map_or(0..0, Spanned::span);
        return Err(source.error(&span, "csv.quote", "is the delimiter too"));
    }
    Ok(CsvOptions {
        delimiter,
        quote,
        header: raw.header.unwrap_or(true),
    })
}

fn check_json(source: &Source<'_>, raw: &RawJson) -> Result<JsonOptions, DatasetError> {
    let Some(path) = &raw.path else {
        return Ok(JsonOptions::default());
    };
    let names: Vec<String> = path.get_ref().split('.').map(str::to_owned).collect();
    if names.len() > 16 || names.iter().any(String::is_empty) {
        let message = "must be 1 to 16 property names with dots between, like \"data.items\"";
        return Err(source.error(&path.span(), "json.path", message));
    }
    Ok(JsonOptions { path: names })
}

fn check_limits(source: &Source<'_>, raw: &RawLimits) -> Result<Limits, DatasetError> {
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

/// The name of the setting on the line of this byte, or `syntax` where there is none.
fn setting_at(text: &str, byte: usize) -> &str {
    let start = text
        .get(..byte)
        .map_or(0, |before| before.rfind('\n').map_or(0, |at| at + 1));
    let line = text[start..].lines().next().unwrap_or_default();
    let name = line.split(['=', ' ']).next().unwrap_or_default().trim();
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'[' | b']');
    if !name.is_empty() && name.bytes().all(plain) {
        name.trim_matches(['[', ']'])
    } else {
        "syntax"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCTS: &str = r#"
name = "products"
key = ["sku"]

[[fields]]
name = "sku"
type = "text"

[[fields]]
name = "price"
type = "decimal"
default = 0.5
"#;

    fn error_of(text: &str) -> String {
        Dataset::from_toml("products.toml", text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_definition_is_read() {
        let dataset = Dataset::from_toml("products.toml", PRODUCTS).unwrap();
        assert_eq!(dataset.name, "products");
        assert_eq!(dataset.key_indexes(), [0]);
        assert!(dataset.fields[0].required);
        assert!(dataset.fields[1].default.is_some());
        assert_eq!(dataset.unknown_columns, UnknownColumns::Keep);
    }

    #[test]
    fn names_that_databases_keep_for_themselves_are_refused() {
        let field = error_of(&PRODUCTS.replace("\"price\"", "\"xmin\""));
        assert!(field.starts_with("products.toml:10: xmin: "), "{field}");
        let name = error_of(&PRODUCTS.replace("\"products\"", "\"sqlite_products\""));
        assert!(name.starts_with("products.toml:2: name: "), "{name}");
    }

    #[test]
    fn errors_name_file_line_and_field() {
        let with = |from: &str, to: &str| error_of(&PRODUCTS.replace(from, to));
        for (error, start) in [
            (
                with("\"products\"", "\"Products\""),
                "products.toml:2: name: ",
            ),
            (
                with("[\"sku\"]", "[\"id\"]"),
                "products.toml:3: key: no field is named \"id\"",
            ),
            (with("\"decimal\"", "\"money\""), "products.toml:11: type: "),
            (
                with("0.5", "\"cheap\""),
                "products.toml:12: price: the default \"cheap\" is not",
            ),
            (with("[\"sku\"]", "[\"sku\""), "products.toml:"),
            (
                with("type = \"text\"", "type = \"text\"\ntyp = 1"),
                "products.toml:8: typ: ",
            ),
            (
                with("name = \"price\"", "name = \"sku\""),
                "products.toml:10: sku: two fields",
            ),
            (
                with("\"text\"", "\"float\""),
                "products.toml:3: sku: float can't be part of a key",
            ),
            (
                with("default = 0.5", "format = \"%Y\""),
                "products.toml:12: price: only dates",
            ),
            (
                with("\"decimal\"\ndefault = 0.5", "\"json\"\nindex = true"),
                "products.toml:12: price: JSON has no order",
            ),
            (
                with("[\"sku\"]\n", "[\"sku\"]\ncsv.delimiter = \"ab\"\n"),
                "products.toml:4: csv.delimiter: ",
            ),
            (
                with("[\"sku\"]\n", "[\"sku\"]\nlimits.reject_share = 2.0\n"),
                "products.toml:4: limits.reject_share: ",
            ),
        ] {
            assert!(error.starts_with(start), "{error}");
        }
    }
}
