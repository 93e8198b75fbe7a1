//! Files as people have them: JSON.

use landfall_domain::{Dataset, Reject, RejectCode, Value};

use crate::ingest::read;
use crate::text;

/// The rows and rejects of a file.
struct Ingested {
    rows: Vec<Vec<Value>>,
    rejects: Vec<Reject>,
}

/// Ingests a file with the definition of its case.
fn ingest(case: &str, definition: &str, file: &str) -> Ingested {
    let definition_text = String::from_utf8(read(case, definition)).unwrap();
    let dataset = Dataset::from_toml(definition, &definition_text).unwrap();
    let decoded = crate::ingest::ingest(&dataset, file, &read(case, file)).decoded;
    let rows = decoded.rows.into_iter().map(|row| row.values.into_vec());
    Ingested {
        rows: rows.collect(),
        rejects: decoded.rejects,
    }
}

#[test]
fn case_06_a_fixed_reject_has_the_json_of_its_cells() {
    let case = "06-rejects-json-column";
    let orders = ingest(case, "webshop.toml", "1-orders.csv");
    let order = |id, customer: &str, items: &str, total: &str| {
        vec![
            Value::Integer(id),
            Value::Json(customer.to_owned()),
            Value::Json(items.to_owned()),
            Value::Null,
            Value::from_text(landfall_domain::FieldType::Decimal, total).unwrap(),
        ]
    };
    let first = order(1, r#"{"id": 7}"#, r#"[{"sku": "A"}]"#, "9.5");
    assert_eq!(orders.rows, [first]);
    let [reject] = &orders.rejects[..] else {
        panic!("{:?}", orders.rejects);
    };
    assert_eq!((reject.code, reject.line), (RejectCode::Type, 3));
    let record = serde_json::to_value(reject.record.as_ref().unwrap()).unwrap();
    let expected = serde_json::json!({
        "order_id": "2", "customer": {"id": 8}, "items": [{"sku": "B"}], "note": "", "total": "19,50"
    });
    assert_eq!(record, expected);

    let fixed = ingest(case, "webshop.toml", "2-mended.ndjson");
    assert_eq!(fixed.rejects, []);
    let second = order(2, r#"{"id": 8}"#, r#"[{"sku": "B"}]"#, "19.5");
    assert_eq!(fixed.rows, [second]);
}

#[test]
fn case_15_one_object_is_one_row_however_it_is_written() {
    let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(70_000));
    let row = |id, kind| vec![text(id), text(kind), Value::Null];
    let mut long = row("e4", "push");
    long[2] = Value::Json(payload);
    for (file, rows) in [
        ("one.json", vec![row("e1", "created")]),
        ("two.json", vec![row("e2", "created"), row("e3", "deleted")]),
        ("long-first-line.json", vec![long, row("e5", "push")]),
        ("pretty.json", vec![row("e6", "created")]),
        ("pretty.ndjson", vec![row("e7", "created")]),
    ] {
        let found = ingest("15-json-file-with-one-record", "events.toml", file);
        assert_eq!(found.rejects, [], "{file}");
        assert_eq!(found.rows, rows, "{file}");
    }
}

#[test]
fn case_16_objects_without_line_ends_are_separate_records() {
    let row = |id, page| vec![text(id), text(page)];
    for (file, rows) in [
        (
            "clicks-2026-01-05-10-00",
            [row("c1", "/"), row("c2", "/a"), row("c3", "/b")],
        ),
        (
            "clicks.json",
            [row("c4", "/"), row("c5", "/a"), row("c6", "/b")],
        ),
    ] {
        let found = ingest("16-concatenated-json", "clicks.toml", file);
        assert_eq!(found.rejects, [], "{file}");
        assert_eq!(found.rows, rows, "{file}");
    }
}
