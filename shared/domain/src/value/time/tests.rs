use super::*;

fn zoned(name: &str, fold: Option<Fold>) -> TimeNotation {
    TimeNotation {
        zone: Some(zone::zone(name).unwrap()),
        fold,
        ..TimeNotation::default()
    }
}

fn formatted(format: &str) -> TimeNotation {
    TimeNotation {
        format: Some(TimeFormat::Pattern(format.to_owned())),
        ..TimeNotation::default()
    }
}

fn instant(text: &str, notation: &TimeNotation) -> Result<String, TimeError> {
    timestamp(text, notation, &mut false).map(|instant| instant.to_string())
}

#[test]
fn iso_times_have_an_offset_or_a_zone_or_are_in_utc() {
    let utc = TimeNotation::default();
    for (text, expected) in [
        ("2026-06-15T10:00:00", "2026-06-15T10:00:00Z"),
        ("2026-06-15 10:00:00+02", "2026-06-15T08:00:00Z"),
        ("2026-06-15 10:00:00 +0200", "2026-06-15T08:00:00Z"),
        ("2026-06-15 10:00:00 UTC", "2026-06-15T10:00:00Z"),
        ("2026-06-15", "2026-06-15T00:00:00Z"),
        (
            "2026-06-15T10:00:00[America/New_York]",
            "2026-06-15T14:00:00Z",
        ),
        (
            "2026-06-15T10:00:00-04:00[America/New_York]",
            "2026-06-15T14:00:00Z",
        ),
        (
            "2026-06-15T10:00:00Z[America/New_York]",
            "2026-06-15T10:00:00Z",
        ),
        // The offset says which of the two times it is.
        (
            "2026-11-01T01:30:00-05:00[America/New_York]",
            "2026-11-01T06:30:00Z",
        ),
        (
            "9999-12-31T23:59:59.9999999Z",
            "9999-12-31T23:59:59.999999Z",
        ),
        ("9999-12-31T23:59:59-00:00", "9999-12-31T23:59:59Z"),
        ("0001-01-01", "0001-01-01T00:00:00Z"),
    ] {
        assert_eq!(instant(text, &utc).as_deref(), Ok(expected), "{text}");
    }
    let new_york = || "America/New_York".to_owned();
    for (text, error) in [
        (
            "2026-06-15T10:00:00-05:00[America/New_York]",
            TimeError::Offset(new_york()),
        ),
        (
            "2026-11-01T01:30:00[America/New_York]",
            TimeError::Repeated(new_york()),
        ),
        (
            "2026-03-08T02:30:00[America/New_York]",
            TimeError::Skipped(new_york()),
        ),
        ("9999-12-31T23:59:59-01:00", TimeError::Range),
        ("0000-12-31", TimeError::Range),
        ("2026-06-15T10:00:00 CEST", TimeError::Form),
        ("15/06/2026", TimeError::Form),
    ] {
        assert_eq!(instant(text, &utc), Err(error), "{text}");
    }
    let unknown = instant("2026-06-15T10:00[America/New_Yorck]", &utc);
    let Err(TimeError::Zone(message)) = unknown else {
        panic!("{unknown:?}");
    };
    assert!(
        message.contains("did you mean \"America/New_York\"?"),
        "{message}"
    );
}

#[test]
fn local_times_are_those_of_the_zone() {
    let reject = zoned("America/Chicago", None);
    let earlier = zoned("America/Chicago", Some(Fold::Earlier));
    let later = zoned("America/Chicago", Some(Fold::Later));
    for (notation, text, expected) in [
        (&reject, "2019-06-14T19:00:00", "2019-06-15T00:00:00Z"),
        (&reject, "2019-06-14T19:00:00Z", "2019-06-14T19:00:00Z"),
        (&reject, "2019-06-14", "2019-06-14T05:00:00Z"),
        (
            &reject,
            "2019-06-14T19:00[Europe/Paris]",
            "2019-06-14T17:00:00Z",
        ),
        (&earlier, "2026-11-01T01:30:00", "2026-11-01T06:30:00Z"),
        (&later, "2026-11-01T01:30:00", "2026-11-01T07:30:00Z"),
        (&earlier, "2026-03-08T02:30:00", "2026-03-08T07:30:00Z"),
        (&later, "2026-03-08T02:30:00", "2026-03-08T08:30:00Z"),
    ] {
        assert_eq!(instant(text, notation).as_deref(), Ok(expected), "{text}");
    }
    let chicago = || "America/Chicago".to_owned();
    let repeated = instant("2026-11-01T01:30:00", &reject);
    assert_eq!(repeated, Err(TimeError::Repeated(chicago())));
    let skipped = instant("2026-03-08T02:30:00", &reject);
    assert_eq!(skipped, Err(TimeError::Skipped(chicago())));
    // Midnight of the year 10000 in UTC.
    assert_eq!(
        instant("9999-12-31T23:59:59", &reject),
        Err(TimeError::Range)
    );
    let tokyo = zoned("Asia/Tokyo", None);
    let last = instant("9999-12-31T23:59:59", &tokyo);
    assert_eq!(last.as_deref(), Ok("9999-12-31T14:59:59Z"));
}

#[test]
fn years_have_four_digits_except_with_lower_case_y() {
    for (pattern, text, expected) in [
        ("%d/%m/%Y", "31/12/2024", Ok("2024-12-31")),
        ("%d/%m/%Y", "1/2/0024", Ok("0024-02-01")),
        ("%d/%m/%Y", "31/12/24", Err(TimeError::ShortYear)),
        ("%d/%m/%Y", "1/2/05", Err(TimeError::ShortYear)),
        ("%d/%m/%Y", "1/2/204", Err(TimeError::ShortYear)),
        ("%d/%m/%Y", "1/2/20245", Err(TimeError::Form)),
        ("%d/%m/%y", "31/12/24", Ok("2024-12-31")),
        ("%d/%m/%y", "31/12/2024", Err(TimeError::Form)),
        ("%F", "24-01-02", Err(TimeError::ShortYear)),
        ("%Y%m%d", "20241231", Ok("2024-12-31")),
        ("%d%m%Y", "311224", Err(TimeError::ShortYear)),
        ("%G-W%V-%u", "26-W01-2", Err(TimeError::ShortYear)),
        ("%d.%m.%Y", "31.12.9999", Ok("9999-12-31")),
    ] {
        let notation = formatted(pattern);
        let found = date(text, &notation).map(|day| day.to_string());
        assert_eq!(found, expected.map(str::to_owned), "{pattern} {text}");
    }
}

#[test]
fn patterns_can_contain_offsets_and_zones() {
    for (pattern, text, expected) in [
        (
            "%m/%d/%Y %I:%M:%S %p",
            "06/14/2019 07:00:00 PM",
            "2019-06-14T19:00:00Z",
        ),
        ("%d/%m/%Y %H:%M", "31/12/9999 23:59", "9999-12-31T23:59:00Z"),
        ("%d/%m/%Y", "31/12/9999", "9999-12-31T00:00:00Z"),
        (
            "%F %T %z",
            "2026-06-15 10:00:00 +0200",
            "2026-06-15T08:00:00Z",
        ),
        (
            "%F %T %Q",
            "2026-06-15 10:00:00 America/Chicago",
            "2026-06-15T15:00:00Z",
        ),
        (
            "%F %T UTC",
            "2026-06-15 10:00:00 UTC",
            "2026-06-15T10:00:00Z",
        ),
    ] {
        let found = instant(text, &formatted(pattern));
        assert_eq!(found.as_deref(), Ok(expected), "{pattern} {text}");
    }
}

#[test]
fn epoch_numbers_can_have_fractions() {
    use EpochUnit::{Microseconds, Milliseconds, Seconds};
    for (unit, text, expected) in [
        (Seconds, "1767609000", Ok("2026-01-05T10:30:00Z")),
        (Seconds, "1767609000.25", Ok("2026-01-05T10:30:00.25Z")),
        (Seconds, "1.767609e9", Ok("2026-01-05T10:30:00Z")),
        (Seconds, "-1", Ok("1969-12-31T23:59:59Z")),
        (Seconds, "-0.0000001", Ok("1969-12-31T23:59:59.999999Z")),
        (Seconds, "253402300799", Ok("9999-12-31T23:59:59Z")),
        (
            Milliseconds,
            "1767609000123",
            Ok("2026-01-05T10:30:00.123Z"),
        ),
        (
            Microseconds,
            "1767609000123456",
            Ok("2026-01-05T10:30:00.123456Z"),
        ),
        (Seconds, "1767609000123", Err(TimeError::Range)),
        (Seconds, "2026-01-05", Err(TimeError::Form)),
        (Seconds, "", Err(TimeError::Form)),
    ] {
        let found = from_epoch(text, unit, false, &mut false).map(|instant| instant.to_string());
        assert_eq!(found, expected.map(str::to_owned), "{text}");
    }
}

#[test]
fn an_exact_timestamp_is_never_cut() {
    let exact = TimeNotation {
        is_exact: true,
        ..TimeNotation::default()
    };
    let fine = "2026-01-05T09:30:00.123456701Z";
    assert_eq!(instant(fine, &exact), Err(TimeError::Precision));
    assert!(instant(fine, &TimeNotation::default()).is_ok());
    assert!(instant("2026-01-05T09:30:00.123456000Z", &exact).is_ok());
    let epoch = from_epoch("1767609000.1234567", EpochUnit::Seconds, true, &mut false);
    assert_eq!(epoch, Err(TimeError::Precision));
}

#[test]
fn patterns_that_lose_something_are_refused() {
    for (pattern, fault) in [
        ("%Y-%m", "whole date"),
        ("%d/%m/%Y %I:%M", "without %p"),
        ("%F %T %Z", "%Q for a name"),
        ("%s.%f", "epoch_s"),
        ("%F %M", "whole time"),
        ("%", "not a strptime pattern"),
        ("%F %!", "not a strptime pattern"),
    ] {
        let found = pattern_fault(pattern, false).unwrap();
        assert!(found.contains(fault), "{pattern}: {found}");
    }
    for pattern in [
        "%d/%m/%Y",
        "%d.%m.%y %H:%M",
        "%F %T%.f%z",
        "%b %d, %Y %I:%M %p",
        "%A %F",
    ] {
        assert_eq!(pattern_fault(pattern, false), None, "{pattern}");
    }
    assert_eq!(pattern_fault("%d/%m/%Y %I:%M", true), None);
}

#[test]
fn a_pattern_that_ends_in_utc_is_in_utc() {
    for (pattern, text, expected) in [
        ("%FT%TZ", "2026-06-15T10:00:00Z", "2026-06-15T10:00:00Z"),
        (
            "%F %T UTC",
            "2026-06-15 10:00:00 UTC",
            "2026-06-15T10:00:00Z",
        ),
        ("%F %T", "2026-06-15 10:00:00", "2026-06-15T15:00:00Z"),
    ] {
        let notation = TimeNotation {
            format: formatted(pattern).format,
            ..zoned("America/Chicago", None)
        };
        let found = instant(text, &notation);
        assert_eq!(found.as_deref(), Ok(expected), "{pattern}");
    }
}

#[test]
fn the_end_of_a_day_is_the_start_of_the_next() {
    for (pattern, text, expected) in [
        (None, "2026-02-28T24:00", Ok("2026-03-01T00:00:00Z")),
        (
            None,
            "2026-12-31 24:00:00+01:00",
            Ok("2026-12-31T23:00:00Z"),
        ),
        (None, "2026-02-28T24:00:01", Err(TimeError::Form)),
        (None, "2026-02-28T25:24:00", Err(TimeError::Form)),
        (
            Some("%d.%m.%Y %H:%M"),
            "28.02.2026 24:00",
            Ok("2026-03-01T00:00:00Z"),
        ),
        (
            Some("%d.%m.%Y %H:%M"),
            "28.02.2026 24:01",
            Err(TimeError::Form),
        ),
    ] {
        let notation = pattern.map_or_else(TimeNotation::default, formatted);
        let found = instant(text, &notation);
        assert_eq!(found, expected.map(str::to_owned), "{text}");
    }
}

#[test]
fn a_leap_second_is_noted_and_is_no_key() {
    let text = "2016-12-31T23:59:60Z";
    let mut is_truncated = false;
    let found = timestamp(text, &TimeNotation::default(), &mut is_truncated);
    assert_eq!(found.unwrap().to_string(), "2016-12-31T23:59:59Z");
    assert!(is_truncated);
    let exact = TimeNotation {
        is_exact: true,
        ..TimeNotation::default()
    };
    assert_eq!(instant(text, &exact), Err(TimeError::Precision));
    assert!(instant("2016-12-31T23:59:59.600Z", &exact).is_ok());
}

#[test]
fn serial_numbers_of_spreadsheets_are_days() {
    let notation = TimeNotation {
        format: Some(TimeFormat::Excel),
        ..zoned("Europe/Berlin", None)
    };
    for (text, expected) in [
        ("45697", Ok("2025-02-08T23:00:00Z")),
        ("45697.4166666667", Ok("2025-02-09T09:00:00Z")),
        ("61", Ok("1900-02-28T23:00:00Z")),
        ("60", Err(TimeError::Form)),
        ("2025-02-09", Err(TimeError::Form)),
        ("99999999", Err(TimeError::Form)),
    ] {
        let found = instant(text, &notation);
        assert_eq!(found, expected.map(str::to_owned), "{text}");
    }
    let days: Vec<_> = ["45697", "2958465", "45697.5"]
        .map(|text| date(text, &notation).map(|day| day.to_string()))
        .into();
    let expected = [
        Ok("2025-02-09".to_owned()),
        Ok("9999-12-31".to_owned()),
        Err(TimeError::Form),
    ];
    assert_eq!(days, expected);
}
