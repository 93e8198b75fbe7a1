//! Values whose order says how far a source has been read.

use jiff::{SignedDuration, Timestamp};
use landfall_requests::TimeFormat;
use serde::{Deserialize, Serialize};

/// A value of a field that says how far a source has been read. Only marks of one kind have an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// A number without fraction.
    Integer(i64),
    /// A point in time.
    Timestamp(Timestamp),
    /// A text, ordered by its bytes.
    Text(String),
}

/// Kind of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// A number without fraction, also as text.
    Integer,
    /// A point in time.
    Timestamp,
    /// A text, ordered by its bytes.
    Text,
}

impl MarkKind {
    /// Returns the word used in definitions.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Timestamp => "timestamp",
            Self::Text => "text",
        }
    }

    /// Returns the mark that a text stands for, or `None` if it is not of this kind.
    pub(crate) fn read(self, text: &str, format: TimeFormat) -> Option<Mark> {
        match self {
            Self::Integer => text.parse().ok().map(Mark::Integer),
            Self::Timestamp => format.read(text).map(Mark::Timestamp),
            Self::Text => Some(Mark::Text(text.to_owned())),
        }
    }
}

impl Mark {
    /// Returns the text for a parameter.
    pub(crate) fn write(&self, format: TimeFormat) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Timestamp(time) => format.write(*time),
            Self::Text(text) => text.clone(),
        }
    }

    /// Returns whether this mark comes after another one. Marks of two kinds come from two definitions, and have no
    /// order.
    pub(crate) fn is_after(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a > b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a > b,
            (Self::Text(a), Self::Text(b)) => a > b,
            _ => false,
        }
    }

    /// Returns the mark at which reading starts again, so that rows which were committed late are found.
    pub(crate) fn less(&self, overlap: Overlap) -> Self {
        match (self, overlap) {
            (Self::Integer(number), Overlap::Numbers(overlap)) => {
                Self::Integer(number.saturating_sub(overlap))
            }
            (Self::Timestamp(time), Overlap::Time(overlap)) => {
                Self::Timestamp(time.saturating_sub(overlap).unwrap_or(Timestamp::MIN))
            }
            _ => self.clone(),
        }
    }
}

/// How much is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Nothing.
    None,
    /// So many numbers before the greatest one.
    Numbers(i64),
    /// So long before the greatest time.
    Time(SignedDuration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_each_format_and_written_rounded_down() {
        for (format, text, written) in [
            (
                TimeFormat::Rfc3339,
                "2026-11-20T08:30:00.25Z",
                "2026-11-20T08:30:00.25Z",
            ),
            (
                TimeFormat::Rfc3339,
                "2026-11-20T10:30:00+02:00",
                "2026-11-20T08:30:00Z",
            ),
            (
                TimeFormat::Rfc3339,
                "2026-11-20 08:30:00",
                "2026-11-20T08:30:00Z",
            ),
            (TimeFormat::Unix, "1700000000", "1700000000"),
            (TimeFormat::UnixMs, "1700000000999", "1700000000999"),
            (TimeFormat::Date, "2026-11-20", "2026-11-20"),
        ] {
            let mark = MarkKind::Timestamp.read(text, format).unwrap();
            assert_eq!(mark.write(format), written, "{text}");
        }
        let mark = MarkKind::Timestamp.read("1969-12-31T23:59:59.5Z", TimeFormat::Rfc3339);
        assert_eq!(mark.unwrap().write(TimeFormat::Unix), "-1");
        assert_eq!(MarkKind::Timestamp.read("soon", TimeFormat::Rfc3339), None);
    }

    #[test]
    fn marks_are_ordered_by_value_not_by_text() {
        let read = |kind: MarkKind, text| kind.read(text, TimeFormat::Rfc3339).unwrap();
        for (kind, less, greater) in [
            (MarkKind::Integer, "9", "10"),
            (
                MarkKind::Timestamp,
                "2026-11-20T08:30:00Z",
                "2026-11-20T08:30:00.5Z",
            ),
            (
                MarkKind::Timestamp,
                "2026-11-20T10:00:00+02:00",
                "2026-11-20T09:00:00Z",
            ),
            (MarkKind::Text, "10", "9"),
        ] {
            assert!(read(kind, greater).is_after(&read(kind, less)), "{greater}");
            assert!(!read(kind, less).is_after(&read(kind, greater)), "{less}");
        }
    }

    #[test]
    fn an_overlap_lowers_marks_of_its_kind() {
        assert_eq!(
            Mark::Integer(10).less(Overlap::Numbers(3)),
            Mark::Integer(7)
        );
        let time = Timestamp::UNIX_EPOCH;
        let minute = Overlap::Time(SignedDuration::from_mins(1));
        let before = Timestamp::from_second(-60).unwrap();
        assert_eq!(Mark::Timestamp(time).less(minute), Mark::Timestamp(before));
        assert_eq!(Mark::Text("a".into()).less(minute), Mark::Text("a".into()));
    }
}
