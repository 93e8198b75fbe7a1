//! Rejects that are fixed and handed in again.

use landfall_domain::{
    Dataset, FieldType, Format, JobId, ObjectRef, Reading, Reject, RejectCode, RejectsOrigin, Row,
    Value,
};
use landfall_formats::{Header, Scanner, decode, detect};
use serde_json::Value as Json;

/// The rows and rejects of a file, read in small chunks.
#[derive(Debug, Default)]
pub(crate) struct Ingested {
    pub(crate) rows: Vec<Row>,
    pub(crate) rejects: Vec<Reject>,
}

pub(crate) fn ingest(dataset: &Dataset, reading: &Reading, object: &[u8]) -> Ingested {
    let mut scanner = Scanner::new(dataset, reading, 100);
    let mut chunks = Vec::new();
    scanner.feed(object, &mut chunks).unwrap();
    let summary = scanner.finish(&mut chunks).unwrap();
    let slice = |start: u64, end: u64| {
        &object[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]
    };
    let header = summary
        .header
        .map(|range| Header::parse(slice(range.start, range.end), dataset, reading).unwrap());
    let mut ingested = Ingested::default();
    for chunk in chunks {
        let (start, line) = (chunk.range.start, chunk.first_line);
        let bytes = slice(start, chunk.range.end);
        let decoded = decode(dataset, reading, header.as_ref(), bytes, start, line);
        assert_eq!(decoded.records, chunk.records);
        ingested.rows.extend(decoded.rows);
        ingested.rejects.extend(decoded.rejects);
    }
    ingested
}

fn origin(size: usize) -> RejectsOrigin {
    RejectsOrigin {
        job: JobId::for_object("inbox", "d/1", "v1"),
        object: ObjectRef {
            bucket: "inbox".to_owned(),
            key: "d/1".to_owned(),
            version: Some("v1".to_owned()),
            etag: String::new(),
            size: size as u64,
        },
        is_packed: false,
    }
}

/// Returns the line of a reject as the worker writes it, and as a program that parses JSON writes it again.
pub(crate) fn line(reject: &Reject) -> Json {
    let mut line = serde_json::to_value(reject).unwrap();
    line["bucket"] = "inbox".into();
    line["key"] = "d/1".into();
    line["version"] = "v1".into();
    line
}

/// Reads fixed rejects of an object of this size.
pub(crate) fn hand_in(dataset: &Dataset, size: usize, lines: &[Json]) -> Ingested {
    let reading = Reading {
        rejects_of: Some(origin(size)),
        ..Reading::from(Format::Ndjson)
    };
    let lines: Vec<String> = lines.iter().map(Json::to_string).collect();
    ingest(dataset, &reading, lines.join("\n").as_bytes())
}

#[test]
fn a_fixed_row_is_identified_by_the_place_of_its_record() {
    let definition =
        "name = \"d\"\nkey = \"position\"\nfields = [{ name = \"n\", type = \"integer\" }]\n";
    let dataset = Dataset::from_toml("d.toml", definition).unwrap();
    let file = "n\n1\nx\n";
    let first = ingest(&dataset, &Format::Csv.into(), file.as_bytes());
    let mut lines: Vec<Json> = first.rejects.iter().map(line).collect();
    lines[0]["record"]["n"] = "2".into();
    let mut rows = hand_in(&dataset, file.len(), &lines).rows;
    dataset.place(&mut rows, "d/1");
    let expected = [
        Value::Integer(2),
        Value::Text("d/1".into()),
        Value::Integer(4),
    ];
    assert_eq!(rows[0].values[..], expected);
    // A row of the API has its place already.
    lines[0]["record"] =
        serde_json::json!({"_landfall": "", "n": "3", "_object": "d/0", "_offset": 7});
    let mut rows = hand_in(&dataset, file.len(), &lines).rows;
    dataset.place(&mut rows, "d/1");
    let expected = [
        Value::Integer(3),
        Value::Text("d/0".into()),
        Value::Integer(7),
    ];
    assert_eq!(rows[0].values[..], expected);
}

#[test]
fn a_record_that_is_rejected_again_keeps_its_place() {
    let dataset = crate::dataset("", r#"{ name = "n", type = "integer" }"#);
    let file = "sku,n\nA,1\n\nB,x\nC,y\n";
    let first = ingest(&dataset, &Format::Csv.into(), file.as_bytes());
    let mut lines: Vec<Json> = first.rejects.iter().map(line).collect();
    lines[0]["record"]["n"] = "2".into();
    lines[1]["record"]["n"] = "z".into();
    let second = hand_in(&dataset, file.len(), &lines);
    assert_eq!((second.rows.len(), second.rows[0].offset), (1, 11));
    let [reject] = &second.rejects[..] else {
        panic!("{second:?}");
    };
    let place = |reject: &Reject| (reject.offset, reject.line, reject.format);
    assert_eq!(place(reject), place(&first.rejects[1]));
    assert_eq!(reject.job, Some(origin(0).job));
    assert!(reject.message.contains("\"z\""), "{}", reject.message);

    let mut again = line(reject);
    again["record"]["n"] = "3".into();
    let third = hand_in(&dataset, file.len(), &[again]);
    assert_eq!(third.rows[0].values[1], Value::Integer(3));
    assert_eq!(third.rows[0].offset, 15);
}

#[test]
fn a_line_without_the_place_of_its_record_is_a_reject_of_the_new_file() {
    let dataset = crate::dataset("", "");
    let bare = serde_json::json!({"sku": "A"});
    let found = hand_in(&dataset, 10, &[bare]);
    let [reject] = &found.rejects[..] else {
        panic!("{found:?}");
    };
    assert_eq!((reject.code, reject.job), (RejectCode::Place, None));
    assert!(reject.message.contains("keep it as it was downloaded"));
}

#[test]
fn rejects_of_a_file_that_the_api_wrote_keep_its_notation() {
    let fields =
        r#"{ name = "n", column = "N", type = "decimal", decimal = ",", thousands = "." }"#;
    let dataset = crate::dataset("format = \"tsv\"", fields);
    for file in [
        "sku;n;_extra;_landfall\r\n'=a;x;;1\r\n",
        "{\"sku\":\"=a\",\"n\":\"x\",\"_landfall\":1}\n",
    ] {
        let reading = detect("d/1", file.as_bytes(), &dataset).unwrap();
        let first = ingest(&dataset, &reading, file.as_bytes());
        let mut fixed = line(&first.rejects[0]);
        fixed["record"]["n"] = "1.500".into();
        let second = hand_in(&dataset, file.len(), &[fixed]);
        let number = Value::from_text(FieldType::Decimal, "1.5").unwrap();
        assert_eq!(second.rejects, []);
        assert_eq!(
            second.rows[0].values.as_slice(),
            [crate::text("=a"), number]
        );
    }
}

#[test]
fn characters_that_were_not_valid_must_be_replaced() {
    let dataset = crate::dataset("encoding = \"shift_jis\"", "");
    let reading = Reading {
        encoding: dataset.encoding,
        ..Format::Csv.into()
    };
    let first = ingest(&dataset, &reading, b"sku\n\x81\n");
    let mut fixed = line(&first.rejects[0]);
    let second = hand_in(&dataset, 6, &[fixed.clone()]);
    assert_eq!(second.rejects[0].code, RejectCode::Encoding);
    fixed["record"]["sku"] = "é".into();
    let second = hand_in(&dataset, 6, &[fixed]);
    assert_eq!(second.rows[0].values[0], crate::text("é"));
}
