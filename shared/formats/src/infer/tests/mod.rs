use proptest::prelude::*;

use super::*;

mod dialects;
mod types;

/// Returns what is inferred from a file, after checking that the definition is accepted.
fn inferred(file: &str, content: impl AsRef<[u8]>) -> Inferred {
    let content = content.as_ref();
    let source = Source {
        dataset: "goods",
        file,
        size: content.len() as u64,
    };
    let read = |range: ByteRange| {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        Ok::<_, std::convert::Infallible>(content[range].to_vec())
    };
    let inferred = infer(source, read).unwrap().unwrap();
    let text = inferred.to_string();
    let read = Dataset::from_toml("goods.toml", &text);
    assert!(read.is_ok(), "{read:?}\n{text}");
    let short = Dataset::from_toml("goods.toml", &inferred.to_short_toml());
    assert_eq!(read, short);
    inferred
}

/// Returns the settings of the dataset, without notes.
fn settings(inferred: &Inferred) -> Vec<(&str, &str)> {
    let settings = inferred.settings.iter();
    settings.map(|it| (it.name, it.value.as_str())).collect()
}

/// Returns the settings of a field after its name, without notes.
fn field<'i>(inferred: &'i Inferred, name: &str) -> Vec<(&'i str, &'i str)> {
    let mut fields = inferred.fields.iter();
    let field = fields.find(|field| field.name == name).unwrap();
    let settings = field.settings.iter().skip(1);
    settings.map(|it| (it.name, it.value.as_str())).collect()
}

#[test]
fn a_usual_file_needs_no_settings() {
    let file = "Sku,Name,Price,In stock,Added\nA1,Lamp,1.50,yes,2026-01-05\nA2,,2,no,2026-01-06\n";
    let inferred = inferred("goods.csv", file);
    assert_eq!(settings(&inferred), []);
    assert_eq!(inferred.key.fields, ["sku"]);
    assert_eq!(field(&inferred, "price"), [("type", "\"decimal\"")]);
    assert_eq!(
        field(&inferred, "in_stock"),
        [("column", "\"In stock\""), ("type", "\"boolean\"")]
    );
    assert_eq!(field(&inferred, "added"), [("type", "\"date\"")]);
    assert_eq!(inferred.looked_at, "all 2 rows");
}

#[test]
fn names_become_names_of_fields() {
    for (name, expected) in [
        ("Unit Price", "unit_price"),
        ("unitPrice", "unit_price"),
        ("  Größe (cm) ", "gro_e_cm"),
        ("2019", "c_2019"),
        ("名前", "column"),
        ("IMDB Rating", "imdb_rating"),
    ] {
        assert_eq!(identifier(name), expected, "{name}");
    }
}

#[test]
fn keys_are_fields_that_identify_rows() {
    for (file, expected) in [
        ("a,id,b\nx,1,1\nx,2,1\n", &["id"][..]),
        (
            "order_no,line_no,count\n1,1,5\n1,2,5\n2,1,5\n",
            &["order_no", "line_no"],
        ),
        // What happens to be unique need not be in the next file.
        ("price,name\n1,a\n2,b\n", &[]),
        ("country,year,count\na,1,5\na,2,5\nb,1,5\n", &[]),
        ("id,name\n1,a\n,b\n", &[]),
        ("name,count\na,1\na,2\n", &[]),
        ("a,b\nx,y\nx,y\n", &[]),
    ] {
        assert_eq!(inferred("a.csv", file).key.fields, expected, "{file}");
    }
}

#[test]
fn json_has_paths_and_the_types_of_its_values() {
    let document = r#"{"at": 1, "data": {"items": [{"Id": "a", "n": 1.5, "b": true, "o": {"x": [1]}},
        {"Id": "b", "when": "2026-01-05T10:00:00Z", "m": 3}]}, "other": [{"z": 1}]}"#;
    let inferred = inferred("a.json", document);
    assert_eq!(settings(&inferred), [("json.path", "\"data.items\"")]);
    assert_eq!(inferred.format, Format::Json);
    let kinds: Vec<_> = inferred
        .fields
        .iter()
        .map(|it| (it.name.as_str(), it.kind.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("id", "text"),
            ("n", "decimal"),
            ("b", "boolean"),
            ("o", "json"),
            ("when", "timestamp"),
            ("m", "integer"),
        ]
    );
    assert_eq!(field(&inferred, "id")[0], ("column", "\"Id\""));
    let lines = super::tests::inferred("a.ndjson", "{\"id\":1,\"x\":1}\n{\"id\":2,\"x\":\"a\"}\n");
    assert_eq!(lines.format, Format::Ndjson);
    assert_eq!(lines.fields[1].kind.as_str(), "text");
}

#[test]
fn the_start_of_a_file_ends_with_a_whole_record() {
    let source = Source {
        dataset: "goods",
        file: "a.csv",
        size: 1_000,
    };
    let inferred = infer_parts(source, vec![b"id,at\n1,2026-01-05\n2,2026-0".to_vec()]).unwrap();
    assert_eq!(inferred.fields[1].kind.as_str(), "date");
    assert_eq!(inferred.looked_at, "1 rows, in 27 of 1000 bytes: the start");
}

#[test]
fn a_budget_bounds_what_is_read() {
    for size in [1, 1 << 20, (1 << 20) + 1, 5 << 40] {
        let ranges = Budget::FUNCTION.ranges(size);
        let bytes: u64 = ranges.iter().map(ByteRange::len).sum();
        assert!(bytes <= 1 << 20, "{size}: {bytes}");
        assert_eq!(ranges.last().map(|range| range.end), Some(size));
        assert!(ranges.is_sorted_by(|one, other| one.end <= other.start));
    }
}

#[test]
fn a_large_file_is_read_in_parts() {
    let text = "a long text ".repeat(20);
    let rows = (0..100_000).map(|row| format!("{row},{}.5,00{row},{text}\n", row % 7));
    let file = "id,price,code,text\n".to_owned() + &rows.collect::<Vec<_>>().concat();
    let content = file.as_bytes();
    let mut read_bytes = 0;
    let source = Source {
        dataset: "goods",
        file: "a.csv",
        size: content.len() as u64,
    };
    let read = |range: ByteRange| {
        read_bytes += range.len();
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        Ok::<_, std::convert::Infallible>(content[range].to_vec())
    };
    let inferred = infer(source, read).unwrap().unwrap();
    assert!(read_bytes < 14 * 1024 * 1024, "{read_bytes}");
    assert_eq!(inferred.key.fields, ["id"]);
    let kinds: Vec<_> = inferred.fields.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(kinds, ["integer", "decimal", "text", "text"]);
    assert!(
        inferred
            .looked_at
            .contains(" bytes: the start, the end and 8 places in between")
    );
}

#[test]
fn files_without_rows_have_no_definition() {
    let infer = |file: &str, content: &[u8]| {
        let source = Source {
            dataset: "goods",
            file,
            size: content.len() as u64,
        };
        let read = |_: ByteRange| Ok::<_, std::convert::Infallible>(content.to_vec());
        infer(source, read).unwrap().unwrap_err().code
    };
    assert_eq!(infer("a.csv", b""), ProblemCode::EmptyObject);
    assert_eq!(infer("a.csv", b"id,name\n"), ProblemCode::NoRecords);
    assert_eq!(infer("a.json", b"[]"), ProblemCode::NoRecords);
    assert_eq!(
        infer("a.csv", b"\x1f\x8b\x08\0"),
        ProblemCode::FormatMismatch
    );
}

proptest! {
    #[test]
    fn a_definition_of_any_file_is_accepted(
        cells in prop::collection::vec(
            prop::collection::vec("[a-cA\\\\\"'0-2.,;é \t€#-]{0,6}|NA|2026-01-0[1-3]|\\PC{0,3}", 1..5),
            1..8,
        ),
        delimiter in prop::sample::select(vec![",", ";", "\t", "|"]),
        file in prop::sample::select(vec!["a.csv", "a.tsv", "a.txt"]),
    ) {
        let lines: Vec<_> = cells.iter().map(|cells| cells.join(delimiter) + "\n").collect();
        let content = lines.concat();
        let source = Source { dataset: "goods", file, size: content.len() as u64 };
        let read = |_: ByteRange| Ok::<_, std::convert::Infallible>(content.clone().into_bytes());
        let Ok(inferred) = infer(source, read);
        if let Ok(inferred) = inferred {
            let text = inferred.to_string();
            let read = Dataset::from_toml("goods.toml", &text);
            prop_assert!(read.is_ok(), "{:?}\n{}", read, text);
        }
    }
}
