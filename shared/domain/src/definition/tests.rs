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
fn a_merge_needs_a_column_beside_the_key() {
    let definition = "name = \"t\"\nmode = \"merge\"\nkey = [\"a\"]\n\
         fields = [{ name = \"a\", type = \"text\" }, { name = \"b\", type = \"text\" }]\n";
    let dataset = parse(definition);
    assert_eq!(dataset.mode, Mode::Merge);
    assert!(!dataset.may_lack(0) && dataset.may_lack(1));
    let start = "4: mode: mode = \"merge\" needs a field outside the key";
    check_mistake(definition, "[\"a\"]", "[\"a\", \"b\"]", start);
}

#[test]
fn totals_operation_and_mode_are_parsed() {
    let dataset = parse(STOCK);
    assert_eq!(dataset.mode, Mode::Snapshot);
    let operation = dataset.operation.unwrap();
    for (text, is_delete) in [
        ("gone", Some(true)),
        (" GONE ", Some(true)),
        ("Insert", Some(false)),
        ("", Some(false)),
        ("delete", None),
    ] {
        assert_eq!(operation.is_delete(text), is_delete, "{text}");
    }
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
        (
            "\"text\"",
            "\"text\"\ntyp = 1",
            "8: typ: there is no setting \"typ\"; did you mean \"type\"?",
        ),
        (
            "key",
            "unknown_colums = \"drop\"\nkey",
            "3: unknown_colums: there is no setting \"unknown_colums\"; did you mean \"unknown_columns\"?",
        ),
        (
            "key",
            "delimiter = \";\"\nkey",
            "3: delimiter: there is no setting \"delimiter\" here, only name, key, ",
        ),
        (
            "\"decimal\"",
            "\"desimal\"",
            "11: type: there is no value \"desimal\"; did you mean \"decimal\"?",
        ),
        (
            "\"price\"",
            "\"Unit Price\"",
            "10: Unit Price: the name must start with a letter a-z and contain only a-z, 0-9 and _, at most 48 \
             characters; for another name in files, set column = \"Unit Price\"",
        ),
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
            "csv.comment = \"\\\"\"\nkey",
            "3: csv.comment: must differ from csv.quote",
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
        (
            "\"text\"",
            "\"text\"\nposition = 0",
            "8: sku: the position must be from 1",
        ),
        (
            "default = 0.5",
            "position = 2\n[[fields]]\nname = \"b\"\ntype = \"text\"\nposition = 2",
            "16: b: the field price has this position",
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
        (
            "\"op\", delete",
            "\"op\", position = 0, delete",
            "5: operation.position: the position must",
        ),
    ] {
        check_mistake(STOCK, from, to, start);
    }
}

/// A definition with one field of each kind that has specific settings.
fn with_settings(dataset: &str, decimal: &str, timestamp: &str, boolean: &str) -> String {
    format!(
        r#"
name = "d"
key = ["id"]
{dataset}
fields = [
    {{ name = "id", type = "text" }},
    {{ name = "amount", type = "decimal", {decimal} }},
    {{ name = "at", type = "timestamp", {timestamp} }},
    {{ name = "paid", type = "boolean", {boolean} }},
]
"#
    )
}

#[test]
fn values_are_parsed_by_the_settings_of_the_field_or_the_dataset() {
    let european = r#"decimal = ",", thousands = ".""#;
    let words = r#"true_values = ["ja"], false_values = ["nein", ""]"#;
    let zone = r#"timezone = "America/Chicago""#;
    for (definition, field, text, expected) in [
        (
            with_settings("", european, "", ""),
            1,
            "1.234,56",
            "1234.56",
        ),
        (
            with_settings("decimal = \",\"", "", "", ""),
            1,
            "12,50",
            "12.5",
        ),
        // A field's settings precede those of the dataset.
        (
            with_settings("decimal = \",\"", "decimal = \".\"", "", ""),
            1,
            "12.50",
            "12.5",
        ),
        (
            with_settings("currency = \"€\"", "accounting = true", "", ""),
            1,
            "(12.50 €)",
            "-12.5",
        ),
        (
            with_settings(zone, "", "", ""),
            2,
            "2019-06-14T19:00",
            "2019-06-15T00:00:00Z",
        ),
        (
            with_settings(zone, "", "timezone = \"UTC\"", ""),
            2,
            "2019-06-14T19:00",
            "2019-06-14T19:00:00Z",
        ),
        (
            with_settings("fold = \"later\"", "", zone, ""),
            2,
            "2026-11-01T01:30",
            "2026-11-01T07:30:00Z",
        ),
        (
            with_settings("", "", "format = \"epoch_ms\"", ""),
            2,
            "1767609000123",
            "2026-01-05T10:30:00.123Z",
        ),
        (
            with_settings("", "", "format = \"%s\"", ""),
            2,
            "1.5",
            "1970-01-01T00:00:01.5Z",
        ),
        (with_settings("", "", "", words), 3, " JA", "true"),
        (with_settings("", "", "", words), 3, "", "false"),
    ] {
        let field = &parse(&definition).fields[field];
        let value = field.parse(text).unwrap();
        assert_eq!(value.to_text().as_deref(), Some(expected), "{definition}");
        assert!(!field.is_null(text), "{definition}");
    }
}

#[test]
fn defaults_of_toml_do_not_depend_on_the_form_of_files() {
    let definition = with_settings(
        "decimal = \",\"",
        "default = 0.5",
        "format = \"%d/%m/%Y\", default = 2026-11-20T08:30:00Z",
        "true_values = [\"ja\"], default = true",
    );
    let defaults = parse(&definition)
        .fields
        .into_iter()
        .map(|field| field.default);
    let defaults: Vec<_> = defaults.flatten().collect();
    let texts = defaults.iter().map(|value| value.to_text().unwrap());
    assert!(
        texts.eq(["0.5", "2026-11-20T08:30:00Z", "true"]),
        "{defaults:?}"
    );
}

#[test]
fn wrong_settings_of_values_are_refused() {
    let words = r#"true_values = ["ja"], nulls = ["", "ja"]"#;
    for (definition, start) in [
        (
            with_settings("timezone = \"America/Chcago\"", "", "", ""),
            "4: timezone: \"America/Chcago\" is not a time",
        ),
        (with_settings("", "", "fold = \"first\"", ""), "8: "),
        (
            with_settings("", "timezone = \"UTC\"", "", ""),
            "7: amount: only timestamps can have timezone",
        ),
        (
            with_settings("", "", "decimal = \",\"", ""),
            "8: at: only integers, decimals and floats can have decimal",
        ),
        (
            with_settings("", "", "", "accounting = true"),
            "9: paid: only integers",
        ),
        (
            with_settings("", "true_values = [\"x\"]", "", ""),
            "7: amount: only booleans",
        ),
        (
            with_settings("thousands = \".\"", "", "", ""),
            "4: thousands: thousands must differ from decimal, which",
        ),
        (
            with_settings("", "decimal = \",\", thousands = \",\"", "", ""),
            "7: amount: thousands must differ",
        ),
        (
            with_settings("", "decimal = \"1\"", "", ""),
            "7: amount: decimal must be one",
        ),
        (
            with_settings("", "currency = \"-\"", "", ""),
            "7: amount: currency must be",
        ),
        (
            with_settings("", "", "", "true_values = [\"0\"]"),
            "9: paid: \"0\" means false by default; set false_values",
        ),
        (
            with_settings("", "", "", "true_values = [\"a\"], false_values = [\"A\"]"),
            "9: paid: \"a\" is in true_values too",
        ),
        (
            with_settings("", "", "", words),
            "9: paid: \"ja\" is in nulls too",
        ),
        (
            with_settings("", "", "format = \"%Y-%m\"", ""),
            "8: at: \"%Y-%m\" does not contain a whole date",
        ),
        (
            with_settings("", "", "format = \"epoch\"", ""),
            "8: at: \"epoch\" does not contain",
        ),
        (
            with_settings(
                "operation = { column = \"op\", delete = [\"x\"], upsert = [\"X\"] }",
                "",
                "",
                "",
            ),
            "4: operation.upsert: \"X\" is in operation.delete too",
        ),
    ] {
        let error = Dataset::from_toml("d.toml", &definition)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("d.toml:{start}")), "{error}");
    }
}

#[test]
fn without_a_header_all_that_is_needed_has_a_position() {
    let definition = |fields: &str, more: &str| {
        let text =
            format!("name = \"d\"\nkey = [\"a\"]\ncsv.header = false\n{more}fields = [{fields}]");
        Dataset::from_toml("d.toml", &text)
    };
    let a = r#"{ name = "a", type = "text", position = 3 }"#;
    let b = r#"{ name = "b", type = "text" }"#;
    let dataset = definition(&format!("{a}, {b}"), "").unwrap();
    assert_eq!(dataset.fields[0].position, Some(3));
    assert_eq!(dataset.last_position(), Some(3));
    let required = b.replace("\"b\",", "\"b\", required = true,");
    for (fields, more, start) in [
        (
            format!("{a}, {required}"),
            "",
            "d.toml:4: b: must have a position",
        ),
        (
            a.to_owned(),
            "operation.column = \"op\"\n",
            "d.toml:5: operation.position: must",
        ),
    ] {
        let error = definition(&fields, more).unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
    }
    let operation = "operation = { column = \"op\", position = 4 }\n";
    let dataset = definition(a, operation).unwrap();
    assert_eq!(dataset.last_position(), Some(4));
    let operation = operation.replace('4', "3");
    let error = definition(a, &operation).unwrap_err().to_string();
    assert!(error.contains("the field a has this position"), "{error}");
}

#[test]
fn only_snapshots_limit_the_share_that_they_delete() {
    assert!((parse(STOCK).max_delete_share - 0.2).abs() < f64::EPSILON);
    let with = |setting: &str| STOCK.replace("key = [", &format!("{setting}\nkey = ["));
    for (setting, share) in [
        ("max_delete_share = 0.5", 0.5),
        ("max_delete_share = 1", 1.0),
    ] {
        let dataset = parse(&with(setting));
        assert!((dataset.max_delete_share - share).abs() < f64::EPSILON);
    }
    for wrong in ["0", "-0.1", "1.5", "nan"] {
        let definition = with(&format!("max_delete_share = {wrong}"));
        let start = "4: max_delete_share: must be greater than 0 and at most 1";
        check_mistake(&definition, "name = \"stock\"", "name = \"stock\"", start);
    }
    let upserts = with("max_delete_share = 0.5");
    let start = "4: max_delete_share: needs mode = \"snapshot\"";
    check_mistake(&upserts, "mode = \"snapshot\"", "mode = \"upsert\"", start);
}
