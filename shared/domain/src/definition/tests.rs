use crate::{Dataset, Measure, Mode, UnknownColumns};

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

fn parse(text: &str) -> Dataset {
    Dataset::from_toml("d.toml", text).unwrap()
}

/// Replaces `from` in a definition, and checks how the error starts after the name of the file.
fn check_mistake(definition: &str, from: &str, to: &str, start: &str) {
    assert!(definition.contains(from), "{from}");
    let error = Dataset::from_toml("d.toml", &definition.replace(from, to)).unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with(&format!("d.toml:{start}")), "{error}");
}

#[test]
fn a_definition_is_parsed() {
    let dataset = parse(PRODUCTS);
    assert_eq!(dataset.name, "products");
    assert_eq!(dataset.key_indexes(), [0]);
    assert!(dataset.fields[0].required);
    assert!(dataset.fields[1].default.is_some());
    assert_eq!(dataset.unknown_columns, UnknownColumns::Keep);
}

#[test]
fn totals_operation_and_mode_are_parsed() {
    let dataset = parse(STOCK);
    assert_eq!(dataset.mode, Mode::Snapshot);
    assert!(dataset.operation.unwrap().is_delete("gone"));
    let total = &dataset.totals[0];
    assert_eq!(total.by, ["name"]);
    let columns = total.columns.iter();
    let columns = columns.map(|column| (column.name.as_str(), column.measure.clone()));
    assert!(columns.eq([
        ("no_of_products", Measure::Count),
        ("worth", Measure::Sum("price".to_owned())),
        ("first_seen", Measure::Min("seen".to_owned())),
    ]));
}

#[test]
fn errors_report_file_line_and_field() {
    for (from, to, start) in [
        ("\"products\"", "\"Products\"", "2: name: "),
        ("[\"sku\"]", "[\"id\"]", "3: key: no field is named \"id\""),
        ("\"decimal\"", "\"money\"", "11: type: "),
        (
            "0.5",
            "\"cheap\"",
            "12: price: the default \"cheap\" is not",
        ),
        ("[\"sku\"]", "[\"sku\"", ""),
        ("\"text\"", "\"text\"\ntyp = 1", "8: typ: "),
        ("\"price\"", "\"sku\"", "10: sku: two fields"),
        ("\"text\"", "\"float\"", "3: key: sku is a float field"),
        ("default = 0.5", "format = \"%Y\"", "12: price: only dates"),
        (
            "\"text\"",
            "\"json\"\nindex = true",
            "8: sku: a JSON field cannot",
        ),
        ("key", "csv.delimiter = \"\"\nkey", "3: csv.delimiter: "),
        (
            "key",
            "csv.escape = \"\\\"\"\nkey",
            "3: csv.escape: must differ from csv.quote",
        ),
        ("key", "encoding = \"latin\"\nkey", "3: encoding: "),
        (
            "key",
            "encoding = \"shift_jis\"\ncsv.delimiter = \"|\"\nkey",
            "3: encoding: ",
        ),
        (
            "key",
            "limits.reject_share = 2.0\nkey",
            "3: limits.reject_share: ",
        ),
        // Names that databases reserve.
        ("\"price\"", "\"xmin\"", "10: xmin: "),
        ("\"products\"", "\"sqlite_products\"", "2: name: "),
    ] {
        check_mistake(PRODUCTS, from, to, start);
    }
    for (from, to, start) in [
        ("sum(price)", "sum(weight)", "17: worth: weight is neither"),
        ("min(seen)", "min(name)", "17: first_seen: name is neither"),
        ("sum(price)", "sum(cost)", "17: worth: no field is named"),
        ("sum(price)", "avg(price)", "17: worth: \"avg\" is not"),
        ("\"count\"", "\"number\"", "17: no_of_products: must be"),
        (
            "[\"name\"]",
            "[\"weight\"]",
            "16: totals.by: weight is a float",
        ),
        ("[\"name\"]", "[]", "16: totals.by: must name 1 to 8"),
        ("worth", "name", "17: name: by has a field"),
        ("stock_by_name", "stock", "15: totals.name: another table"),
        ("\"op\"", "\"sku\"", "5: operation.column: the field sku"),
        ("[\"gone\"]", "[]", "5: operation.delete: must list"),
    ] {
        check_mistake(STOCK, from, to, start);
    }
}
