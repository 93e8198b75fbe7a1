//! Rows that are identified by their place.

use landfall_domain::{Dataset, ProblemCode, Row, Value};
use proptest::prelude::*;
use proptest::sample::select;

use crate::ingest::{ingest, problem};
use crate::text;

fn dataset(settings: &str) -> Dataset {
    let fields = "fields = [{ name = \"a\", type = \"text\" }, { name = \"b\", type = \"text\" }]";
    let definition = format!("name = \"d\"\nkey = \"position\"\n{settings}\n{fields}");
    Dataset::from_toml("d.toml", &definition).unwrap()
}

/// Returns the object and the offset that identify a row.
fn place(dataset: &Dataset, row: &Row) -> (Value, usize) {
    let [object, offset] = *dataset.key_indexes() else {
        panic!("the key has two fields");
    };
    let Value::Integer(offset) = row.values[offset] else {
        panic!("an offset is an integer");
    };
    (row.values[object].clone(), usize::try_from(offset).unwrap())
}

/// Returns how a record with these values is written, and what surrounds the records.
type Form = (
    &'static str,
    &'static str,
    fn(usize, &str) -> String,
    &'static str,
);

const FORMS: [Form; 5] = [
    (
        "a.csv",
        "a,b\n",
        |number, b| format!("{number},\"{b}\"\n"),
        "",
    ),
    (
        "a.csv",
        "\u{feff}b,a\n\n",
        |number, b| format!("\"{b}\",{number}\r\n"),
        "",
    ),
    (
        "a.tsv",
        "a\tb\n",
        |number, b| format!("{number}\t\"{b}\"\n\n"),
        "",
    ),
    (
        "a.ndjson",
        "",
        |number, b| format!("{{\"a\":\"{number}\",\"b\":{}}} ", json(b)),
        "\n",
    ),
    (
        "a.json",
        "[",
        |number, b| format!("{{\"b\":{},\"a\":\"{number}\"}},\n", json(b)),
        "{}]",
    ),
];

fn json(text: &str) -> String {
    Value::Text(text.into())
        .to_text()
        .map_or_else(String::new, |text| format!("{text:?}"))
}

proptest! {
    #[test]
    fn the_offset_is_that_of_the_record_in_every_format(
        (file, before, record, after) in select(FORMS.to_vec()),
        // Rows may repeat.
        values in prop::collection::vec(select(vec!["", "x", "two\nlines", "é"]), 1..20),
    ) {
        let dataset = dataset("");
        let mut content = before.to_owned();
        let mut expected = Vec::new();
        for (number, value) in values.iter().enumerate() {
            expected.push((number.to_string(), content.len()));
            content += &record(number, value);
        }
        content += after;
        let rows = ingest(&dataset, file, content.as_bytes()).decoded.rows;
        let object = text(&format!("d/{file}"));
        let found = rows.iter().filter_map(|row| {
            let (found, offset) = place(&dataset, row);
            assert_eq!(found, object);
            Some((row.values[0].to_text()?.into_owned(), offset))
        });
        prop_assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_file_without_header_has_no_columns_for_the_place() {
    let dataset = dataset("csv.header = false");
    let rows = ingest(&dataset, "a.csv", b"x,y\nx,y\n").decoded.rows;
    let places: Vec<_> = rows.iter().map(|row| place(&dataset, row).1).collect();
    assert_eq!(places, [0, 4]);
}

#[test]
fn a_key_that_cannot_be_indexed_is_a_problem() {
    let name = |bytes: usize| format!("{}.csv", "x".repeat(bytes - "d/.csv".len()));
    let dataset = dataset("");
    assert_eq!(
        ingest(&dataset, &name(496), b"a,b\n1,2\n")
            .decoded
            .rows
            .len(),
        1
    );
    let problem = problem(&dataset, &name(497), b"a,b\n1,2\n");
    assert_eq!(problem.code, ProblemCode::KeyTooLong);
}
