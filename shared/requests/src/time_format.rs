use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// How an API writes points in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// `2026-11-20T08:30:00Z`, read with any offset, and without one as UTC.
    #[default]
    Rfc3339,
    /// Seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// `2026-11-20`, which is its start in UTC.
    Date,
}

impl TimeFormat {
    /// Returns the text for a point in time, rounded down to what the format can say.
    pub fn write(self, time: Timestamp) -> String {
        match self {
            Self::Rfc3339 => time.to_string(),
            Self::Unix => time.as_nanosecond().div_euclid(1_000_000_000).to_string(),
            Self::UnixMs => time.as_nanosecond().div_euclid(1_000_000).to_string(),
            Self::Date => time.to_zoned(TimeZone::UTC).date().to_string(),
        }
    }

    /// Returns the point in time that a text stands for, or `None` if it is not written like that.
    pub fn read(self, text: &str) -> Option<Timestamp> {
        match self {
            Self::Rfc3339 => text.parse().ok().or_else(|| {
                let local: DateTime = text.parse().ok()?;
                Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
            }),
            Self::Unix => Timestamp::from_second(text.parse().ok()?).ok(),
            Self::UnixMs => Timestamp::from_millisecond(text.parse().ok()?).ok(),
            Self::Date => {
                let date: Date = text.parse().ok()?;
                Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
            }
        }
    }
}
