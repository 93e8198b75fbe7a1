//! The tables of totals of a definition.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use toml::Spanned;

use super::fields::check_names;
use super::text::{DefinitionText, InvalidDefinition};
use crate::dataset::{
    Field, Measure, NAME_RULE, Total, TotalColumn, check_table_name, is_name, is_system_column,
};
use crate::value::FieldType;

/// The maximum number of tables of totals. Every chunk updates each of them.
pub(super) const MAX_TOTALS: usize = 16;
/// The maximum number of columns of a table of totals.
const MAX_COLUMNS: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTotal {
    name: Spanned<String>,
    by: Spanned<Vec<Spanned<String>>>,
    columns: Spanned<BTreeMap<Spanned<String>, Spanned<String>>>,
}

pub(super) fn check_totals(
    source: &DefinitionText<'_>,
    dataset: &str,
    raw: &[RawTotal],
    fields: &[Field],
) -> Result<Vec<Total>, InvalidDefinition> {
    let mut names = HashSet::from([dataset]);
    let mut totals = Vec::with_capacity(raw.len());
    for raw in raw {
        let name = source.check("totals.name", &raw.name, |name| {
            check_table_name(name)?;
            if !names.insert(name) {
                return Err("another table already has this name".to_owned());
            }
            if totals.len() == MAX_TOTALS {
                return Err(format!(
                    "a dataset can have at most {MAX_TOTALS} tables of totals"
                ));
            }
            Ok(name.clone())
        })?;
        let by = check_names(
            source,
            "totals.by",
            (&raw.by.span(), raw.by.get_ref()),
            fields,
        )?;
        let by = by.into_iter().map(|index| fields[index].name.clone());
        totals.push(Total {
            name,
            by: by.collect(),
            columns: check_columns(source, raw, fields)?,
        });
    }
    Ok(totals)
}

fn check_columns(
    source: &DefinitionText<'_>,
    raw: &RawTotal,
    fields: &[Field],
) -> Result<Vec<TotalColumn>, InvalidDefinition> {
    let columns = source.check("totals.columns", &raw.columns, |columns| {
        match columns.len() {
            1..=MAX_COLUMNS => Ok(columns),
            _ => Err(format!("must have 1 to {MAX_COLUMNS} columns")),
        }
    })?;
    let check = |(name, measure): (&Spanned<String>, &Spanned<String>)| {
        let checked = source.check(name.get_ref(), name, |name| {
            if !is_name(name) {
                Err(NAME_RULE)
            } else if is_system_column(name) {
                Err("PostgreSQL reserves this column name; choose another")
            } else if raw.by.get_ref().iter().any(|by| by.get_ref() == name) {
                Err("by has a field of this name; choose another name for the column")
            } else {
                Ok(name.clone())
            }
        })?;
        let measure = source.check(&checked, measure, |text| check_measure(text, fields))?;
        Ok(TotalColumn {
            name: checked,
            measure,
        })
    };
    let mut columns: Vec<_> = columns.iter().collect();
    columns.sort_unstable_by_key(|(name, _)| name.span().start);
    columns.into_iter().map(check).collect()
}

fn check_measure(text: &str, fields: &[Field]) -> Result<Measure, String> {
    if text == "count" {
        return Ok(Measure::Count);
    }
    let (function, field) = text
        .strip_suffix(')')
        .and_then(|text| text.split_once('('))
        .ok_or("must be \"count\", or sum, min or max of a field, like \"sum(price)\"")?;
    let Some(field) = fields.iter().find(|known| known.name == field) else {
        return Err(format!("no field is named {field:?}"));
    };
    let name = field.name.clone();
    let is_number = matches!(field.kind, FieldType::Integer | FieldType::Decimal);
    let is_time = matches!(field.kind, FieldType::Date | FieldType::Timestamp);
    match function {
        "sum" if is_number => Ok(Measure::Sum(name)),
        "min" if is_number || is_time => Ok(Measure::Min(name)),
        "max" if is_number || is_time => Ok(Measure::Max(name)),
        "sum" => Err(format!(
            "{name} is neither integer nor decimal, so its sum is not exact"
        )),
        "min" | "max" => Err(format!(
            "{name} is neither integer, decimal, date nor timestamp, so it has no {function}"
        )),
        _ => Err(format!(
            "{function:?} is not a function; use sum, min or max"
        )),
    }
}
