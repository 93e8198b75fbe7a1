//! Which settings go together, and with which datasets.

use landfall_domain::Dataset;

use super::{ORDERS, check_mistake, parse};

#[test]
fn only_walks_that_miss_nothing_can_be_complete() {
    let with = |paging: &str, consistent: &str| {
        let base =
            "dataset = \"d\"\nurl = \"https://a.example\"\nevery = \"1 hour\"\ncomplete = true\n";
        parse(&format!("{base}{consistent}{paging}"))
            .map(|source| source.complete)
            .map_err(|error| error.to_string())
    };
    let keyset =
        "paging = { kind = \"keyset\", parameter = \"after\", field = \"id\", type = \"integer\" }";
    let linked = [
        "paging = { kind = \"cursor\", parameter = \"c\", cursor = \"next\" }",
        "paging = { kind = \"next_url\", next = \"next\" }",
        "paging = { kind = \"link\" }",
    ];
    let numbered = [
        "paging = { kind = \"page\", parameter = \"p\" }",
        "paging = { kind = \"offset\", parameter = \"o\" }",
    ];
    assert_eq!(with("", ""), Ok(true));
    assert_eq!(with(keyset, ""), Ok(true));
    for paging in linked {
        let refused = with(paging, "").unwrap_err();
        assert!(
            refused.starts_with("s.toml:4: complete: needs consistent = true"),
            "{refused}"
        );
        assert_eq!(with(paging, "consistent = true\n"), Ok(true), "{paging}");
    }
    for paging in numbered {
        for consistent in ["", "consistent = true\n"] {
            let refused = with(paging, consistent).unwrap_err();
            assert!(
                refused.starts_with("s.toml:4: complete: is refused with pages by number"),
                "{refused}"
            );
        }
    }
    check_mistake(
        ORDERS,
        "every =",
        "complete = true\nevery =",
        "4: complete: contradicts [incremental]",
    );
    check_mistake(
        ORDERS,
        "every =",
        "consistent = true\nevery =",
        "4: consistent: is about complete = true",
    );
}

#[test]
fn the_dataset_of_a_complete_source_is_a_snapshot_and_no_other_is() {
    let dataset = |settings: &str| {
        let text = format!(
            "name = \"d\"\nkey = [\"id\"]\n{settings}fields = [{{ name = \"id\", type = \"text\" }}]\n"
        );
        Dataset::from_toml("d.toml", &text).unwrap()
    };
    let base = "dataset = \"d\"\nurl = \"https://a.example\"\nevery = \"1 hour\"\n";
    let part = parse(base).unwrap();
    let whole = parse(&format!("{base}complete = true\n")).unwrap();
    let snapshot = dataset("mode = \"snapshot\"\n");
    assert_eq!(whole.check_dataset(&snapshot), Ok(()));
    assert_eq!(part.check_dataset(&dataset("")), Ok(()));
    assert!(
        whole
            .check_dataset(&dataset(""))
            .unwrap_err()
            .contains("mode = \"snapshot\"")
    );
    assert!(
        part.check_dataset(&snapshot)
            .unwrap_err()
            .contains("complete = true")
    );
    assert_eq!(
        part.check_dataset(&dataset("format = \"ndjson\"\n")),
        Ok(())
    );
    assert!(part.check_dataset(&dataset("format = \"json\"\n")).is_err());
}

#[test]
fn formats_without_properties_have_none_to_read() {
    let base =
        "dataset = \"d\"\nurl = \"https://a.example\"\nevery = \"1 hour\"\nformat = \"FORMAT\"\n";
    for (format, rest, start) in [
        ("csv", "records = \"a\"\n", "5: records: is a path in JSON"),
        (
            "csv",
            "paging = { kind = \"keyset\", parameter = \"p\", field = \"a\", type = \"integer\" }\n",
            "5: paging: fields of csv",
        ),
        (
            "tsv",
            "incremental = { field = \"a\", type = \"text\", parameter = \"p\" }\n",
            "5: incremental: fields of tsv",
        ),
        (
            "ndjson",
            "paging = { kind = \"next_url\", next = \"a\" }\n",
            "5: paging: an answer with format = \"ndjson\"",
        ),
    ] {
        check_mistake(&format!("{base}{rest}"), "FORMAT", format, start);
    }
    let field = "incremental = { field = \"a\", type = \"text\", parameter = \"p\" }\n";
    let ndjson =
        format!("{base}paging = {{ kind = \"link\" }}\n{field}").replace("FORMAT", "ndjson");
    assert!(!parse(&ndjson).unwrap().streams());
    let header = "incremental = { cursor_header = \"x-token\", parameter = \"since\" }\n";
    let csv = format!("{base}{header}").replace("FORMAT", "csv");
    assert!(parse(&csv).unwrap().streams());
    let pages = format!("{csv}paging = {{ kind = \"link\" }}\n");
    assert!(!parse(&pages).unwrap().streams());
}

#[test]
fn pages_of_tables_need_options_with_which_they_can_be_joined() {
    let base =
        "dataset = \"d\"\nurl = \"https://a.example\"\nevery = \"1 hour\"\nformat = \"csv\"\n";
    let pages = parse(&format!("{base}paging = {{ kind = \"link\" }}\n")).unwrap();
    let dataset = |csv: &str| {
        let text = format!(
            "name = \"d\"\nkey = [\"id\"]\nfields = [{{ name = \"id\", type = \"integer\" }}]\n{csv}"
        );
        Dataset::from_toml("d.toml", &text).unwrap()
    };
    assert_eq!(
        pages.check_dataset(&dataset("csv = { delimiter = \";\" }\n")),
        Ok(())
    );
    for (setting, name) in [
        ("skip_lines = 1", "csv.skip_lines"),
        ("comment = \"#\"", "csv.comment"),
    ] {
        let dataset = dataset(&format!("csv = {{ {setting} }}\n"));
        let error = pages.check_dataset(&dataset).unwrap_err();
        assert!(error.contains(name), "{error}");
        assert_eq!(parse(base).unwrap().check_dataset(&dataset), Ok(()));
    }
}
