//! Definitions of datasets: parses their TOML and checks it.

mod fields;
mod settings;
mod source;
mod totals;

use serde::Deserialize;
use toml::Spanned;

use crate::dataset::{Dataset, Format, Mode, UnknownColumns, check_table_name};
use fields::RawField;
use settings::{RawCsv, RawJson, RawLimits, RawOperation};
use source::Source;
use totals::RawTotal;

pub use source::DatasetError;

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

impl Dataset {
    /// Parses a definition. `file` is the name of the file in errors.
    ///
    /// # Errors
    /// The first mistake in the definition, with its line.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, DatasetError> {
        let source = Source { file, text };
        let raw: RawDataset = toml::from_str(text).map_err(|error| source.syntax_error(&error))?;
        check_table_name(raw.name.get_ref())
            .map_err(|rule| source.error(&raw.name.span(), "name", rule))?;
        let mut fields = fields::check_fields(&source, &raw.fields, raw.nulls.as_deref())?;
        let key = fields::check_key(&source, &raw.key, &mut fields)?;
        let csv = settings::check_csv(&source, &raw.csv)?;
        let json = settings::check_json(&source, &raw.json)?;
        let limits = settings::check_limits(&source, &raw.limits)?;
        let operation = match &raw.operation {
            None => None,
            Some(operation) => Some(settings::check_operation(&source, operation, &fields)?),
        };
        let totals = totals::check_totals(&source, raw.name.get_ref(), &raw.totals, &fields)?;
        Ok(Self {
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
}

#[cfg(test)]
mod tests {
    use crate::{Dataset, UnknownColumns};

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
    fn a_definition_is_parsed() {
        let dataset = Dataset::from_toml("products.toml", PRODUCTS).unwrap();
        assert_eq!(dataset.name, "products");
        assert_eq!(dataset.key_indexes(), [0]);
        assert!(dataset.fields[0].required);
        assert!(dataset.fields[1].default.is_some());
        assert_eq!(dataset.unknown_columns, UnknownColumns::Keep);
    }

    #[test]
    fn names_that_databases_reserve_are_refused() {
        let field = error_of(&PRODUCTS.replace("\"price\"", "\"xmin\""));
        assert!(field.starts_with("products.toml:10: xmin: "), "{field}");
        let name = error_of(&PRODUCTS.replace("\"products\"", "\"sqlite_products\""));
        assert!(name.starts_with("products.toml:2: name: "), "{name}");
    }

    #[test]
    fn errors_report_file_line_and_field() {
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
                "products.toml:3: sku: a float field cannot be part of a key",
            ),
            (
                with("default = 0.5", "format = \"%Y\""),
                "products.toml:12: price: only dates",
            ),
            (
                with("\"decimal\"\ndefault = 0.5", "\"json\"\nindex = true"),
                "products.toml:12: price: a JSON field cannot",
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
