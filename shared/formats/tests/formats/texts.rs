//! Texts of cells that share an allocation with other records.

use landfall_domain::RejectCode::Encoding;
use landfall_formats::Decoded;

use crate::{dataset, text};

fn csv(chunk: &[u8]) -> Decoded {
    let dataset = dataset("", r#"{ name = "kind", type = "text" }"#);
    crate::csv(&dataset, Some("sku,kind"), chunk)
}

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
    let decoded = csv(&chunk);
    let broken = [1_000, 1_001, 3_000];
    let rejects = decoded.rejects.iter();
    let rejects = rejects.map(|reject| (reject.line, reject.code));
    assert!(rejects.eq(broken.map(|number| (10 + number as u64, Encoding))));
    let numbers = (0..6_000).filter(|number| !broken.contains(number));
    let expected = numbers.map(|number| [text(&number.to_string()), text(&kind(number))]);
    let rows = decoded.rows.iter();
    assert!(rows.map(|row| &row.values[..]).eq(expected));
}

#[test]
fn halves_of_a_character_around_an_empty_record_are_rejected() {
    let decoded = csv(b"1,a half: \xc3\n,\n\xa9: a half,2\n3,whole\n");
    let rejects = decoded.rejects.iter().map(|reject| reject.code);
    assert!(rejects.eq([Encoding, Encoding]));
    assert_eq!(decoded.rows.len(), 1);
}
