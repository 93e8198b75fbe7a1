//! The TOML of totals and of the operation, and its checks.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use toml::Spanned;

use crate::dataset::is_name;
use crate::raw_dataset::{NAME_RULE, Source};
use crate::{DatasetError, Field, FieldType, Measure, Operation, Total, TotalColumn};

/// The most totals of a dataset: each of them is work for every chunk.
const MAX_TOTALS: usize = 16;
/// The most columns of one.
const MAX_COLUMNS: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOperation {
    column: Spanned<String>,
    delete: Option<Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTotal {
    name: Spanned<String>,
    by: Spanned<Vec<Spanned<String>>>,
    columns: Spanned<BTreeMap<Spanned<String>, Spanned<String>>>,
}

pub(crate) fn check_operation(
    source: &Source<'_>,
    raw: Option<&RawOperation>,
    fields: &[Field],
) -> Result<Option<Operation>, DatasetError> {
    let Some(raw) = raw else {
        return Ok(None);
    };
    let column = raw.column.get_ref();
    let error = |message| source.error(&raw.column.span(), "operation.column", message);
    if column.is_empty() {
        return Err(error("the column's name is empty"));
    }
    if fields.iter().any(|field| field.column == *column) {
        return Err(error("a field has this column: take the field away"));
    }
    let deletes = match &raw.delete {
        None => ["delete", "d", "DELETE", "D"].map(str::to_owned).to_vec(),
        Some(texts) if texts.get_ref().is_empty() => {
            let message = "names no text that means a delete";
            return Err(source.error(&texts.span(), "operation.delete", message));
        }
        Some(texts) => texts.get_ref().clone(),
    };
    Ok(Some(Operation {
        column: column.clone(),
        deletes,
    }))
}

pub(crate) fn check_totals(
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
        if !is_name(name) || name.starts_with("sqlite_") {
            return error(NAME_RULE);
        }
        if !names.insert(name) {
            return error("a table has this name already");
        }
        if totals.len() == MAX_TOTALS {
            return error("a dataset has at most 16 tables of totals");
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
    if raw.get_ref().is_empty() || raw.get_ref().len() > 8 {
        return Err(source.error(&raw.span(), "totals.by", "names 1 to 8 fields"));
    }
    let mut by = Vec::new();
    for part in raw.get_ref() {
        let name = part.get_ref();
        let error = |message: String| Err(source.error(&part.span(), "totals.by", message));
        let Some(field) = fields.iter().find(|field| field.name == *name) else {
            return error(format!("no field is named {name:?}"));
        };
        if !field.kind.can_be_key() {
            return error(format!("{} makes no groups", field.kind.as_str()));
        }
        if by.contains(name) {
            return error(format!("{name} stands twice"));
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
        let message = format!("has 1 to {MAX_COLUMNS} columns");
        return Err(source.error(&raw.columns.span(), "totals.columns", message));
    }
    let taken: HashSet<&str> = raw
        .by
        .get_ref()
        .iter()
        .map(|by| by.get_ref().as_str())
        .collect();
    let check = |(name, measure): (&Spanned<String>, &Spanned<String>)| {
        if !is_name(name.get_ref()) || crate::dataset::is_system_column(name.get_ref()) {
            return Err(source.error(&name.span(), name.get_ref(), NAME_RULE));
        }
        if taken.contains(name.get_ref().as_str()) {
            return Err(source.error(&name.span(), name.get_ref(), "is a field of by too"));
        }
        Ok(TotalColumn {
            name: name.get_ref().clone(),
            measure: check_measure(measure.get_ref(), fields)
                .map_err(|message| source.error(&measure.span(), name.get_ref(), message))?,
        })
    };
    let mut in_order: Vec<_> = columns.iter().collect();
    in_order.sort_unstable_by_key(|(name, _)| name.span().start);
    in_order.into_iter().map(check).collect()
}

fn check_measure(text: &str, fields: &[Field]) -> Result<Measure, String> {
    if text == "count" {
        return Ok(Measure::Count);
    }
    let (function, field) = text
        .strip_suffix(')')
        .and_then(|text| text.split_once('('))
        .ok_or("is \"count\", or sum, min or max of a field, like \"sum(price)\"")?;
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
        "sum" => Err("only sums of integers and decimals are exact".to_owned()),
        "min" | "max" => {
            Err("min and max are of integers, decimals, dates and timestamps".to_owned())
        }
        _ => Err(format!("{function:?} is not sum, min or max")),
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
    fn totals_operation_and_mode_are_read() {
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
    fn what_cannot_be_kept_exactly_is_refused_with_its_place() {
        for (from, to, start) in [
            (
                "sum(price)",
                "sum(weight)",
                "stock.toml:17: worth: only sums",
            ),
            (
                "min(seen)",
                "min(name)",
                "stock.toml:17: first_seen: min and max",
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
                "stock.toml:17: no_of_products: is",
            ),
            (
                "by = [\"name\"]",
                "by = [\"weight\"]",
                "stock.toml:16: totals.by: float",
            ),
            (
                "by = [\"name\"]",
                "by = []",
                "stock.toml:16: totals.by: names 1 to 8",
            ),
            ("worth", "name", "stock.toml:17: name: is a field of by too"),
            (
                "stock_by_name",
                "stock",
                "stock.toml:15: totals.name: a table",
            ),
            (
                "\"op\"",
                "\"sku\"",
                "stock.toml:5: operation.column: a field",
            ),
            ("[\"gone\"]", "[]", "stock.toml:5: operation.delete: names"),
        ] {
            let error = error_with(from, to);
            assert!(error.starts_with(start), "{error}");
        }
    }
}
