//! Types of columns, and what is uncertain about them.

use super::{field, inferred};

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
        (
            &["2026-01-05", "0000-00-00"],
            "type=date nulls=[, 0000-00-00]",
        ),
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
        (&["01234 a", "5"], ""),
        (&["1", "NA"], "\"NA\" in 1 rows"),
        (
            &["N1", "NA"],
            "\"NA\" in 1 rows is text: name it in nulls if it stands for no value",
        ),
        (
            &["2026-01-05", "later"],
            "not a date or time because of \"later\"",
        ),
        (
            &["2026-01-05", "2026-02-30"],
            "not a date or time because of \"2026-02-30\"",
        ),
        (&["", ""], "no row has a value"),
    ] {
        let (kind, note) = kind(values);
        assert!(note.contains(expected), "{values:?}: {kind}: {note}");
    }
    assert_eq!(kind(&["13/01/2026"]).1, "");
    assert_eq!(kind(&["2026-01-05T10:30:00+01:00"]).1, "");
}

#[test]
fn one_impossible_day_among_many_is_a_reject() {
    let days = (0..200).map(|day| match day {
        150 => "2026-02-30T10:00:00Z".to_owned(),
        _ => format!("2026-03-{:02}T10:00:00Z", day % 31 + 1),
    });
    let days: Vec<_> = days.collect();
    let days: Vec<_> = days.iter().map(String::as_str).collect();
    let (settings, note) = kind(&days);
    assert_eq!(settings, "type=timestamp");
    assert_eq!(
        note,
        "1 values are no timestamp, such as \"2026-02-30T10:00:00Z\": their rows are rejects"
    );
}
