//! How files are written.

use super::{field, inferred, settings};

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
    assert_eq!(names, ["id", "column_2", "note", "note_2"]);
    assert_eq!(field(&inferred, "column_2")[0], ("position", "2"));
    assert_eq!(field(&inferred, "note")[0], ("position", "3"));
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
    // A row of another encoding does not change that of the others.
    let stray = [file.as_bytes(), b"3,Caf\xe9\n"].concat();
    let stray = inferred("a.csv", stray);
    assert_eq!(settings(&stray), []);
    assert!(stray.notes[0].contains("byte 0xe9"), "{:?}", stray.notes);
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
