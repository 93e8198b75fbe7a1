use proptest::prelude::*;

use super::*;

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

/// Returns the type of the field of a column with these values, with its settings, and the notes.
fn kind(values: &[&str]) -> (String, String) {
    let rows = values.iter().zip(0..);
    let rows: Vec<_> = rows
        .map(|(value, row)| format!("r{row}\t{value}\n"))
        .collect();
    let inferred = inferred("a.tsv", format!("id\tv\n{}", rows.concat()));
    let settings = field(&inferred, "v");
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let notes = inferred.fields[1].settings.iter().map(|it| it.note.clone());
    (
        settings.join(" ").replace('"', ""),
        notes.collect::<Vec<_>>().concat(),
    )
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
fn types_are_those_that_fit_all_values() {
    for (values, expected) in [
        (&["1", "-20", ""][..], "type=integer"),
        (&["1", "2.5"], "type=decimal"),
        (&["1.0", "2.0"], "type=decimal"),
        (&["1e300", "2.5"], "type=float"),
        (&["1.234,50", "2,5"], "type=decimal decimal=, thousands=."),
        (&["1,234.50", "2.5"], "type=decimal thousands=,"),
        (
            &["$1,234.50", "$2.50"],
            "type=decimal currency=$ thousands=,",
        ),
        (&["5%", "7.5%"], "type=decimal currency=%"),
        (&["true", "False"], "type=boolean"),
        (&["0", "1"], "type=integer"),
        // Codes stay as they are.
        (&["01234", "56789"], "type=text"),
        (&["+4915112345", "+4915112346"], "type=text"),
        (&["1234567890123456", "2"], "type=text"),
        (&["2026-01-05", "2026-12-31"], "type=date"),
        (&["13/01/2026", "05/02/2026"], "type=date format=%d/%m/%Y"),
        (&["01/13/2026", "02/05/2026"], "type=date format=%m/%d/%Y"),
        (&["5.1.2026", "31.12.2026"], "type=date format=%d.%m.%Y"),
        (
            &["Jan 5, 2026", "Dec 31, 2026"],
            "type=date format=%b %d, %Y",
        ),
        (
            &["2026-01-05T10:30:00Z", "2026-01-05 10:30:00"],
            "type=timestamp",
        ),
        (
            &["01/13/2026 10:30", "12/05/2026 23:59"],
            "type=timestamp format=%m/%d/%Y %H:%M",
        ),
        (&["{\"a\":1}", "[1]"], "type=json"),
        (&["1", "two"], "type=text"),
        (&["", ""], "type=text"),
        (&["1", "NA", "3"], "type=integer nulls=[, NA]"),
        (&["a", "NA"], "type=text"),
        (&["a", "\\N"], "type=text nulls=[, \\\\N]"),
    ] {
        assert_eq!(kind(values).0, expected, "{values:?}");
    }
}

#[test]
fn what_is_uncertain_has_a_note() {
    for (values, expected) in [
        (
            &["01/02/2026", "03/04/2026"][..],
            "could also be date with format = \"%d/%m/%Y\"",
        ),
        (
            &["1,234", "2,345"],
            "could also be decimal with decimal = \",\"",
        ),
        (&["0", "1"], "could also be boolean"),
        (
            &["20260105", "20261231"],
            "could also be date with format = \"%Y%m%d\"",
        ),
        (&["2026-01-05 10:30:00"], "in UTC, unless timezone is set"),
        (&["01234", "5"], "not a number because of \"01234\""),
        (&["1", "NA"], "\"NA\" in 1 rows"),
        (&["", ""], "no row has a value"),
    ] {
        let (kind, note) = kind(values);
        assert!(note.contains(expected), "{values:?}: {kind}: {note}");
    }
    assert_eq!(kind(&["13/01/2026"]).1, "");
}

#[test]
fn the_dialect_is_that_with_regular_records() {
    for (file, expected) in [
        (
            "id;name;price\n1;a;1,5\n2;\"b;c\";2,5\n",
            &[("csv.delimiter", "\";\"")][..],
        ),
        (
            "id|name|at\n1|a, b|10:30\n2|b, c|11:45\n",
            &[("csv.delimiter", "\"|\"")],
        ),
        (
            "time,count\n2015-01-01 01:00:00,2\n2015-01-01 02:00:00,3\n",
            &[],
        ),
        (
            "id,name\n1,'a, b'\n2,'c, d'\n3,e\n",
            &[("csv.quote", "\"'\"")],
        ),
        (
            "id,text\n1,\"say \\\"a\\\", b\"\n2,\"c\"\n",
            &[("csv.escape", "\"\\\\\"")],
        ),
        ("id,name\n1,5\" pipe\n2,3\" pipe, long\n3,x\n", &[]),
        (
            "Report of May\n\nid,name,price\n1,a,2\n2,b,3\n",
            &[("csv.skip_lines", "2")],
        ),
        (
            "id, name, text\n1, \"a, b\", c\n2, \"d\", e\n",
            &[("csv.trim", "true")],
        ),
        ("sep=;\nid;name\n1;a\n2;b\n", &[]),
        (
            "1,a,2026-01-05\n2,b,2026-01-06\n",
            &[("csv.header", "false")],
        ),
    ] {
        let inferred = inferred("a.csv", file);
        assert_eq!(settings(&inferred), expected, "{file}");
    }
}

#[test]
fn columns_without_names_are_found_by_their_position() {
    let inferred = inferred("a.csv", "id,,note,note\n1,a,b,c\n2,d,e,f\n");
    let names: Vec<_> = inferred
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(names, ["id", "column_2", "column_3", "column_4"]);
    assert_eq!(field(&inferred, "column_2")[0], ("position", "2"));
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
fn encodings_are_found() {
    let file = "id,name\n1,Müller\n2,Weiß\n";
    assert_eq!(settings(&inferred("a.csv", file)), []);
    let latin: Vec<u8> = file
        .chars()
        .map(|char| u8::try_from(u32::from(char)).unwrap())
        .collect();
    assert_eq!(
        settings(&inferred("a.csv", latin)),
        [("encoding", "\"windows-1252\"")]
    );
    let utf_16: Vec<u8> = file.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        settings(&inferred("a.csv", &utf_16)),
        [("encoding", "\"UTF-16LE\"")]
    );
    let marked = [&[0xff, 0xfe][..], &utf_16].concat();
    assert_eq!(settings(&inferred("a.csv", marked)), []);
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
fn names_may_be_words_for_true_and_false() {
    let inferred = inferred("a.csv", "x,y,n\na,b,1\na,b,2\n");
    assert_eq!(settings(&inferred), []);
    assert_eq!(inferred.fields[1].name, "y");
}

#[test]
fn polluted_files_are_read() {
    let rows = |line: &dyn Fn(u32) -> String| (1..40).map(line).collect::<String>();
    let surplus = format!("id,name\n{}", rows(&|row| format!("{row},n,\n")));
    let found = inferred("a.csv", surplus);
    assert_eq!(settings(&found), [("csv.flexible", "true")]);
    assert_eq!(found.key.fields, ["id"]);
    let single = format!("name\n{}", rows(&|row| format!("Item {row}\n")));
    let found = inferred("a.csv", single);
    assert_eq!(settings(&found), []);
    assert_eq!(found.fields[0].name, "name");
    let titled = format!(
        "Report,,\n,,\nid,n,m\n{}",
        rows(&|row| format!("{row},,\n"))
    );
    let found = inferred("a.csv", titled);
    assert_eq!(settings(&found), [("csv.skip_lines", "2")]);
    assert_eq!(found.key.fields, ["id"]);
    let part = |first: u32| format!("id,at\n{first},2026-01-05\n");
    let joined = inferred("a.csv", (1..9).map(part).collect::<String>());
    let kinds: Vec<_> = joined.fields.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(
        (kinds, settings(&joined)),
        (vec!["integer", "date"], vec![])
    );
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
