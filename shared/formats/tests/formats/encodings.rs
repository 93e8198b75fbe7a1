//! Objects in other encodings have the same rows and rejects as in UTF-8.

use landfall_domain::{Dataset, Encoding, Format, Reading, RejectCode, Values};
use landfall_formats::{Header, Scanner, decode, detect};
use proptest::prelude::*;

use crate::dataset;

/// A row or reject, with its line.
type Outcome = Result<Values, (RejectCode, u64)>;

/// Reads a whole object in small pieces and chunks, and returns its records in order.
fn read(dataset: &Dataset, reading: &Reading, bytes: &[u8]) -> Vec<Outcome> {
    let mut scanner = Scanner::new(dataset, reading, 20);
    let mut chunks = Vec::new();
    for piece in bytes.chunks(7) {
        scanner.feed(piece, &mut chunks).unwrap();
        // Another scanner continues, also between the bytes of a character.
        let state = serde_json::to_string(&scanner.state()).unwrap();
        let state = serde_json::from_str(&state).unwrap();
        scanner = Scanner::resume(dataset, reading, 20, state).unwrap();
    }
    let summary = scanner.finish(&mut chunks).unwrap();
    let slice = |range: landfall_domain::ByteRange| {
        &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
    };
    let header = summary
        .header
        .map(|range| Header::parse(slice(range), dataset, reading).unwrap());
    let mut outcomes: Vec<(u64, Outcome)> = Vec::new();
    for chunk in &chunks {
        let (start, line) = (chunk.range.start, chunk.first_line);
        let decoded = decode(
            dataset,
            reading,
            header.as_ref(),
            slice(chunk.range),
            start,
            line,
        );
        assert_eq!(decoded.records, chunk.records);
        let rows = decoded
            .rows
            .into_iter()
            .map(|row| (row.offset, Ok(row.values)));
        let rejects = decoded.rejects.into_iter();
        let rejects = rejects.map(|it| (it.offset, Err((it.code, it.line))));
        let first = outcomes.len();
        outcomes.extend(rows.chain(rejects));
        outcomes[first..].sort_by_key(|(offset, _)| *offset);
        assert!(
            outcomes[first..]
                .iter()
                .all(|(offset, _)| (start..chunk.range.end).contains(offset))
        );
    }
    assert!(outcomes.is_sorted_by(|(a, _), (b, _)| a < b));
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn encode(encoding: Encoding, text: &str) -> Vec<u8> {
    let units = text.encode_utf16();
    match encoding.name() {
        "UTF-16LE" => units.flat_map(u16::to_le_bytes).collect(),
        "UTF-16BE" => units.flat_map(u16::to_be_bytes).collect(),
        name => {
            let encoding = encoding_rs::Encoding::for_label(name.as_bytes()).unwrap();
            encoding.encode(text).0.into_owned()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn delimited_text_has_the_same_records(
        label in prop::sample::select(&["utf-16le", "utf-16be", "windows-1252", "shift_jis", "gb18030"][..]),
        tokens in prop::collection::vec(prop::sample::select(
            &["\"", "\"\"", ",", "\n", "\r\n", "\r", "a", "é", "表", "あ", "€", "1,2\n", "\"a\nb\",c\n"][..],
        ), 0..60),
        header in prop::sample::select(&["", "sku,note\n"][..]),
    ) {
        let settings = format!("csv.header = {}", !header.is_empty());
        let dataset = dataset(&settings, r#"{ name = "note", type = "text" }"#);
        let encoding = Encoding::for_label(label).unwrap();
        let text = format!("{header}{}", tokens.concat());
        // What the encoding lacks would become something else.
        let bytes = encode(encoding, &text);
        prop_assume!(encoding.decode(&bytes).0 == text);
        let utf_8 = Reading::from(Format::Csv);
        let other = Reading { encoding, ..utf_8.clone() };
        prop_assert_eq!(read(&dataset, &other, &bytes), read(&dataset, &utf_8, text.as_bytes()));
    }

    #[test]
    fn json_has_the_same_records(
        label in prop::sample::select(&["utf-16le", "utf-16be", "windows-1252"][..]),
        notes in prop::collection::vec("[a-zé€ ]{0,5}", 0..9),
        format in prop::sample::select(&[Format::Ndjson, Format::Json][..]),
    ) {
        let dataset = dataset("", r#"{ name = "note", type = "text" }"#);
        let encoding = Encoding::for_label(label).unwrap();
        let rows: Vec<_> = notes.iter().map(|note| format!(r#"{{"sku":"é","note":"{note}"}}"#)).collect();
        let text = if format == Format::Json { format!("[{}]", rows.join(" , ")) } else { rows.join("\n") };
        let utf_8 = Reading::from(format);
        let other = Reading { encoding, ..utf_8.clone() };
        let bytes = encode(encoding, &text);
        prop_assert_eq!(read(&dataset, &other, &bytes), read(&dataset, &utf_8, text.as_bytes()));
    }
}

#[test]
fn a_byte_order_mark_takes_precedence_over_the_definition() {
    let dataset = dataset("encoding = \"windows-1252\"", "");
    for (encoding, mark) in [
        ("utf-8", &b"\xef\xbb\xbf"[..]),
        ("utf-16le", b"\xff\xfe"),
        ("utf-16be", b"\xfe\xff"),
    ] {
        let encoding = Encoding::for_label(encoding).unwrap();
        let text = if encoding == Encoding::UTF_8 {
            b"sku\nA\xc3\xa9\n".to_vec()
        } else {
            encode(encoding, "sku\nAé\n")
        };
        let bytes = [mark, &text].concat();
        let reading = detect("d/a.csv", &bytes, &dataset).unwrap();
        assert_eq!(reading.encoding, encoding);
        let outcomes = read(&dataset, &reading, &bytes);
        assert_eq!(outcomes, [Ok(Values::from_iter([crate::text("Aé")]))]);
    }
    let reading = detect("d/a.csv", b"sku\nA\xe9\n", &dataset).unwrap();
    assert_eq!(reading.encoding.name(), "windows-1252");
}

#[test]
fn only_records_with_invalid_bytes_are_rejected() {
    let dataset = dataset("encoding = \"shift_jis\"\ncsv.header = false", "");
    let reading = Reading {
        encoding: Encoding::for_label("shift_jis").unwrap(),
        ..Reading::from(Format::Csv)
    };
    let outcomes = read(&dataset, &reading, b"A\n\x82\n\x82\xa0\n");
    let row = |text| Ok(Values::from_iter([crate::text(text)]));
    assert_eq!(
        outcomes,
        [row("A"), Err((RejectCode::Encoding, 2)), row("あ")]
    );
}
