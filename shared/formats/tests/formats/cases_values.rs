//! The cases of `tests/cases` about values and definitions, through detection, scanner, header and decoding.

use landfall_domain::{Dataset, Format, Reject, RejectCode, Row};
use landfall_formats::{Decoded, Header};

use crate::ingest::ingest;

fn read(case: &str, file: &str) -> String {
    String::from_utf8(crate::ingest::read(case, file)).unwrap()
}

/// Returns a definition after replacing a text in it.
fn changed(case: &str, definition: &str, from: &str, to: &str) -> Dataset {
    let text = read(case, definition);
    assert!(text.contains(from), "{text}");
    Dataset::from_toml(definition, &text.replacen(from, to, 1)).unwrap()
}

fn dataset(case: &str, definition: &str) -> Dataset {
    changed(case, definition, "", "")
}

fn decoded(dataset: &Dataset, case: &str, file: &str) -> Decoded {
    decoded_text(dataset, file, &read(case, file))
}

fn decoded_text(dataset: &Dataset, file: &str, text: &str) -> Decoded {
    ingest(dataset, file, text.as_bytes()).decoded
}

/// Returns the texts of a row's values, with a prefix if the row is a delete.
fn texts(row: &Row) -> String {
    let texts = row
        .values
        .iter()
        .map(|value| value.to_text().unwrap_or("null".into()));
    let texts: Vec<_> = texts.collect();
    let prefix = if row.deleted { "delete " } else { "" };
    format!("{prefix}{}", texts.join("|"))
}

pub(crate) fn assert_rows(decoded: &Decoded, expected: &[&str]) {
    let rows: Vec<_> = decoded.rows.iter().map(texts).collect();
    assert_eq!(rows, expected, "{:?}", decoded.rejects);
}

/// Checks lines, columns, and parts of the messages of all rejects. Every message names the column.
pub(crate) fn assert_rejects(
    decoded: &Decoded,
    code: RejectCode,
    expected: &[(u64, &str, &[&str])],
) {
    let places = decoded
        .rejects
        .iter()
        .map(|reject| (reject.line, reject.column.as_deref()));
    let expected_places = expected
        .iter()
        .map(|(line, column, _)| (*line, Some(*column)));
    assert!(places.eq(expected_places), "{:?}", decoded.rejects);
    for (
        Reject {
            message,
            code: found,
            ..
        },
        (_, column, parts),
    ) in decoded.rejects.iter().zip(expected)
    {
        assert_eq!(*found, code, "{message}");
        let start = format!("column {column:?}: ");
        assert!(message.starts_with(&start), "{message}");
        for part in *parts {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
}

#[test]
fn years_of_two_digits_are_rejected_or_parsed_by_lower_case_y() {
    let case = "05-two-digit-years";
    let found = decoded(&dataset(case, "invoices.toml"), case, "invoices.csv");
    assert_rows(&found, &["I-1|2024-12-31|2024-12-31T08:30:00Z|c1"]);
    let parts: &[&str] = &["is not a date like %d/%m/%Y", "use %y"];
    let expected = [(3, "issued", parts), (4, "issued", parts)];
    assert_rejects(&found, RejectCode::Type, &expected);

    let text = read(case, "invoices.toml").replace("%Y", "%y");
    let short = Dataset::from_toml("invoices.toml", &text).unwrap();
    let found = decoded(&short, case, "invoices.csv");
    let rows = [
        "I-2|2024-12-31|2024-12-31T08:30:00Z|c1",
        "I-3|2005-02-01|2005-02-01T09:05:00Z|c1",
    ];
    assert_rows(&found, &rows);
    assert_eq!(found.rejects.len(), 1);
}

#[test]
fn operations_are_known_or_rejected() {
    let case = "10-operation-codes";
    let customers = dataset(case, "customers.toml");
    let found = decoded(&customers, case, "1-load.csv");
    assert_eq!((found.rows.len(), found.rejects.len()), (6, 0));
    assert!(found.rows.iter().all(|row| !row.deleted));

    let changes = [
        "delete C-1|null|null",
        "delete C-2|null|null",
        "delete C-3|null|null",
        "delete C-5|null|null",
        "C-6|Name 6b|Town",
    ];
    let found = decoded(&customers, case, "2-changes.csv");
    assert_rows(&found, &changes);
    let parts: &[&str] = &[
        "\"remove\" is neither in operation.delete [\"delete\", \"d\"] nor in operation.upsert [\"upsert\", ",
        "add it to one of them",
    ];
    assert_rejects(&found, RejectCode::Operation, &[(5, "Op", parts)]);

    // With own lists, what they lack is rejected: also the empty operation, unless it is listed.
    let own = r#"{ column = "Op", delete = ["remove"], upsert = ["put"] }"#;
    let own = changed(case, "customers.toml", r#"{ column = "Op" }"#, own);
    let found = decoded_text(&own, "a.csv", "Op,id\nREMOVE,a\nput,b\nU,c\n,d\n");
    assert_rows(&found, &["delete a|null|null", "b|null|null"]);
    let expected: [(u64, &str, &[&str]); 2] = [(4, "Op", &["\"U\""]), (5, "Op", &["\"\" is"])];
    assert_rejects(&found, RejectCode::Operation, &expected);

    let lines = "{\"id\":\"a\",\"Op\":null}\n{\"id\":\"b\"}\n{\"id\":\"c\",\"Op\":\" D\"}\n{\"id\":\"d\",\"Op\":1}\n";
    let found = decoded_text(&customers, "a.ndjson", lines);
    assert_rows(
        &found,
        &["a|null|null", "b|null|null", "delete c|null|null"],
    );
    assert_rejects(
        &found,
        RejectCode::Operation,
        &[(4, "Op", &["\"1\" is neither"])],
    );
}

#[test]
fn a_file_without_operations_is_warned_about() {
    let case = "10-operation-codes";
    let customers = dataset(case, "customers.toml");
    let warnings = |header: &str| {
        let header = Header::parse(header.as_bytes(), &customers, &Format::Csv.into()).unwrap();
        let warnings = header.warnings().iter();
        warnings
            .map(|warning| warning.message.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings("op ,id,name,city"), [""; 0]);
    let found = warnings("operation,id,name,city");
    assert!(
        found
            .iter()
            .any(|message| message.contains("no column \"Op\"")),
        "{found:?}"
    );
}

#[test]
fn white_space_around_nulls_is_ignored_except_in_text() {
    let fields = r#"
        { name = "n", type = "integer", nulls = ["", "-"] },
        { name = "t", type = "text", nulls = ["", "-"] },
    "#;
    let found = crate::csv(
        &crate::dataset("", fields),
        Some("sku,n,t"),
        b"a, ,-\nb, - , - \n",
    );
    assert_rows(&found, &["a|null|null", "b|null| - "]);
}

#[test]
fn a_key_finer_than_a_microsecond_is_rejected_and_other_timestamps_are_cut() {
    let case = "11-nanosecond-keys";
    let found = decoded(&dataset(case, "trades.toml"), case, "trades.csv");
    assert_rows(&found, &[]);
    let parts: &[&str] = &["more precision than a microsecond", "a key is never cut"];
    let expected = [2, 3, 4].map(|line| (line, "at", parts));
    assert_rejects(&found, RejectCode::Type, &expected);

    let other_key = changed(case, "trades.toml", r#"["symbol", "at"]"#, r#"["price"]"#);
    let found = decoded(&other_key, case, "trades.csv");
    assert_eq!(found.rows.len(), 3);
    assert_eq!(
        texts(&found.rows[2]),
        "XYZ|2026-01-05T09:30:00.123456Z|10.03"
    );
}

#[test]
fn timestamps_reach_the_end_of_9999() {
    let case = "17-end-of-time";
    let prices = dataset(case, "listprices.toml");
    let rows = [
        "L-1|9999-12-30T21:00:00Z|9999-12-31",
        "L-2|9999-12-31T23:59:59Z|9999-12-31",
        "L-3|9999-12-31T23:59:59.999999Z|9999-12-31",
        "L-4|9999-12-31T00:00:00Z|9999-12-31",
    ];
    assert_rows(&decoded(&prices, case, "prices.csv"), &rows);
    let beyond = "sku,valid_to\nL-5,9999-12-31T23:59:59-01:00\n";
    let found = decoded_text(&prices, "a.csv", beyond);
    let parts: &[&str] = &["not in the years 1 to 9999 of UTC", "nulls"];
    assert_rejects(&found, RejectCode::Type, &[(2, "valid_to", parts)]);
}

#[test]
fn european_numbers_need_settings_that_their_rejects_name() {
    let case = "21-european-numbers";
    let found = decoded(&dataset(case, "bookings.toml"), case, "bookings.csv");
    assert_rows(&found, &["N-5|12.5"]);
    let expected: [(u64, &str, &[&str]); 4] = [
        (
            2,
            "amount",
            &["set decimal = \",\" and thousands = \".\" if"],
        ),
        (3, "amount", &["set decimal = \",\" if"]),
        (
            4,
            "amount",
            &["set decimal = \",\" and currency = \"€\" if"],
        ),
        (5, "amount", &["set accounting = true if"]),
    ];
    assert_rejects(&found, RejectCode::Type, &expected);

    let settings =
        "decimal = \",\"\nthousands = \".\"\ncurrency = \"€\"\naccounting = true\nrequired";
    let european = changed(case, "bookings.toml", "required", settings);
    let found = decoded(&european, case, "bookings.csv");
    assert_rows(&found, &["N-1|1234.56", "N-2|-2.4", "N-3|12.5"]);
    let parts: &[&str] = &["written with decimal = \",\" and thousands = \".\""];
    assert_rejects(
        &found,
        RejectCode::Type,
        &[(5, "amount", parts), (6, "amount", parts)],
    );

    // Numbers of JSON have one form, whatever texts have.
    let lines = "{\"id\":\"a\",\"amount\":12.5}\n{\"id\":\"b\",\"amount\":\"12,5\"}\n";
    let found = decoded_text(&european, "a.ndjson", lines);
    assert_rows(&found, &["a|12.5", "b|12.5"]);
}

#[test]
fn epoch_numbers_are_timestamps() {
    let case = "22-epoch-timestamps";
    let charges = dataset(case, "charges.toml");
    let at = "2026-01-05T10:30:00Z";
    assert_rows(
        &decoded(&charges, case, "seconds.csv"),
        &[&format!("ch_4|{at}")],
    );
    let found = decoded(&charges, case, "stripe.ndjson");
    assert_rows(&found, &[&format!("ch_1|{at}"), &format!("ch_2|{at}")]);
    let parts: &[&str] = &[
        "\"1767609000123\" is not in the years",
        "set format = \"epoch_ms\"",
    ];
    assert_rejects(&found, RejectCode::Type, &[(3, "created", parts)]);

    let milliseconds = changed(case, "charges.toml", "\"%s\"\n", "\"epoch_ms\"\n");
    let lines =
        "{\"id\":\"a\",\"created\":1767609000123}\n{\"id\":\"b\",\"created\":1.767609E12}\n";
    let found = decoded_text(&milliseconds, "a.ndjson", lines);
    assert_rows(&found, &["a|2026-01-05T10:30:00.123Z", &format!("b|{at}")]);

    let iso = changed(case, "charges.toml", "format = \"%s\"\n", "");
    let found = decoded(&iso, case, "stripe.ndjson");
    let expected: [(u64, &str, &[&str]); 3] = [
        (
            1,
            "created",
            &[
                "is a number, not a timestamp in quotes",
                "set format = \"epoch_s\"",
            ],
        ),
        (2, "created", &["set format = \"epoch_s\""]),
        (3, "created", &["set format = \"epoch_ms\""]),
    ];
    assert_rejects(&found, RejectCode::Type, &expected);
}

#[test]
fn null_gets_the_default_like_an_empty_or_a_missing_value() {
    let case = "24-json-null-and-default";
    let tickets = dataset(case, "tickets.toml");
    let rows = [
        "J-1|created|false",
        "J-2|created|false",
        "J-3|created|false",
    ];
    assert_rows(&decoded(&tickets, case, "tickets.ndjson"), &rows);
    let csv = "id,status,gift\nJ-1,,\n";
    assert_rows(&decoded_text(&tickets, "a.csv", csv), &rows[..1]);
    assert_rows(&decoded_text(&tickets, "a.csv", "id\nJ-1\n"), &rows[..1]);
}

#[test]
fn local_times_are_in_the_time_zone_of_the_definition() {
    let case = "30-local-times";
    let beaches = changed(
        case,
        "beaches.toml",
        "format",
        "timezone = \"America/Chicago\"\nformat",
    );
    let rows = ["W-1|2019-06-15T00:00:00Z", "W-2|2018-04-07T05:30:00Z"];
    assert_rows(&decoded(&beaches, case, "beaches.csv"), &rows);
    // Without the setting, they are in UTC.
    let utc = decoded(&dataset(case, "beaches.toml"), case, "beaches.csv");
    assert_eq!(texts(&utc.rows[0]), "W-1|2019-06-14T19:00:00Z");

    let zoned = dataset(case, "zoned.toml");
    let rows = [
        "W-3|2026-06-15T14:00:00Z",
        "W-4|2026-06-15T14:00:00Z",
        "W-5|2026-06-15T10:00:00Z",
    ];
    assert_rows(&decoded(&zoned, case, "zoned.csv"), &rows);
    let wrong = "id,at\na,2026-06-15T10:00:00[America/New_Yrk]\nb,2026-11-01T01:30[America/New_York]\n\
        c,2026-03-08T02:30[America/New_York]\nd,2026-06-15T10:00+01:00[America/New_York]\n";
    let expected: [(u64, &str, &[&str]); 4] = [
        (2, "at", &["did you mean \"America/New_York\"?"]),
        (
            3,
            "at",
            &["occurs twice in America/New_York", "fold = \"earlier\""],
        ),
        (4, "at", &["never occurs in America/New_York"]),
        (
            5,
            "at",
            &["has an offset that America/New_York does not have"],
        ),
    ];
    assert_rejects(
        &decoded_text(&zoned, "a.csv", wrong),
        RejectCode::Type,
        &expected,
    );
    let later = changed(case, "zoned.toml", "name", "fold = \"later\"\nname");
    let rows = ["b|2026-11-01T06:30:00Z", "c|2026-03-08T07:30:00Z"];
    assert_rows(&decoded_text(&later, "a.csv", wrong), &rows);
}

#[test]
fn values_of_rows_that_lose_precision_are_counted_by_field() {
    let fields = r#"{ name = "at", type = "timestamp" }, { name = "seen", type = "timestamp", format = "epoch_ms" }"#;
    let dataset = crate::dataset("", fields);
    let csv = "sku,at,seen\n\
        a,2026-01-05T09:30:00.1234567Z,1767609000123.4567\n\
        b,2026-01-05T09:30:00.1234560Z,1767609000123.456\n\
        c,2026-01-05T09:30:00.123456789+01:00,\n\
        ,2026-01-05T09:30:00.1234567Z,\n";
    let ndjson = r#"{"sku":"a","at":"2026-01-05T09:30:00.1234567Z","seen":1767609000123.4567}
        {"sku":"b","at":"2026-01-05T09:30:00.1234560Z","seen":"1767609000123.456"}
        {"sku":"c","at":"2026-01-05 09:30:00.123456789"}"#;
    for (file, text, rejects) in [("a.csv", csv, 1), ("a.ndjson", ndjson, 0)] {
        let found = decoded_text(&dataset, file, text);
        assert_eq!(
            (found.rows.len(), found.rejects.len()),
            (3, rejects),
            "{file}"
        );
        // Neither the row without a key, nor the zeros of row b.
        assert_eq!(found.truncated, [(1, 2), (2, 1)].into(), "{file}");
    }
}
