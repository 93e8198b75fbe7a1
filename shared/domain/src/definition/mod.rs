//! Definitions of datasets: parses their TOML and checks it.

mod child;
mod fields;
mod key;
mod notation;
mod order;
#[cfg(test)]
mod page_tests;
mod search;
mod settings;
mod suggest;
#[cfg(test)]
mod tests;
mod text;
mod totals;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use crate::dataset::{Dataset, Format, Mode, UnknownColumns, check_table_name};
use crate::value::Fold;
use fields::RawField;
use key::RawKey;
use notation::{RawNotation, raw_notation};
use settings::{RawCsv, RawJson, RawLimits, RawOperation};
use totals::RawTotal;

pub use suggest::{Tables, settings_of};
pub use text::{DefinitionText, InvalidDefinition};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDataset {
    name: Spanned<String>,
    key: Spanned<RawKey>,
    format: Option<Format>,
    encoding: Option<Spanned<String>>,
    #[serde(default)]
    unknown_columns: UnknownColumns,
    #[serde(default)]
    mode: Mode,
    order: Option<Spanned<String>>,
    search: Option<Spanned<Vec<String>>>,
    token: Option<Spanned<String>>,
    parent: Option<Spanned<String>>,
    number: Option<Spanned<String>>,
    count_in_parent: Option<Spanned<String>>,
    max_delete_share: Option<Spanned<f64>>,
    operation: Option<RawOperation>,
    nulls: Option<Vec<String>>,
    timezone: Option<Spanned<String>>,
    fold: Option<Spanned<Fold>>,
    decimal: Option<Spanned<String>>,
    thousands: Option<Spanned<String>>,
    currency: Option<Spanned<String>>,
    accounting: Option<Spanned<bool>>,
    true_values: Option<Spanned<Vec<String>>>,
    false_values: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    csv: RawCsv,
    #[serde(default)]
    json: RawJson,
    #[serde(default)]
    limits: RawLimits,
    fields: Spanned<Vec<RawField>>,
    #[serde(default)]
    totals: Vec<RawTotal>,
    /// Webhooks, which are not a part of the dataset: the relay reads and checks them.
    #[expect(dead_code, reason = "it is only allowed to be there")]
    notify: Option<IgnoredAny>,
}

impl Dataset {
    /// Parses a definition. `file` is the name of the file in errors.
    ///
    /// # Errors
    /// The first mistake in the definition, with its line.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, InvalidDefinition> {
        let source = DefinitionText { file, text };
        let raw: RawDataset = source.parse(suggest::TABLES)?;
        source.check("name", &raw.name, |name| check_table_name(name))?;
        let of_dataset = raw_notation!(raw);
        notation::check_dataset(&source, of_dataset)?;
        let nulls = raw.nulls.as_deref();
        let mut fields = fields::check_fields(&source, &raw.fields, nulls, of_dataset)?;
        let key = key::check_key(&source, &raw, &fields)?;
        for index in &key {
            fields[*index].required = true;
            fields[*index].notation.time.is_exact = true;
        }
        let order = source.check_optional("order", raw.order.as_ref(), |name| {
            order::check_order(name, raw.mode, &fields, &key)
        })?;
        let search = source.check_optional("search", raw.search.as_ref(), |names| {
            search::check_search(names, &fields, &key)
        })?;
        let (token, child) = child::check_family(&source, &raw, &fields, &key)?;
        let csv = settings::check_csv(&source, &raw.csv)?;
        let json = settings::check_json(&source, &raw.json)?;
        let encoding = settings::check_encoding(&source, raw.encoding.as_ref(), &csv)?;
        let limits = settings::check_limits(&source, &raw.limits)?;
        let max_delete_share =
            settings::check_max_delete_share(&source, raw.max_delete_share.as_ref(), raw.mode)?;
        let operation = raw.operation.as_ref();
        let operation = operation
            .map(|operation| settings::check_operation(&source, operation, &fields))
            .transpose()?;
        let totals = totals::check_totals(&source, raw.name.get_ref(), &raw.totals, &fields)?;
        let mut dataset = Self {
            name: raw.name.into_inner(),
            format: raw.format,
            encoding,
            unknown_columns: raw.unknown_columns,
            csv,
            json,
            limits,
            mode: raw.mode,
            max_delete_share,
            operation,
            totals,
            token,
            child,
            fields,
            key,
            order,
            search: search.unwrap_or_default(),
            by_place: false,
        };
        child::add_count(
            &source,
            raw.count_in_parent.as_ref(),
            &mut dataset,
            totals::MAX_TOTALS,
        )?;
        settings::check_positions(&source, &dataset, &raw.fields)?;
        settings::check_mode(&source, &dataset, &raw.fields)?;
        Ok(if dataset.key.is_empty() {
            dataset.with_place()
        } else {
            dataset
        })
    }
}
