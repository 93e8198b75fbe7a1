//! Texts of cells that share an allocation with other records.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use landfall_domain::{Dataset, Format, RejectCode, Value};
use landfall_formats::{Header, decode};

const DATASET: &str = r#"
name = "d"
key = ["sku"]
[[fields]]
name = "sku"
type = "text"
[[fields]]
name = "kind"
type = "text"
"#;

#[test]
fn texts_of_many_records_are_correct() {
    let kind = |number: usize| match number {
        // Longer than all other cells together.
        700 => "ä".repeat(200_000),
        // Many short records.
        2_000.. => "k".to_owned(),
        _ => format!("number {number} in \"quotes\", which are removed"),
    };
    let mut chunk = Vec::new();
    for number in 0..6_000 {
        match number {
            // Halves of a character in two records are not a character.
            1_000 => chunk.extend_from_slice(b"1000,a half: \xc3\n"),
            1_001 => chunk.extend_from_slice(b"\xa9: a half,1001\n"),
            3_000 => chunk.extend_from_slice(b"3000,not a character: \xff\n"),
            _ => {
                let kind = kind(number).replace('"', "\"\"");
                chunk.extend_from_slice(format!("{number},\"{kind}\"\n").as_bytes());
            }
        }
    }
    let dataset = Dataset::from_toml("d.toml", DATASET).unwrap();
    let header = Header::parse(b"sku,kind", &dataset, Format::Csv).unwrap();
    let decoded = decode(&dataset, Format::Csv, Some(&header), &chunk, 0, 1);
    let rejects = decoded.rejects.iter();
    let rejects: Vec<_> = rejects.map(|reject| (reject.line, reject.code)).collect();
    let encoding = RejectCode::Encoding;
    assert_eq!(rejects, [1_001, 1_002, 3_001].map(|line| (line, encoding)));
    let numbers = (0..6_000).filter(|number| !rejects.contains(&(*number as u64 + 1, encoding)));
    let text = |text: String| Value::Text(text.into());
    let expected = numbers.map(|number| (text(number.to_string()), text(kind(number))));
    let found = decoded
        .rows
        .into_iter()
        .map(|row| (row.values[0].clone(), row.values[1].clone()));
    assert!(found.eq(expected));
}

#[test]
fn halves_of_a_character_around_an_empty_record_are_rejected() {
    let dataset = Dataset::from_toml("d.toml", DATASET).unwrap();
    let header = Header::parse(b"sku,kind", &dataset, Format::Csv).unwrap();
    let chunk = b"1,a half: \xc3\n,\n\xa9: a half,2\n3,whole\n";
    let decoded = decode(&dataset, Format::Csv, Some(&header), chunk, 0, 1);
    let rejects = decoded.rejects.iter().map(|reject| reject.code);
    assert!(rejects.eq([
        RejectCode::Encoding,
        RejectCode::Required,
        RejectCode::Encoding
    ]));
    assert_eq!(decoded.rows.len(), 1);
}
