//! The fields of a definition, and its key.

use std::collections::HashSet;

use serde::Deserialize;
use toml::Spanned;

use super::source::{DatasetError, Source};
use crate::dataset::{Field, MAX_FIELDS, MAX_INDEXES, NAME_RULE, is_name, is_system_column};
use crate::value::{FieldType, Value};

/// The maximum number of fields of a key.
const MAX_KEY_FIELDS: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawField {
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

pub(super) fn check_fields(
    source: &Source<'_>,
    raw: &Spanned<Vec<RawField>>,
    nulls: Option<&[String]>,
) -> Result<Vec<Field>, DatasetError> {
    if raw.get_ref().is_empty() || raw.get_ref().len() > MAX_FIELDS {
        let message = format!("a dataset must have 1 to {MAX_FIELDS} fields");
        return Err(source.error(&raw.span(), "fields", message));
    }
    let mut fields: Vec<Field> = Vec::with_capacity(raw.get_ref().len());
    let mut names = HashSet::new();
    let mut columns = HashSet::new();
    let mut indexes = 0;
    for raw in raw.get_ref() {
        let field = check_field(source, raw, nulls)?;
        let span = raw.name.span();
        if !names.insert(field.name.clone()) {
            let message = "two fields have this name; rename one";
            return Err(source.error(&span, &field.name, message));
        }
        if !columns.insert(field.column.clone()) {
            let span = raw.column.as_ref().map_or(span, Spanned::span);
            let message = format!("two fields have the column {:?}", field.column);
            return Err(source.error(&span, &field.name, message));
        }
        if let Some(index) = raw.index.as_ref().filter(|index| *index.get_ref()) {
            indexes += 1;
            if indexes > MAX_INDEXES {
                let message = format!("at most {MAX_INDEXES} fields can have an index");
                return Err(source.error(&index.span(), &field.name, message));
            }
        }
        fields.push(field);
    }
    Ok(fields)
}

fn check_field(
    source: &Source<'_>,
    raw: &RawField,
    nulls: Option<&[String]>,
) -> Result<Field, DatasetError> {
    let name = raw.name.get_ref();
    if !is_name(name) {
        let message = format!("the name {NAME_RULE}");
        return Err(source.error(&raw.name.span(), name, message));
    }
    if is_system_column(name) {
        let message = format!(
            "PostgreSQL reserves this column name; rename the field and set column = {name:?}"
        );
        return Err(source.error(&raw.name.span(), name, message));
    }
    let mut field = Field::new(name, raw.kind);
    field.required = raw.required;
    if let Some(column) = &raw.column {
        if column.get_ref().is_empty() {
            let message =
                "the name of the column is empty; leave column out if it is that of the field";
            return Err(source.error(&column.span(), name, message));
        }
        field.column.clone_from(column.get_ref());
    }
    if let Some(nulls) = raw.nulls.as_deref().or(nulls) {
        field.nulls = nulls.to_vec();
    }
    if let Some(pattern) = &raw.format {
        if !matches!(raw.kind, FieldType::Date | FieldType::Timestamp) {
            let message = "only dates and timestamps can have a format";
            return Err(source.error(&pattern.span(), name, message));
        }
        // jiff cannot parse with a pattern that it cannot format with.
        if jiff::fmt::strtime::format(pattern.get_ref(), &jiff::Zoned::default()).is_err() {
            let message = format!(
                "{:?} is not a strptime pattern like \"%d/%m/%Y\"",
                pattern.get_ref()
            );
            return Err(source.error(&pattern.span(), name, message));
        }
        field.pattern = Some(pattern.get_ref().clone());
    }
    if let Some(index) = &raw.index {
        field.indexed = *index.get_ref();
        if field.indexed && !raw.kind.is_ordered() {
            let message = "a JSON field cannot have an index; remove index = true";
            return Err(source.error(&index.span(), name, message));
        }
    }
    if let Some(default) = &raw.default {
        field.default = Some(check_default(source, &field, default)?);
    }
    Ok(field)
}

fn check_default(
    source: &Source<'_>,
    field: &Field,
    default: &Spanned<toml::Value>,
) -> Result<Value, DatasetError> {
    let error = |message: String| source.error(&default.span(), &field.name, message);
    let text = match default.get_ref() {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(boolean) => boolean.to_string(),
        toml::Value::Datetime(time) => time.to_string(),
        toml::Value::Array(_) | toml::Value::Table(_) => {
            let message = "write a JSON default as text, like '{\"a\": 1}'";
            return Err(error(message.to_owned()));
        }
    };
    field
        .parse(&text)
        .map_err(|cause| error(format!("the default {cause}")))
}

/// Returns the indexes of the key fields, which become required.
pub(super) fn check_key(
    source: &Source<'_>,
    raw: &Spanned<Vec<Spanned<String>>>,
    fields: &mut [Field],
) -> Result<Vec<usize>, DatasetError> {
    if raw.get_ref().is_empty() || raw.get_ref().len() > MAX_KEY_FIELDS {
        let message = format!("a key must have 1 to {MAX_KEY_FIELDS} fields");
        return Err(source.error(&raw.span(), "key", message));
    }
    let mut key = Vec::new();
    for part in raw.get_ref() {
        let name = part.get_ref();
        let Some(index) = fields.iter().position(|field| field.name == *name) else {
            return Err(source.error(&part.span(), "key", format!("no field is named {name:?}")));
        };
        let field = &mut fields[index];
        if !field.kind.can_be_key() {
            let message = format!("a {} field cannot be part of a key", field.kind.as_str());
            return Err(source.error(&part.span(), name, message));
        }
        if key.contains(&index) {
            return Err(source.error(&part.span(), name, "the key contains this field twice"));
        }
        field.required = true;
        key.push(index);
    }
    Ok(key)
}
