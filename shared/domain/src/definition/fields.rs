//! The fields of a definition, and its key.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::notation::{self, RawNotation, raw_notation};
use super::text::{DefinitionText, InvalidDefinition};
use crate::dataset::{
    Field, MAX_FIELDS, MAX_INDEXES, MAX_POSITION, NAME_RULE, is_name, is_system_column,
};
use crate::value::{FieldType, Fold, Value};

/// The maximum number of fields that identify a row or a group.
const MAX_NAMES: usize = 8;

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
    position: Option<Spanned<u32>>,
    nulls: Option<Vec<String>>,
    format: Option<Spanned<String>>,
    index: Option<Spanned<bool>>,
    timezone: Option<Spanned<String>>,
    fold: Option<Spanned<Fold>>,
    decimal: Option<Spanned<String>>,
    thousands: Option<Spanned<String>>,
    currency: Option<Spanned<String>>,
    accounting: Option<Spanned<bool>>,
    true_values: Option<Spanned<Vec<String>>>,
    false_values: Option<Spanned<Vec<String>>>,
}

pub(super) fn check_fields(
    source: &DefinitionText<'_>,
    raw: &Spanned<Vec<RawField>>,
    nulls: Option<&[String]>,
    of_dataset: RawNotation<'_>,
) -> Result<Vec<Field>, InvalidDefinition> {
    if raw.get_ref().is_empty() || raw.get_ref().len() > MAX_FIELDS {
        let message = format!("a dataset must have 1 to {MAX_FIELDS} fields");
        return Err(source.error(&raw.span(), "fields", message));
    }
    let mut fields: Vec<Field> = Vec::with_capacity(raw.get_ref().len());
    for raw in raw.get_ref() {
        let field = check_field(source, raw, nulls, of_dataset)?;
        let error = |span, message| Err(source.error(&span, &field.name, message));
        if fields.iter().any(|other| other.name == field.name) {
            let message = "two fields have this name; rename one".to_owned();
            return error(raw.name.span(), message);
        }
        if fields.iter().any(|other| other.column == field.column) {
            let message = format!("two fields have the column {:?}", field.column);
            return error(raw.column.as_ref().unwrap_or(&raw.name).span(), message);
        }
        if let Some(position) = &raw.position
            && let Some(other) = fields.iter().find(|other| other.position == field.position)
        {
            let message = format!("the field {} has this position, too", other.name);
            return error(position.span(), message);
        }
        if let Some(index) = raw.index.as_ref().filter(|_| field.indexed)
            && fields.iter().filter(|field| field.indexed).count() == MAX_INDEXES
        {
            let message = format!("at most {MAX_INDEXES} fields can have an index");
            return error(index.span(), message);
        }
        fields.push(field);
    }
    Ok(fields)
}

fn check_field(
    source: &DefinitionText<'_>,
    raw: &RawField,
    nulls: Option<&[String]>,
    of_dataset: RawNotation<'_>,
) -> Result<Field, InvalidDefinition> {
    let name = raw.name.get_ref();
    source.check(name, &raw.name, |name| {
        if !is_name(name) {
            let column = crate::excerpt(name);
            Err(format!(
                "the name {NAME_RULE}; for another name in files, set column = {column:?}"
            ))
        } else if is_system_column(name) {
            Err(format!(
                "PostgreSQL reserves this column name; rename the field and set column = {name:?}"
            ))
        } else {
            Ok(())
        }
    })?;
    let mut field = Field::new(name, raw.kind);
    field.required = raw.required;
    if let Some(column) = &raw.column {
        field.column = source.check(name, column, |column| match column.as_str() {
            "" => {
                Err("the name of the column is empty; leave column out if it is that of the field")
            }
            column => Ok(column.to_owned()),
        })?;
    }
    field.position = check_position(source, name, raw.position.as_ref())?;
    let nulls = raw.nulls.as_deref().or(nulls);
    if let Some(nulls) = nulls {
        field.nulls = nulls.to_vec();
        if raw.kind != FieldType::Text {
            let nulls = field.nulls.iter_mut();
            nulls.for_each(|null| *null = null.trim().to_owned());
        }
    }
    let explicit_nulls = nulls.unwrap_or_default();
    let own = raw_notation!(raw);
    field.notation = notation::check_field(source, &field, own, of_dataset, explicit_nulls)?;
    field.notation.time.format = notation::check_format(source, &field, raw.format.as_ref())?;
    if let (Some(words), None) = (&field.notation.boolean, nulls) {
        // The empty text means null only if it does not mean true or false.
        let is_word = |null: &String| words.yes.contains(null) || words.no.contains(null);
        field.nulls.retain(|null| !is_word(null));
    }
    let indexed = source.check_optional(name, raw.index.as_ref(), |indexed| {
        if *indexed && raw.kind == FieldType::Json {
            return Err("a JSON field cannot have an index; remove index = true");
        }
        Ok(*indexed)
    })?;
    field.indexed = indexed.unwrap_or(false);
    field.default = source.check_optional(name, raw.default.as_ref(), |default| {
        parse_default(&field, default)
    })?;
    Ok(field)
}

/// Returns the position of a field or of the operation.
pub(super) fn check_position(
    source: &DefinitionText<'_>,
    setting: &str,
    raw: Option<&Spanned<u32>>,
) -> Result<Option<u32>, InvalidDefinition> {
    source.check_optional(setting, raw, |position| match *position {
        position @ 1..=MAX_POSITION => Ok(position),
        _ => Err(format!(
            "the position must be from 1, for the first column, to {MAX_POSITION}"
        )),
    })
}

/// Parses a default: a text as files contain it, or a value of TOML, whose form does not depend on files.
fn parse_default(field: &Field, default: &toml::Value) -> Result<Value, String> {
    let parsed = match default {
        toml::Value::String(text) => field.parse(text),
        toml::Value::Integer(number) => Value::from_text(field.kind, &number.to_string()),
        toml::Value::Float(number) => Value::from_text(field.kind, &number.to_string()),
        toml::Value::Boolean(boolean) => Value::from_text(field.kind, &boolean.to_string()),
        toml::Value::Datetime(time) => {
            let mut notation = field.notation.clone();
            notation.time.format = None;
            Value::parse(field.kind, &notation, &time.to_string(), &mut false)
        }
        toml::Value::Array(_) | toml::Value::Table(_) => {
            return Err("write a JSON default as text, like '{\"a\": 1}'".to_owned());
        }
    };
    parsed.map_err(|cause| format!("the default {cause}"))
}

/// Returns the indexes of the fields whose values identify a row or a group.
pub(super) fn check_names(
    source: &DefinitionText<'_>,
    setting: &str,
    (span, names): (&Range<usize>, &[Spanned<String>]),
    fields: &[Field],
) -> Result<Vec<usize>, InvalidDefinition> {
    if !(1..=MAX_NAMES).contains(&names.len()) {
        let message = format!("must name 1 to {MAX_NAMES} fields");
        return Err(source.error(span, setting, message));
    }
    let mut indexes = Vec::new();
    for name in names {
        let index = source.check(setting, name, |name| {
            let index = fields.iter().position(|field| field.name == *name);
            let index = index.ok_or_else(|| format!("no field is named {name:?}"))?;
            let kind = fields[index].kind;
            if !kind.can_be_key() {
                let kind = kind.as_str();
                return Err(format!(
                    "{name} is a {kind} field, which cannot identify rows"
                ));
            }
            if indexes.contains(&index) {
                return Err(format!("{name} is listed twice"));
            }
            Ok(index)
        })?;
        indexes.push(index);
    }
    Ok(indexes)
}
