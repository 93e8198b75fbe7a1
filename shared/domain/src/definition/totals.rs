//! The tables of totals of a definition.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use toml::Spanned;

use super::source::{DatasetError, Source};
use crate::dataset::{
    Field, Measure, NAME_RULE, Total, TotalColumn, check_table_name, is_name, is_system_column,
};
use crate::value::FieldType;

/// The maximum number of tables of totals. Every chunk updates each of them.
const MAX_TOTALS: usize = 16;
/// The maximum number of columns of a table of totals.
const MAX_COLUMNS: usize = 32;
/// The maximum number of fields that form a group.
const MAX_GROUP_FIELDS: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTotal {
    name: Spanned<String>,
    by: Spanned<Vec<Spanned<String>>>,
    columns: Spanned<BTreeMap<Spanned<String>, Spanned<String>>>,
}

pub(super) fn check_totals(
    source: &Source<'_>,
    dataset: &str,
    raw: &[RawTotal],
    fields: &[Field],
) -> Result<Vec<Total>, DatasetError> {
    let mut names = HashSet::from([dataset]);
    let mut totals = Vec::with_capacity(raw.len());
    for raw in raw {
        let name = raw.name.get_ref();
        let error = |message: &str| Err(source.error(&raw.name.span(), "totals.name", message));
        if let Err(rule) = check_table_name(name) {
            return error(rule);
        }
        if !names.insert(name) {
            return error("another table already has this name");
        }
        if totals.len() == MAX_TOTALS {
            return error(&format!(
                "a dataset can have at most {MAX_TOTALS} tables of totals"
            ));
        }
        totals.push(Total {
            name: name.clone(),
            by: check_by(source, &raw.by, fields)?,
            columns: check_columns(source, raw, fields)?,
        });
    }
    Ok(totals)
}

fn check_by(
    source: &Source<'_>,
    raw: &Spanned<Vec<Spanned<String>>>,
    fields: &[Field],
) -> Result<Vec<String>, DatasetError> {
    if raw.get_ref().is_empty() || raw.get_ref().len() > MAX_GROUP_FIELDS {
        let message = format!("must name 1 to {MAX_GROUP_FIELDS} fields");
        return Err(source.error(&raw.span(), "totals.by", message));
    }
    let mut by = Vec::new();
    for part in raw.get_ref() {
        let name = part.get_ref();
        let error = |message: String| Err(source.error(&part.span(), "totals.by", message));
        let Some(field) = fields.iter().find(|field| field.name == *name) else {
            return error(format!("no field is named {name:?}"));
        };
        if !field.kind.can_be_key() {
            return error(format!(
                "rows cannot be grouped by a {} field",
                field.kind.as_str()
            ));
        }
        if by.contains(name) {
            return error(format!("{name} is listed twice"));
        }
        by.push(name.clone());
    }
    Ok(by)
}

fn check_columns(
    source: &Source<'_>,
    raw: &RawTotal,
    fields: &[Field],
) -> Result<Vec<TotalColumn>, DatasetError> {
    let columns = raw.columns.get_ref();
    if columns.is_empty() || columns.len() > MAX_COLUMNS {
        let message = format!("must have 1 to {MAX_COLUMNS} columns");
        return Err(source.error(&raw.columns.span(), "totals.columns", message));
    }
    let group: HashSet<&str> = raw
        .by
        .get_ref()
        .iter()
        .map(|by| by.get_ref().as_str())
        .collect();
    let check = |(name, measure): (&Spanned<String>, &Spanned<String>)| {
        let error = |message: &str| Err(source.error(&name.span(), name.get_ref(), message));
        if !is_name(name.get_ref()) {
            return error(NAME_RULE);
        }
        if is_system_column(name.get_ref()) {
            return error("PostgreSQL reserves this column name; choose another");
        }
        if group.contains(name.get_ref().as_str()) {
            return error("by has a field of this name; choose another name for the column");
        }
        Ok(TotalColumn {
            name: name.get_ref().clone(),
            measure: check_measure(measure.get_ref(), fields)
                .map_err(|message| source.error(&measure.span(), name.get_ref(), message))?,
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

#[cfg(test)]
mod tests {
    use crate::{Dataset, Measure, Mode};

    const STOCK: &str = r#"
name = "stock"
mode = "snapshot"
key = ["sku"]
operation = { column = "op", delete = ["gone"] }
fields = [
    { name = "sku", type = "text" },
    { name = "name", type = "text" },
    { name = "price", type = "decimal" },
    { name = "weight", type = "float" },
    { name = "seen", type = "date" },
]

[[totals]]
name = "stock_by_name"
by = ["name"]
columns = { no_of_products = "count", worth = "sum(price)", first_seen = "min(seen)" }
"#;

    fn error_with(from: &str, to: &str) -> String {
        assert!(STOCK.contains(from));
        Dataset::from_toml("stock.toml", &STOCK.replace(from, to))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn totals_operation_and_mode_are_parsed() {
        let dataset = Dataset::from_toml("stock.toml", STOCK).unwrap();
        assert_eq!(dataset.mode, Mode::Snapshot);
        assert!(dataset.operation.unwrap().is_delete("gone"));
        let total = &dataset.totals[0];
        assert_eq!(total.by, ["name"]);
        let columns: Vec<_> = total
            .columns
            .iter()
            .map(|column| (column.name.as_str(), &column.measure))
            .collect();
        assert_eq!(
            columns,
            [
                ("no_of_products", &Measure::Count),
                ("worth", &Measure::Sum("price".to_owned())),
                ("first_seen", &Measure::Min("seen".to_owned())),
            ]
        );
    }

    #[test]
    fn invalid_totals_and_operations_are_refused_with_their_line() {
        for (from, to, start) in [
            (
                "sum(price)",
                "sum(weight)",
                "stock.toml:17: worth: weight is neither",
            ),
            (
                "min(seen)",
                "min(name)",
                "stock.toml:17: first_seen: name is neither",
            ),
            (
                "sum(price)",
                "sum(cost)",
                "stock.toml:17: worth: no field is named",
            ),
            (
                "sum(price)",
                "avg(price)",
                "stock.toml:17: worth: \"avg\" is not",
            ),
            (
                "\"count\"",
                "\"number\"",
                "stock.toml:17: no_of_products: must be",
            ),
            (
                "by = [\"name\"]",
                "by = [\"weight\"]",
                "stock.toml:16: totals.by: rows cannot be grouped by a float",
            ),
            (
                "by = [\"name\"]",
                "by = []",
                "stock.toml:16: totals.by: must name 1 to 8",
            ),
            ("worth", "name", "stock.toml:17: name: by has a field"),
            (
                "stock_by_name",
                "stock",
                "stock.toml:15: totals.name: another table",
            ),
            (
                "\"op\"",
                "\"sku\"",
                "stock.toml:5: operation.column: the field sku",
            ),
            (
                "[\"gone\"]",
                "[]",
                "stock.toml:5: operation.delete: must list",
            ),
        ] {
            let error = error_with(from, to);
            assert!(error.starts_with(start), "{error}");
        }
    }
}
