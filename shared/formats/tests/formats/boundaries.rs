//! Scanner and decoder find the same records as parsers of the whole file, for any bytes, dialect, chunk size and
//! feed.

use landfall_domain::{CsvOptions, Format, Quote};
use proptest::prelude::*;

use crate::oracle::{self, Setup};

prop_compose! {
    fn options()(
        delimiter in prop::sample::select(&[",", ";", "|", "\t", "a", "||", "||;", ";||;", "é"][..]),
        quote in prop_oneof![
            3 => Just(Quote::Usual), 1 => Just(Quote::Byte(b'\'')), 1 => Just(Quote::None)
        ],
        escape in prop_oneof![3 => Just(None), 1 => Just(Some(b'\\'))],
        comment in prop_oneof![3 => Just(None), 1 => Just(Some(b'#'))],
        (lenient, trim, flexible, quoted_empty) in any::<(bool, bool, bool, bool)>(),
        skip_lines in prop_oneof![3 => Just(0), 1 => 1_u32..3],
        header_records in 0_u32..3,
    ) -> CsvOptions {
        let delimiter = Some(delimiter.to_owned());
        CsvOptions {
            delimiter, quote, escape, lenient, comment, trim, flexible, quoted_empty, skip_lines, header_records,
        }
    }
}

/// Options that the `csv` crate has as well.
fn plain(options: CsvOptions) -> CsvOptions {
    let delimiter = options.delimiter.filter(|delimiter| delimiter.len() == 1);
    CsvOptions {
        delimiter,
        quote: options.quote,
        lenient: options.lenient,
        header_records: options.header_records,
        ..CsvOptions::default()
    }
}

prop_compose! {
    fn setup(format: Format)(
        csv in prop_oneof![options(), options().prop_map(plain)],
        record_bytes in prop_oneof![3 => Just(1 << 20), 1 => 1u64..40],
        chunk_bytes in 1u64..60,
        // Short ones divide everything, and long ones contain the blocks that scanners look at as a whole.
        pieces in prop::collection::vec(prop_oneof![1usize..30, 100usize..400], 1..4),
    ) -> Setup {
        Setup { format, csv, path: Vec::new(), record_bytes, chunk_bytes, pieces }
    }
}

/// Generates bytes, most of which have a meaning in CSV.
fn csv_bytes() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => Just(&b"\""[..]),
        3 => Just(&b","[..]),
        1 => Just(&b"'"[..]),
        1 => Just(&b";"[..]),
        1 => Just(&b"|"[..]),
        1 => Just(&b"\t"[..]),
        3 => Just(&b"\n"[..]),
        2 => Just(&b"\r"[..]),
        1 => Just(&b"\r\n"[..]),
        3 => Just(&b"a"[..]),
        2 => Just(&b"k,v"[..]),
        1 => Just("é€".as_bytes()),
        1 => Just(&b"\xe2"[..]),
        1 => Just(&b"\x82\xac"[..]),
        1 => Just(&b"\0"[..]),
        1 => Just(&b"\xef\xbb\xbf"[..]),
        2 => Just(&b"\\"[..]),
        1 => Just(&b"\\N"[..]),
        1 => Just(&b"#"[..]),
        2 => Just(&b" "[..]),
        1 => Just(&b"||"[..]),
        1 => Just(&b"0123456789012345"[..]),
    ];
    prop::collection::vec(token, 0..80).prop_map(|tokens| tokens.concat())
}

/// Generates records as most writers make them, with few exceptions.
fn tidy_csv() -> impl Strategy<Value = Vec<u8>> {
    let cell = prop_oneof![
        20 => "[a-zé ]{0,20}",
        10 => "[a-zé,; \n]{0,20}".prop_map(|text| format!("\"{text}\"")),
        5 => "[a-z ]{0,9}".prop_map(|text| format!("\"{text}\"\"{text}\r\n\"\"\"")),
        1 => "[a-z\"\r,\u{feff}]{0,9}",
    ];
    let cells = prop::collection::vec(cell, 1..4).prop_map(|cells| cells.join(","));
    let end = prop_oneof![20 => Just("\n"), 5 => Just("\r\n"), 1 => Just("\r"), 1 => Just("\n\n")];
    prop::collection::vec((cells, end), 0..30).prop_map(|records| {
        records
            .into_iter()
            .map(|(cells, end)| cells + end)
            .collect::<String>()
            .into_bytes()
    })
}

const SPACE: &str = "[ \n\t\r]{0,2}";

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zé€😀\\[\\]{},: ]{0,4}",
        1 => Just("\\\"".to_owned()),
        1 => Just("\\\\".to_owned()),
        1 => Just("\\u0041\\ud83d\\ude00".to_owned()),
        1 => Just("\\n".to_owned()),
        1 => Just("\\u0000".to_owned()),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        2 => string(),
        1 => Just("null".to_owned()),
        1 => Just("true".to_owned()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => Just("-1.50e3".to_owned()),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![array_of(inner.clone()), object_of(inner)]
    })
}

fn array_of(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let element = (SPACE, inner, SPACE).prop_map(|(a, value, b)| a + &value + &b);
    prop::collection::vec(element, 0..5).prop_map(|elements| format!("[{}]", elements.join(",")))
}

fn object_of(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let name = prop_oneof![
        2 => Just("\"k\"".to_owned()),
        2 => Just("\"v\"".to_owned()),
        1 => Just("\"\\u0076\"".to_owned()),
        2 => Just("\"d\"".to_owned()),
        2 => string(),
    ];
    let property = (SPACE, name, SPACE, SPACE, inner, SPACE)
        .prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"));
    prop::collection::vec(property, 0..5)
        .prop_map(|properties| format!("{{{}}}", properties.join(",")))
}

/// Generates an array, at the root or at the path `d.v` of a document with other properties.
fn document() -> impl Strategy<Value = (bool, String)> {
    let rows = array_of(prop_oneof![4 => object_of(value()), 1 => value()]);
    let name = prop_oneof![Just("d"), Just("\\u0064")];
    let other = || (string(), value()).prop_map(|(name, value)| format!("{name}:{value}"));
    (any::<bool>(), rows, name, other(), other(), SPACE).prop_map(
        |(nested, rows, name, before, after, space)| {
            if nested {
                let inner = format!("{{{before},{space}\"v\":{rows}{space},{after}}}");
                (
                    true,
                    format!("{space}{{{before},\"{name}\":{inner},{after}}}{space}"),
                )
            } else {
                (false, format!("{space}{rows}{space}"))
            }
        },
    )
}

/// Generates objects with or without something between them, on one line or on several.
fn sequence(line: bool) -> impl Strategy<Value = String> {
    let between = if line {
        prop::sample::select(&["", " ", "\x1e", "\n", "\r\n", " \n\t", ",\n"][..])
    } else {
        prop::sample::select(&["", " ", "\x1e", "\n", "\r\n", ",", " ,\n"][..])
    };
    let object = object_of(value());
    prop::collection::vec((object, between), 1..6).prop_map(move |records| {
        let records = records.into_iter().map(|(object, between)| {
            let object = if line {
                object.replace(['\n', '\r'], " ")
            } else {
                object
            };
            object + between
        });
        records.collect()
    })
}

/// Changes, inserts or removes a few bytes.
fn mutated(text: String) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(&b"[]{}\",:\\ \n1n\0\x1e\xff"[..]);
    prop::collection::vec((any::<prop::sample::Index>(), byte, 0..3), 0..4).prop_map(
        move |changes| {
            let mut bytes = text.clone().into_bytes();
            for (index, byte, change) in changes {
                if bytes.is_empty() {
                    break;
                }
                let index = index.index(bytes.len());
                match change {
                    0 => bytes[index] = byte,
                    1 => bytes.insert(index, byte),
                    _ => {
                        bytes.remove(index);
                    }
                }
            }
            bytes
        },
    )
}

fn path(nested: bool) -> Vec<String> {
    if nested {
        vec!["d".to_owned(), "v".to_owned()]
    } else {
        Vec::new()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn csv_records_match(setup in setup(Format::Csv), data in csv_bytes()) {
        oracle::check(&setup, &data);
    }

    #[test]
    fn csv_records_match_after_all_or_part_of_a_byte_order_mark(
        setup in setup(Format::Csv),
        length in 1usize..=3,
        data in csv_bytes(),
    ) {
        oracle::check(&setup, &[&b"\xef\xbb\xbf"[..length], &data].concat());
    }

    #[test]
    fn tidy_csv_records_match(setup in setup(Format::Csv), data in tidy_csv()) {
        oracle::check(&setup, &data);
    }

    #[test]
    fn ndjson_records_match(
        setup in setup(Format::Ndjson),
        lines in prop::collection::vec((SPACE, object_of(value()), SPACE), 0..6),
    ) {
        let lines: Vec<String> = lines
            .into_iter()
            .map(|(before, object, after)| before + &object.replace(['\n', '\r'], " ") + &after)
            .collect();
        oracle::check(&setup, lines.join("\n").as_bytes());
    }

    #[test]
    fn mutated_ndjson_records_match(
        setup in setup(Format::Ndjson),
        data in prop::collection::vec(object_of(value()), 0..6)
            .prop_flat_map(|lines| mutated(lines.join("\n"))),
    ) {
        oracle::check(&setup, &data);
    }

    #[test]
    fn concatenated_ndjson_records_match(setup in setup(Format::Ndjson), text in sequence(true)) {
        oracle::check(&setup, text.as_bytes());
    }

    #[test]
    fn mutated_concatenated_records_match(
        format in prop::sample::select(&[Format::Ndjson, Format::Json][..]),
        setup in setup(Format::Json),
        data in sequence(true).prop_flat_map(mutated),
    ) {
        oracle::check(&Setup { format, ..setup }, &data);
    }

    #[test]
    fn sequences_of_json_objects_match(setup in setup(Format::Json), text in sequence(false)) {
        oracle::check(&setup, text.as_bytes());
    }

    #[test]
    fn json_records_match(mut setup in setup(Format::Json), (nested, text) in document()) {
        setup.path = path(nested);
        oracle::check(&setup, text.as_bytes());
    }

    #[test]
    fn mutated_json_records_match(
        mut setup in setup(Format::Json),
        (nested, data) in document()
            .prop_flat_map(|(nested, text)| (Just(nested), mutated(text))),
    ) {
        setup.path = path(nested);
        oracle::check(&setup, &data);
    }

    #[test]
    fn records_of_any_bytes_match(
        setup in prop_oneof![
            setup(Format::Csv), setup(Format::Ndjson), setup(Format::Json)
        ],
        nested in any::<bool>(),
        data in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let setup = Setup { path: path(nested), ..setup };
        oracle::check(&setup, &data);
    }
}
