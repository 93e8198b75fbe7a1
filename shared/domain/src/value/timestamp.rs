//! Instants of the years 1 to 9999.

use std::fmt;

use jiff::civil::{Date, DateTime, date};
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp as JiffTimestamp};

const EPOCH: Date = date(1970, 1, 1);
const SECOND: i64 = 1_000_000;
const FIRST: i64 = -62_135_596_800 * SECOND;
const LAST: i64 = 253_402_300_800 * SECOND - 1;

/// An instant from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z, in microseconds.
///
/// `jiff::Timestamp` ends a day earlier, so that every instant has a local time in every time zone. But the last
/// second of 9999 is what many databases mean by "forever".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the instant this number of microseconds after 1970, if it is in the years 1 to 9999.
    pub fn from_microsecond(microseconds: i64) -> Option<Self> {
        (FIRST..=LAST)
            .contains(&microseconds)
            .then_some(Self(microseconds))
    }

    /// Returns the microseconds since 1970.
    pub fn as_microsecond(self) -> i64 {
        self.0
    }

    /// Returns the date and time in UTC.
    pub fn to_datetime(self) -> DateTime {
        let utc = |microseconds| -> Result<DateTime, jiff::Error> {
            let at = JiffTimestamp::from_microsecond(microseconds)?;
            Ok(TimeZone::UTC.to_datetime(at))
        };
        let days = Span::new().days(2);
        utc(self.0)
            .or_else(|_| utc(self.0 - 2 * 86_400 * SECOND)?.checked_add(days))
            .unwrap_or(DateTime::MAX)
    }

    /// Returns the instant at which clocks with this offset show `time`, cut to microseconds.
    pub(super) fn at_offset(time: DateTime, offset: Offset) -> Option<Self> {
        let day = time.date().duration_since(EPOCH).as_secs();
        let hours = i64::from(time.hour());
        let minutes = hours * 60 + i64::from(time.minute());
        let seconds = day + minutes * 60 + i64::from(time.second()) - i64::from(offset.seconds());
        Self::from_microsecond(seconds * SECOND + i64::from(time.subsec_nanosecond() / 1000))
    }
}

impl fmt::Display for Timestamp {
    /// Writes the instant in UTC, like `2026-11-20T08:30:00.5Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", self.to_datetime())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_years_1_to_9999_are_complete() {
        for (time, microseconds) in [
            (date(1, 1, 1).at(0, 0, 0, 0), FIRST),
            (date(1969, 12, 31).at(23, 59, 59, 999_999_000), -1),
            (
                date(9999, 12, 30).at(21, 59, 59, 0),
                253_402_207_199 * SECOND,
            ),
            (date(9999, 12, 30).at(22, 0, 1, 0), 253_402_207_201 * SECOND),
            (date(9999, 12, 31).at(23, 59, 59, 999_999_000), LAST),
        ] {
            let instant = Timestamp::at_offset(time, Offset::UTC).unwrap();
            assert_eq!(instant.as_microsecond(), microseconds, "{time}");
            assert_eq!(instant.to_datetime(), time);
            assert_eq!(instant.to_string(), format!("{time}Z"));
        }
        assert_eq!(Timestamp::from_microsecond(FIRST - 1), None);
        assert_eq!(Timestamp::from_microsecond(LAST + 1), None);
    }

    #[test]
    fn instants_are_cut_downwards() {
        let before_1970 = date(1969, 12, 31).at(23, 59, 59, 999_999_999);
        let instant = Timestamp::at_offset(before_1970, Offset::UTC).unwrap();
        assert_eq!(instant.as_microsecond(), -1);
    }
}
