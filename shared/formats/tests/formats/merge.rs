//! Which columns the rows of a dataset that is merged by column have.

use landfall_domain::{Dataset, Format, RejectCode, Row, Value, WarningCode};
use landfall_formats::{Decoded, Header, decode};

use crate::{csv, dataset, text};

const FIELDS: &str = r#"
{ name = "title", type = "text", required = true },
{ name = "stock", type = "integer", default = 7 },
{ name = "price", type = "decimal" }"#;

fn merging(settings: &str) -> Dataset {
    dataset(&format!("mode = \"merge\"\n{settings}"), FIELDS)
}

/// Returns which of the columns a row has: the fields, and unknown columns.
fn columns(row: &Row) -> Vec<usize> {
    (0..=row.values.len())
        .filter(|column| row.has(*column))
        .collect()
}

fn ndjson(dataset: &Dataset, lines: &str) -> Decoded {
    decode(
        dataset,
        &Format::Ndjson.into(),
        None,
        lines.as_bytes(),
        0,
        1,
    )
}

#[test]
fn a_file_has_the_columns_of_its_header() {
    let dataset = merging("");
    // A required column may be missing, but not its value. A default is for an empty cell.
    let decoded = csv(&dataset, Some("sku,stock\n"), b"a,\nb,2\n");
    assert_eq!(decoded.rejects, []);
    let found: Vec<_> = decoded.rows.iter().map(columns).collect();
    assert_eq!(found, [[0, 2], [0, 2]]);
    let null = Value::Null;
    let row = |sku, stock| vec![text(sku), null.clone(), Value::Integer(stock), null.clone()];
    let values = decoded.rows.iter().map(|row| row.values.to_vec());
    assert_eq!(values.collect::<Vec<_>>(), [row("a", 7), row("b", 2)]);

    let decoded = csv(&dataset, Some("sku,title\n"), b"a,\n");
    assert_eq!(decoded.rejects[0].code, RejectCode::Required);

    // Unknown columns are one column.
    let decoded = csv(&dataset, Some("sku,colour\n"), b"a,red\n");
    assert_eq!(columns(&decoded.rows[0]), [0, 4]);
    let dropped = merging("unknown_columns = \"drop\"");
    let decoded = csv(&dropped, Some("sku,colour\n"), b"a,red\n");
    assert_eq!(columns(&decoded.rows[0]), [0]);
}

#[test]
fn only_the_key_is_needed_in_a_header() {
    let dataset = merging("");
    let reading = Format::Csv.into();
    let header = Header::parse(b"sku,prize\n", &dataset, &reading).unwrap();
    // Missing columns deserve no warning, but one that looks like a field does.
    let warnings: Vec<_> = header
        .warnings()
        .iter()
        .map(|warning| warning.code)
        .collect();
    assert_eq!(warnings, [WarningCode::UnmatchedColumn]);
    let problem = Header::parse(b"title\n", &dataset, &reading).unwrap_err();
    assert!(problem.message.contains("lacks \"sku\""), "{problem:?}");
}

#[test]
fn a_record_has_its_properties() {
    let dataset = merging("");
    let lines = concat!(
        r#"{"sku": "a", "price": null}"#,
        "\n",
        r#"{"sku": "b", "title": "t", "colour": "red"}"#,
        "\n",
        r#"{"sku": "c"}"#,
        "\n",
        r#"{"sku": "d", "title": null}"#,
        "\n",
        r#"{"title": "t"}"#,
        "\n",
    );
    let decoded = ndjson(&dataset, lines);
    let found: Vec<_> = decoded.rows.iter().map(columns).collect();
    assert_eq!(found, [vec![0, 3], vec![0, 1, 4], vec![0]]);
    let rejects: Vec<_> = decoded.rejects.iter().map(|reject| reject.line).collect();
    assert_eq!(rejects, [4, 5]);
    assert_eq!(decoded.rejects[1].code, RejectCode::Required);
}

#[test]
fn a_row_that_deletes_its_key_needs_nothing_else() {
    let dataset = merging("operation = { column = \"op\" }");
    let decoded = csv(&dataset, Some("sku,title,op\n"), b"a,,delete\nb,t,\n");
    assert_eq!(decoded.rejects, []);
    assert!(decoded.rows[0].deleted && !decoded.rows[1].deleted);
}
