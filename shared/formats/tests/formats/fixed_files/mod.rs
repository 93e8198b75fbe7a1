//! Fixed rejects, together with the rows, equal the file without its faults.

mod generate;
mod write;

use landfall_domain::{Format, Reject, Row, Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::fixed::{hand_in, ingest, line};
use generate::{File, files};

impl File {
    /// Returns the line of a reject of a record, with the record fixed.
    fn fixed(&self, number: usize, reject: &Reject) -> Json {
        let (cells, _) = &self.records[number];
        let mut fixed = line(reject);
        let value = |name: &str| {
            let index = self.columns.iter().position(|column| column.1 == name);
            index.map_or("", |index| cells[index].text)
        };
        if reject.record.is_some() {
            let column = reject.column.as_deref().unwrap();
            fixed["record"][column] = value(column).into();
            return fixed;
        }
        // A person writes what the cells mean.
        let mut record = serde_json::Map::new();
        let named = self.columns.iter().zip(cells);
        for (index, (column, cell)) in named.enumerate() {
            let repeated = self.columns[..index]
                .iter()
                .any(|other| other.1 == column.1);
            let name = match column.1 {
                "" if cell.text.is_empty() => continue,
                "" => format!("column_{}", index + 1),
                name if repeated => format!("{name}_2"),
                name => name.to_owned(),
            };
            let is_text = column.0.starts_with("type = \"text\"") && !column.0.contains("nulls");
            let value = match cell.text {
                "" if self.dataset.csv.quoted_empty && is_text && !cell.is_quoted => Json::Null,
                text if column.1 == "SKU" => format!("{text}{number}").into(),
                text => text.into(),
            };
            record.insert(name, value);
        }
        fixed["record"] = record.into();
        fixed
    }
}

/// Returns rows in the order of their offsets, and JSON without differences that do not count.
fn normalized(mut rows: Vec<Row>) -> Vec<Row> {
    let plain = |text: &str| serde_json::from_str::<Json>(text).unwrap().to_string();
    for row in &mut rows {
        for value in &mut row.values {
            if let Value::Json(text) = value {
                *text = plain(text);
            }
        }
        row.extra = row.extra.as_deref().map(plain);
    }
    rows.sort_by_key(|row| row.offset);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn fixed_rejects_and_rows_are_the_file_without_its_faults(file in files()) {
        let (dataset, reading) = (&file.dataset, &file.layout.format().into());
        let correct = file.object(false);
        let faulty = file.object(true);
        prop_assert_eq!(correct.len(), faulty.len());
        let expected = ingest(dataset, reading, correct.as_bytes());
        prop_assert_eq!(&expected.rejects, &[]);
        prop_assert_eq!(expected.rows.len(), file.records.len());
        let mut found = ingest(dataset, reading, faulty.as_bytes());
        let lines: Vec<Json> = found.rejects.iter().map(|reject| {
            let number = expected.rows.iter().position(|row| row.offset == reject.offset);
            file.fixed(number.unwrap(), reject)
        }).collect();
        let fixed = hand_in(dataset, faulty.len(), &lines);
        prop_assert_eq!(&fixed.rejects, &[], "{:?}", lines);
        found.rows.extend(fixed.rows);
        prop_assert_eq!(normalized(found.rows), normalized(expected.rows), "{}\n{:?}", faulty, lines);
    }
}

#[test]
fn a_definition_can_be_fixed_instead_of_the_records() {
    let file = "sku,n\nA,x\n";
    let dataset = crate::dataset("", r#"{ name = "n", type = "integer" }"#);
    let first = ingest(&dataset, &Format::Csv.into(), file.as_bytes());
    let lines = [line(&first.rejects[0])];
    let dataset = crate::dataset("", r#"{ name = "n", type = "integer", nulls = ["x"] }"#);
    let second = hand_in(&dataset, file.len(), &lines);
    assert_eq!(second.rows[0].values[1], Value::Null);
    assert_eq!(lines[0]["record"], json!({"sku": "A", "n": "x"}));
}
