//! The order of objects and rows: which of two rows of one key is the newer.
//!
//! A version is a string of bytes of one fixed length whose byte order *is* its order, so that every
//! store compares it natively (`bytea`, `BLOB`, `VARBINARY`, BSON binary) and no store needs to know
//! what is in it:
//!
//! | bytes | what |
//! |---|---|
//! | 6 | time of the S3 event, milliseconds since 1970, big-endian |
//! | 10 | sequencer of the S3 event, decoded from hex, zeros on the right |
//! | 4 | first bytes of the job's id: decides between objects of one millisecond |
//! | 6 | byte offset of the record in its object, big-endian |
//!
//! S3 orders the events of one key by `sequencer` (compared as hex after padding the shorter with
//! zeros on the right) and promises nothing between keys; there the event time decides.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::JobId;

const TIME: usize = 6;
const SEQUENCER: usize = 10;
const TIE: usize = 4;
const OFFSET: usize = 6;

/// Where an object stands in the order of all objects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectOrder([u8; TIME + SEQUENCER + TIE]);

/// Version of a row: the order of its object, then its byte offset in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowVersion([u8; Self::LEN]);

/// What is wrong with a version that came from outside.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VersionError {
    /// The sequencer of an S3 event is not hexadecimal.
    #[error("sequencer is not hexadecimal: {0:?}")]
    Sequencer(String),
    /// The event time is before 1970 or after the year 10889.
    #[error("event time out of range: {0} ms")]
    Time(i64),
    /// The text of an object order is not of the right length or not hexadecimal.
    #[error("not an object order: {0:?}")]
    Order(String),
}

impl ObjectOrder {
    /// Order of the object that an S3 event tells of.
    ///
    /// `time_ms` is the event time in milliseconds since 1970; `sequencer` is hexadecimal and may be
    /// empty where the endpoint sends none. Digits beyond the twentieth do not count (S3 sends 16 to
    /// 18); two objects that are equal up to there are told apart by `job`.
    pub fn new(time_ms: i64, sequencer: &str, job: JobId) -> Result<Self, VersionError> {
        let time = u64::try_from(time_ms)
            .ok()
            .filter(|time| *time < 1 << 48)
            .ok_or(VersionError::Time(time_ms))?;
        let mut bytes = [0; TIME + SEQUENCER + TIE];
        bytes[..TIME].copy_from_slice(&time.to_be_bytes()[2..]);
        for (index, digit) in sequencer.bytes().enumerate() {
            let digit = char::from(digit)
                .to_digit(16)
                .ok_or_else(|| VersionError::Sequencer(sequencer.chars().take(40).collect()))?;
            if index < SEQUENCER * 2 {
                let shift = if index % 2 == 0 { 4 } else { 0 };
                // A hexadecimal digit is below 16.
                bytes[TIME + index / 2] |= u8::try_from(digit).unwrap_or_default() << shift;
            }
        }
        bytes[TIME + SEQUENCER..].copy_from_slice(&job.as_bytes()[..TIE]);
        Ok(Self(bytes))
    }

    /// Version of the record at this byte offset of the object.
    ///
    /// Offsets from 2^48 (256 TiB, five times the largest S3 object) are all taken as 2^48 - 1.
    pub fn at(&self, offset: u64) -> RowVersion {
        let mut bytes = [0; RowVersion::LEN];
        bytes[..self.0.len()].copy_from_slice(&self.0);
        bytes[self.0.len()..].copy_from_slice(&offset.min((1 << 48) - 1).to_be_bytes()[2..]);
        RowVersion(bytes)
    }
}

impl RowVersion {
    /// Length in bytes, the same for every version.
    pub const LEN: usize = TIME + SEQUENCER + TIE + OFFSET;

    /// The bytes as stores keep and compare them.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for ObjectOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for ObjectOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for RowVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for RowVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl std::str::FromStr for ObjectOrder {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || VersionError::Order(text.chars().take(60).collect());
        let mut bytes = [0; TIME + SEQUENCER + TIE];
        if text.len() != bytes.len() * 2 || !text.is_ascii() {
            return Err(wrong());
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for ObjectOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(time: i64, sequencer: &str, key: &str) -> ObjectOrder {
        ObjectOrder::new(time, sequencer, JobId::of("inbox", key, "1")).unwrap()
    }

    #[test]
    fn time_then_sequencer_then_offset() {
        assert!(order(1, "FF", "a") < order(2, "00", "a"));
        assert!(order(1, "0055AED6DCD90281E5", "a") < order(1, "0055AED6DCD90281E6", "a"));
        assert!(order(1, "0A", "a").at(u64::from(u32::MAX)) < order(1, "0B", "a").at(0));
        assert!(order(1, "0A", "a").at(9) < order(1, "0A", "a").at(10));
    }

    #[test]
    fn shorter_sequencers_are_padded_on_the_right() {
        assert_eq!(order(1, "0A", "a"), order(1, "0A00", "a"));
        assert!(order(1, "0A", "a") < order(1, "0A01", "a"));
        assert!(order(1, "0B", "a") > order(1, "0A01", "a"));
    }

    #[test]
    fn objects_of_one_moment_still_differ() {
        assert_ne!(order(1, "", "a"), order(1, "", "b"));
    }

    #[test]
    fn outside_input_is_refused() {
        let job = JobId::of("b", "k", "v");
        assert!(ObjectOrder::new(-1, "", job).is_err());
        assert!(ObjectOrder::new(1, "xyz", job).is_err());
        assert!("00".parse::<ObjectOrder>().is_err());
        assert!("é".repeat(20).parse::<ObjectOrder>().is_err());
    }

    proptest! {
        #[test]
        fn text_form_returns(time in 0i64..1 << 48, sequencer in "[0-9A-Fa-f]{0,24}") {
            let order = order(time, &sequencer, "k");
            prop_assert_eq!(order.to_string().parse::<ObjectOrder>().unwrap(), order);
        }
    }
}
