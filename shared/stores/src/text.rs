//! Texts of values, of one length each so that they sort as the values do.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// `2026-11-20`.
pub(crate) fn date_text(day: Date) -> String {
    format!("{:04}-{:02}-{:02}", day.year(), day.month(), day.day())
}

/// `2026-11-20T08:30:00.000000Z`, in UTC, with this between day and time and this at the end.
pub(crate) fn timestamp_text(instant: Timestamp, separator: char, end: &str) -> String {
    let time = TimeZone::UTC.to_datetime(instant);
    format!(
        "{}{separator}{:02}:{:02}:{:02}.{:06}{end}",
        date_text(time.date()),
        time.hour(),
        time.minute(),
        time.second(),
        time.subsec_nanosecond() / 1000
    )
}
