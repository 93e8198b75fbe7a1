//! The version of a row: which of two rows with the same key is newer.
//!
//! A version is a byte string whose byte order *is* the version order. Every store can therefore compare it natively
//! (`bytea`, `BLOB`, `VARBINARY`, BSON binary) without knowing its content, and no version column of two types has
//! to be kept in step:
//!
//! | bytes | content |
//! |---|---|
//! | 9 | only if the dataset has an `order`: 0x80, then the value of that field as 64 bits, big-endian |
//! | 6 | time of the S3 event, milliseconds since 1970, big-endian |
//! | 10 | sequencer of the S3 event, decoded from hex, padded with zeros on the right |
//! | 4 | first bytes of the job id |
//! | 6 | byte offset of the record in its object, big-endian |
//!
//! S3 orders only the events of one key, by `sequencer` (compared as hex after padding the shorter one with zeros
//! on the right). Landfall needs one order across all keys. The event time therefore comes first, even within one
//! key. The sequencer decides within a millisecond, and the job id breaks the remaining ties, so that every store
//! reaches the same result.
//!
//! A row that is written by the API has no object. Its time and sequencer are those of a clock in the ledger, which
//! never goes back for a key, whatever the clocks of functions say. The sequencer is a count within the millisecond,
//! and ends with a byte that no sequencer of S3 has, which are shorter. The last four bytes are of the hash of the key.
//! So beside files, the time decides. Each write has another order, which is its id.
//!
//! The value of an `order` is an integer, the days of a date, or the microseconds of a timestamp, with its sign bit
//! flipped so that negative ones come first. Its time and place then only break ties. The byte 0x80 makes every such
//! version greater than every version without a value, whose first byte is less until the year 6429: a table may get
//! an `order` later, and its rows are then older than every new one. BSON compares the lengths first, with the same
//! result.
//!
//! A redelivered row has exactly the stored version, so it counts as *unchanged*. A row with the same values and a
//! newer version is unchanged too, but **the store still advances its version**. Otherwise, a late row with other
//! values and a version between the two would overwrite it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::excerpt::excerpt;
use crate::job::JobId;

const TIME: usize = 6;
const SEQUENCER: usize = 10;
const TIE_BREAKER: usize = 4;
const OFFSET: usize = 6;
/// The end of the sequencer of a write by the API. S3 sends up to 18 digits, so the last byte is zero there.
const OF_WRITE: [u8; 2] = [0, 0xff];
/// The first byte of a version that begins with the value of a field.
const RANKED: u8 = 0x80;
/// Length of that byte and the value.
const RANK: usize = 1 + size_of::<u64>();

/// Position of an object in the order of all objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectOrder(#[serde(with = "hex")] [u8; Self::LEN]);

/// Version of a row: the value of the dataset's `order` if it has one, the order of its object, then its byte offset
/// in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowVersion {
    /// Followed by zeros in a version without a value.
    bytes: [u8; Self::MAX_LEN],
    length: u8,
}

/// Why an object order received from outside is invalid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VersionError {
    /// The sequencer of an S3 event is not hexadecimal.
    #[error("the sequencer {0:?} of the S3 event is not hexadecimal")]
    Sequencer(String),
    /// The event time is before 1970 or after the year 6429.
    #[error("the event time of {0} ms since 1970 is out of range")]
    Time(i64),
}

impl ObjectOrder {
    const LEN: usize = TIME + SEQUENCER + TIE_BREAKER;

    /// Returns the order of the object described by an S3 event.
    ///
    /// `time_ms` is the event time in milliseconds since 1970. `sequencer` is hexadecimal, and empty if
    /// the endpoint sends none. Digits after the twentieth are ignored (S3 sends 16 to 18); `job` orders
    /// objects that are equal up to there.
    pub fn new(time_ms: i64, sequencer: &str, job: JobId) -> Result<Self, VersionError> {
        let Self(mut bytes) = Self::at_time(time_ms)?;
        let invalid = || VersionError::Sequencer(excerpt(sequencer));
        if !sequencer.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let digits = format!("{sequencer:0<width$}", width = SEQUENCER * 2);
        let decoded = &mut bytes[TIME..TIME + SEQUENCER];
        hex::decode_to_slice(&digits[..SEQUENCER * 2], decoded).map_err(|_| invalid())?;
        bytes[TIME + SEQUENCER..].copy_from_slice(&job.as_bytes()[..TIE_BREAKER]);
        Ok(Self(bytes))
    }

    /// Returns the order of the write by the API with this number in a millisecond, of a key whose hash begins so.
    pub fn of_write(
        time_ms: i64,
        count: u64,
        hash: [u8; TIE_BREAKER],
    ) -> Result<Self, VersionError> {
        let Self(mut bytes) = Self::at_time(time_ms)?;
        let (number, end) = bytes[TIME..TIME + SEQUENCER].split_at_mut(size_of::<u64>());
        number.copy_from_slice(&count.to_be_bytes());
        end.copy_from_slice(&OF_WRITE);
        bytes[TIME + SEQUENCER..].copy_from_slice(&hash);
        Ok(Self(bytes))
    }

    /// Returns the order of the write that creates the row of a key, before all other writes and objects.
    pub(crate) fn of_create(count: u64, hash: [u8; TIE_BREAKER]) -> Self {
        let mut bytes = [0; Self::LEN];
        let (number, end) = bytes[TIME..TIME + SEQUENCER].split_at_mut(size_of::<u64>());
        number.copy_from_slice(&count.to_be_bytes());
        end.copy_from_slice(&OF_WRITE);
        bytes[TIME + SEQUENCER..].copy_from_slice(&hash);
        Self(bytes)
    }

    /// Returns whether this is the order of a write by the API.
    pub fn is_of_write(&self) -> bool {
        self.0[TIME + SEQUENCER - OF_WRITE.len()..TIME + SEQUENCER] == OF_WRITE
    }

    fn at_time(time_ms: i64) -> Result<Self, VersionError> {
        let time = u64::try_from(time_ms)
            .ok()
            .filter(|time| *time < u64::from(RANKED) << (8 * (TIME - 1)))
            .ok_or(VersionError::Time(time_ms))?;
        let mut bytes = [0; Self::LEN];
        bytes[..TIME].copy_from_slice(&time.to_be_bytes()[8 - TIME..]);
        Ok(Self(bytes))
    }

    /// Returns the order of an object before all others.
    pub fn first(job: JobId) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes[TIME + SEQUENCER..].copy_from_slice(&job.as_bytes()[..TIE_BREAKER]);
        Self(bytes)
    }

    /// Returns the version of the record at this byte offset of the object, in a dataset without an `order`.
    ///
    /// Offsets are below 2^48 (256 TiB), five times the size of the largest S3 object.
    pub fn at(&self, offset: u64) -> RowVersion {
        let mut version = RowVersion::zero(RowVersion::LEN);
        self.write(offset, &mut version.bytes[..RowVersion::LEN]);
        version
    }

    /// Returns the version of the record at this offset whose `order` has this rank.
    pub(crate) fn ranked_at(&self, rank: u64, offset: u64) -> RowVersion {
        let mut version = RowVersion::zero(RowVersion::MAX_LEN);
        version.bytes[0] = RANKED;
        version.bytes[1..RANK].copy_from_slice(&rank.to_be_bytes());
        self.write(offset, &mut version.bytes[RANK..]);
        version
    }

    /// Returns the time of the S3 event, or of the write, in milliseconds since 1970.
    pub fn time_ms(&self) -> i64 {
        let time = self.0[..TIME].iter();
        time.fold(0, |time, byte| time << 8 | i64::from(*byte))
    }

    fn write(&self, offset: u64, bytes: &mut [u8]) {
        const MAX_OFFSET: u64 = (1 << (8 * OFFSET)) - 1;
        debug_assert!(offset <= MAX_OFFSET, "{offset} is beyond any S3 object");
        bytes[..Self::LEN].copy_from_slice(&self.0);
        bytes[Self::LEN..].copy_from_slice(&offset.min(MAX_OFFSET).to_be_bytes()[8 - OFFSET..]);
    }
}

impl RowVersion {
    /// Length in bytes of every version in a dataset without an `order`.
    pub const LEN: usize = ObjectOrder::LEN + OFFSET;
    /// Length in bytes of every version in a dataset with an `order`.
    pub const MAX_LEN: usize = RANK + Self::LEN;

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lengths are constants below 256"
    )]
    fn zero(length: usize) -> Self {
        Self {
            bytes: [0; Self::MAX_LEN],
            length: length as u8,
        }
    }

    /// Returns the version with these bytes, as stores keep them. `None` if no version has such bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let is_ranked = bytes.first().is_some_and(|first| *first >= RANKED);
        let length = if is_ranked { Self::MAX_LEN } else { Self::LEN };
        if bytes.len() != length {
            return None;
        }
        let mut version = Self::zero(length);
        version.bytes[..length].copy_from_slice(bytes);
        Some(version)
    }

    /// Returns the order of the object that has the record.
    pub fn object(&self) -> ObjectOrder {
        let mut order = [0; ObjectOrder::LEN];
        order.copy_from_slice(&self.place()[..ObjectOrder::LEN]);
        ObjectOrder(order)
    }

    /// Returns the byte offset of the record in its object.
    pub fn offset(&self) -> u64 {
        let offset = self.place()[ObjectOrder::LEN..].iter();
        offset.fold(0, |offset, byte| offset << 8 | u64::from(*byte))
    }

    /// Returns the bytes after the value of a field.
    fn place(&self) -> &[u8] {
        let bytes = self.as_bytes();
        &bytes[bytes.len() - Self::LEN..]
    }

    /// Returns the bytes as stores keep and compare them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Display for ObjectOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::str::FromStr for ObjectOrder {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; Self::LEN];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for RowVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(time: i64, sequencer: &str, key: &str) -> ObjectOrder {
        ObjectOrder::new(time, sequencer, JobId::for_object("inbox", key, "1")).unwrap()
    }

    #[test]
    fn time_decides_then_sequencer_then_offset() {
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
    fn objects_of_the_same_moment_have_different_orders() {
        assert_ne!(order(1, "", "a"), order(1, "", "b"));
    }

    #[test]
    fn writes_are_ordered_by_time_then_count_and_are_never_objects() {
        let write = |time, count| ObjectOrder::of_write(time, count, [9; 4]).unwrap();
        assert!(write(1, 7) < write(1, 8) && write(1, u64::MAX) < write(2, 0));
        assert!(order(1, "0055AED6DCD90281E5", "a") < write(2, 0));
        assert!(write(1, 7) < order(2, "00", "a"));
        assert!(write(1, u64::MAX).is_of_write());
        for sequencer in ["", "0055AED6DCD90281E5", "FFFFFFFFFFFFFFFFFF"] {
            assert!(!order(1, sequencer, "a").is_of_write(), "{sequencer}");
        }
        let text = write(1, 7).to_string();
        assert_eq!((text.parse(), text.len()), (Ok(write(1, 7)), 40));
        assert!(ObjectOrder::of_write(-1, 0, [0; 4]).is_err());
    }

    #[test]
    fn invalid_input_is_refused() {
        let job = JobId::for_object("b", "k", "v");
        assert!(ObjectOrder::new(-1, "", job).is_err());
        assert!(ObjectOrder::new(1 << 47, "", job).is_err());
        assert!(ObjectOrder::new(1, "xyz", job).is_err());
        for text in ["00", "é".repeat(20).as_str()] {
            assert!(serde_json::from_value::<ObjectOrder>(text.into()).is_err());
        }
    }

    #[test]
    fn bytes_of_other_lengths_are_no_version() {
        let version = order(1, "0A", "a").at(7);
        let ranked = order(1, "0A", "a").ranked_at(u64::MAX, 7);
        for bytes in [version.as_bytes(), ranked.as_bytes()] {
            assert!(RowVersion::from_bytes(bytes).is_some());
            assert_eq!(RowVersion::from_bytes(&bytes[1..]), None);
        }
        assert_eq!(RowVersion::from_bytes(&[]), None);
        assert_eq!(RowVersion::from_bytes(&[0; RowVersion::MAX_LEN]), None);
        assert_eq!(RowVersion::from_bytes(&[RANKED; RowVersion::LEN]), None);
    }

    proptest! {
        #[test]
        fn a_version_says_its_object_and_its_offset(
            time in 0i64..1 << 47,
            offset in 0u64..1 << 48,
            rank in any::<Option<u64>>(),
        ) {
            let order = order(time, "0055AED6DCD90281E5", "k");
            let version = match rank {
                None => order.at(offset),
                Some(rank) => order.ranked_at(rank, offset),
            };
            let read = RowVersion::from_bytes(version.as_bytes()).unwrap();
            prop_assert_eq!(read, version);
            prop_assert_eq!((read.object(), read.offset()), (order, offset));
            prop_assert_eq!(order.time_ms(), time);
        }

        #[test]
        fn the_text_form_parses_to_the_same_order(time in 0i64..1 << 47, sequencer in "[0-9A-Fa-f]{0,24}") {
            let order = order(time, &sequencer, "k");
            let text = serde_json::to_value(order).unwrap();
            prop_assert_eq!(serde_json::from_value::<ObjectOrder>(text).unwrap(), order);
        }
    }
}
