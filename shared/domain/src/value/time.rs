//! Parsers of dates and timestamps.

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::fmt::temporal::{Pieces, PiecesOffset, TimeZoneAnnotationKind};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::notation::{EpochUnit, Fold, TimeFormat, TimeNotation};
use super::number::decimal;
use super::timestamp::Timestamp;
use super::zone;

/// Why a text is not a date or timestamp.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TimeError {
    /// It has another form.
    Form,
    /// `%Y` stands for a year of fewer than four digits.
    ShortYear,
    /// The instant is not in the years 1 to 9999.
    Range,
    /// It has more precision than a microsecond.
    Precision,
    /// The named time zone does not exist.
    Zone(String),
    /// The offset is not the one that the time zone has then.
    Offset(String),
    /// The local time occurs twice.
    Repeated(String),
    /// The local time never occurs.
    Skipped(String),
}

pub(super) fn date(text: &str, notation: &TimeNotation) -> Result<Date, TimeError> {
    let date = match &notation.format {
        Some(TimeFormat::Pattern(pattern)) => {
            let parsed = by_pattern(pattern, text)?;
            parsed.to_date().map_err(|_| TimeError::Form)?
        }
        // Only the ISO form of a date: jiff also parses the date of a timestamp.
        _ if text.len() == 10 => text.parse().map_err(|_| TimeError::Form)?,
        _ => return Err(TimeError::Form),
    };
    if date.year() < 1 {
        return Err(TimeError::Range);
    }
    Ok(date)
}

pub(super) fn timestamp(text: &str, notation: &TimeNotation) -> Result<Timestamp, TimeError> {
    let local = match &notation.format {
        None => LocalTime::from_iso(text)?,
        Some(TimeFormat::Pattern(pattern)) => LocalTime::from_pattern(pattern, text)?,
        Some(TimeFormat::Epoch(unit)) => return from_epoch(text, *unit, notation.is_exact),
    };
    if notation.is_exact && local.time.subsec_nanosecond() % 1000 != 0 {
        return Err(TimeError::Precision);
    }
    let offset = local.offset(notation)?;
    Timestamp::at_offset(local.time, offset).ok_or(TimeError::Range)
}

fn from_epoch(text: &str, unit: EpochUnit, is_exact: bool) -> Result<Timestamp, TimeError> {
    let factor: i64 = match unit {
        EpochUnit::Seconds => 1_000_000,
        EpochUnit::Milliseconds => 1000,
        EpochUnit::Microseconds => 1,
    };
    let number = decimal(text).ok_or(TimeError::Form)?;
    let microseconds = number.checked_mul(Decimal::from(factor));
    let microseconds = microseconds.ok_or(TimeError::Range)?;
    if is_exact && !microseconds.is_integer() {
        return Err(TimeError::Precision);
    }
    let whole = microseconds.floor().to_i64();
    whole
        .and_then(Timestamp::from_microsecond)
        .ok_or(TimeError::Range)
}

/// Parses a text by a `strptime` pattern. Years of `%Y` and `%G` have four digits.
fn by_pattern(pattern: &str, text: &str) -> Result<BrokenDownTime, TimeError> {
    let parsed = strtime::parse(pattern, text).map_err(|_| TimeError::Form)?;
    let year = parsed.year().or_else(|| parsed.iso_week_year());
    // jiff also accepts fewer digits. A year of four digits from 1000 on cannot have been one of fewer.
    match year {
        Some(year @ ..1000) if !text.contains(&format!("{year:04}")) => Err(TimeError::ShortYear),
        _ => Ok(parsed),
    }
}

/// Returns whether a pattern finds a date in a text.
pub(super) fn is_dated(pattern: &str, text: &str) -> bool {
    by_pattern(pattern, text).is_ok_and(|parsed| parsed.to_date().is_ok())
}

/// Returns why a `strptime` pattern cannot be used for all dates or timestamps.
pub(crate) fn pattern_fault(pattern: &str, needs_date_only: bool) -> Option<&'static str> {
    const SAMPLE: &str = "2026-11-20T18:30:59.123456789+00:00[UTC]";
    const NO_PATTERN: &str = "is not a strptime pattern like \"%d/%m/%Y\"";
    let sample: jiff::Zoned = SAMPLE.parse().ok()?;
    let Ok(text) = strtime::format(pattern, &sample) else {
        return Some(NO_PATTERN);
    };
    let parsed = match strtime::parse(pattern, &text) {
        Ok(parsed) => parsed,
        Err(_) if pattern.contains("%Z") => {
            return Some(
                "has %Z, but abbreviations of time zones are ambiguous; use %z for an offset, %Q for a name like \
                 America/Chicago, or the literal text and timezone",
            );
        }
        Err(_) => return Some(NO_PATTERN),
    };
    if parsed.timestamp().is_some() {
        return Some("has %s beside others; use \"epoch_s\", which accepts fractions");
    }
    if parsed.to_date().ok() != Some(sample.date()) {
        return Some("does not contain a whole date: it needs a year, a month and a day");
    }
    if needs_date_only {
        return None;
    }
    match (parsed.hour(), parsed.to_time()) {
        (None | Some(18), Ok(_)) => None,
        (Some(_), Ok(_)) => Some("has an hour of 1 to 12 without %p, which says AM or PM"),
        (_, Err(_)) => Some("does not contain a whole time: it lacks a greater unit"),
    }
}

/// A date and time, and what the text says about its offset.
struct LocalTime {
    time: DateTime,
    offset: Option<Offset>,
    /// Whether the offset is `Z`, which every time zone is compatible with.
    is_zulu: bool,
    zone: Option<TimeZone>,
}

impl LocalTime {
    fn from_iso(text: &str) -> Result<Self, TimeError> {
        if let Ok(pieces) = Pieces::parse(text) {
            return Self::from_pieces(&pieces);
        }
        let text = without_space(text).ok_or(TimeError::Form)?;
        let pieces = Pieces::parse(&text).map_err(|_| TimeError::Form)?;
        Self::from_pieces(&pieces)
    }

    fn from_pieces(pieces: &Pieces<'_>) -> Result<Self, TimeError> {
        let annotation = pieces.time_zone_annotation();
        let zone = annotation.map(|annotation| {
            let zone = annotation.to_time_zone_with(zone::database());
            zone.map_err(|_| match annotation.kind() {
                TimeZoneAnnotationKind::Named(name) => unknown_zone(name.as_str()),
                _ => TimeError::Form,
            })
        });
        let offset = pieces.offset();
        Ok(Self {
            time: pieces.date().to_datetime(pieces.time().unwrap_or_default()),
            offset: offset.map(|offset| offset.to_numeric_offset()),
            is_zulu: matches!(offset, Some(PiecesOffset::Zulu)),
            zone: zone.transpose()?,
        })
    }

    fn from_pattern(pattern: &str, text: &str) -> Result<Self, TimeError> {
        let parsed = by_pattern(pattern, text)?;
        let zone = parsed
            .iana_time_zone()
            .map(|name| zone::zone(name).map_err(TimeError::Zone));
        Ok(Self {
            time: parsed.to_datetime().map_err(|_| TimeError::Form)?,
            offset: parsed.offset(),
            is_zulu: false,
            zone: zone.transpose()?,
        })
    }

    /// Returns the offset of the time, which is in UTC if neither the text nor the definition says otherwise.
    fn offset(&self, notation: &TimeNotation) -> Result<Offset, TimeError> {
        let possible = |zone: &TimeZone| zone.to_ambiguous_zoned(self.time).offset();
        match (self.offset, &self.zone) {
            (Some(offset), Some(zone)) if !self.is_zulu => match possible(zone) {
                AmbiguousOffset::Unambiguous { offset: only } if only == offset => Ok(offset),
                AmbiguousOffset::Fold { before, after } if [before, after].contains(&offset) => {
                    Ok(offset)
                }
                _ => Err(TimeError::Offset(zone_name(zone))),
            },
            (Some(offset), _) => Ok(offset),
            (None, zone) => match zone.as_ref().or(notation.zone.as_ref()) {
                None => Ok(Offset::UTC),
                Some(zone) => match (possible(zone), notation.fold) {
                    // In a gap, the offset after it gives the earlier instant.
                    (AmbiguousOffset::Unambiguous { offset }, _)
                    | (
                        AmbiguousOffset::Fold { before: offset, .. }
                        | AmbiguousOffset::Gap { after: offset, .. },
                        Some(Fold::Earlier),
                    )
                    | (
                        AmbiguousOffset::Fold { after: offset, .. }
                        | AmbiguousOffset::Gap { before: offset, .. },
                        Some(Fold::Later),
                    ) => Ok(offset),
                    (AmbiguousOffset::Fold { .. }, None) => {
                        Err(TimeError::Repeated(zone_name(zone)))
                    }
                    (AmbiguousOffset::Gap { .. }, None) => Err(TimeError::Skipped(zone_name(zone))),
                },
            },
        }
    }
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("the time zone").to_owned()
}

fn unknown_zone(name: &str) -> TimeError {
    zone::zone(name).map_or_else(TimeError::Zone, |_| TimeError::Form)
}

/// Returns the ISO form of times like `2026-11-20 08:30:00 UTC` and `2026-11-20 08:30:00 +0100`, as some languages and
/// databases print them.
fn without_space(text: &str) -> Option<String> {
    let (time, zone) = text.rsplit_once(' ')?;
    match zone {
        "UTC" | "GMT" | "Z" => Some(format!("{time}Z")),
        _ if zone.starts_with(['+', '-']) => Some(format!("{time}{zone}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
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
        timestamp(text, notation).map(|instant| instant.to_string())
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
            let found = from_epoch(text, unit, false).map(|instant| instant.to_string());
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
        let epoch = from_epoch("1767609000.1234567", EpochUnit::Seconds, true);
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
}
