//! Parsers of dates and timestamps.

#[cfg(test)]
mod tests;

use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime, Time, date as day};
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
    /// It has more precision than a microsecond, or a leap second.
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
        Some(TimeFormat::Excel) => {
            let time = from_serial(text).ok_or(TimeError::Form)?;
            let is_whole = time.time() == Time::midnight();
            is_whole.then_some(time.date()).ok_or(TimeError::Form)?
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

/// Parses a timestamp. Sets `is_truncated` if the text has more precision.
pub(super) fn timestamp(
    text: &str,
    notation: &TimeNotation,
    is_truncated: &mut bool,
) -> Result<Timestamp, TimeError> {
    let local = match &notation.format {
        None => LocalTime::from_text(text, LocalTime::from_iso)?,
        Some(TimeFormat::Pattern(pattern)) => {
            LocalTime::from_text(text, |text| LocalTime::from_pattern(pattern, text))?
        }
        Some(TimeFormat::Excel) => LocalTime::plain(from_serial(text).ok_or(TimeError::Form)?),
        Some(TimeFormat::Epoch(unit)) => {
            return from_epoch(text, *unit, notation.is_exact, is_truncated);
        }
    };
    // jiff reads a leap second as the second before it.
    let is_leap_second = local.time.second() == 59 && text.contains(":60");
    *is_truncated = local.time.subsec_nanosecond() % 1000 != 0 || is_leap_second;
    if notation.is_exact && *is_truncated {
        return Err(TimeError::Precision);
    }
    let offset = local.offset(notation)?;
    Timestamp::at_offset(local.time, offset).ok_or(TimeError::Range)
}

fn from_epoch(
    text: &str,
    unit: EpochUnit,
    is_exact: bool,
    is_truncated: &mut bool,
) -> Result<Timestamp, TimeError> {
    let factor: i64 = match unit {
        EpochUnit::Seconds => 1_000_000,
        EpochUnit::Milliseconds => 1000,
        EpochUnit::Microseconds => 1,
    };
    let number = decimal(text).ok_or(TimeError::Form)?;
    let microseconds = number.checked_mul(Decimal::from(factor));
    let microseconds = microseconds.ok_or(TimeError::Range)?;
    *is_truncated = !microseconds.is_integer();
    if is_exact && *is_truncated {
        return Err(TimeError::Precision);
    }
    let whole = microseconds.floor().to_i64();
    whole
        .and_then(Timestamp::from_microsecond)
        .ok_or(TimeError::Range)
}

/// Parses the number of days since 1899-12-30, to the millisecond. There are none before March 1900, because
/// spreadsheets disagree about them.
fn from_serial(text: &str) -> Option<DateTime> {
    const DAY_MILLISECONDS: i64 = 86_400_000;
    let days = Decimal::from(61)..Decimal::from(2_958_466);
    let number = decimal(text).filter(|number| days.contains(number))?;
    let milliseconds = number.checked_mul(Decimal::from(DAY_MILLISECONDS))?;
    let milliseconds = milliseconds.round().to_i64()?;
    let span = (milliseconds / DAY_MILLISECONDS).days();
    let span = span.milliseconds(milliseconds % DAY_MILLISECONDS);
    day(1899, 12, 30).at(0, 0, 0, 0).checked_add(span).ok()
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
    /// Returns a time about whose offset nothing is said.
    fn plain(time: DateTime) -> Self {
        Self {
            time,
            offset: None,
            is_zulu: false,
            zone: None,
        }
    }

    /// Parses a text, also one with the time 24:00, which is the end of its day.
    fn from_text(
        text: &str,
        parse: impl Fn(&str) -> Result<Self, TimeError>,
    ) -> Result<Self, TimeError> {
        let error = match parse(text) {
            Err(TimeError::Form) => TimeError::Form,
            parsed => return parsed,
        };
        let Some((before, after)) = text.rsplit_once("24:00") else {
            return Err(error);
        };
        let mut local = parse(&format!("{before}00:00{after}"))?;
        if local.time.time() != Time::midnight() {
            return Err(error);
        }
        local.time = local
            .time
            .checked_add(1.day())
            .map_err(|_| TimeError::Range)?;
        Ok(local)
    }

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
            offset: parsed
                .offset()
                .or_else(|| says_utc(pattern).then_some(Offset::UTC)),
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

/// Returns whether the literal end of a pattern says that times are in UTC, whatever the zone of the field.
fn says_utc(pattern: &str) -> bool {
    ["Z", "UTC", "GMT"].iter().any(|end| pattern.ends_with(end))
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
