//! Packed objects. Their text is unpacked once, and stored in parts that can be read at any place.

use serde::{Deserialize, Serialize};

use crate::chunk::ByteRange;
use crate::codec::Codec;
use crate::job::{JobId, ObjectRef};

/// Where the text of a packed object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// How the object is compressed.
    pub codec: Codec,
    /// The job that unpacks the object. Jobs that are derived from it read the same parts.
    pub job: JobId,
    /// Size in bytes of each part of the text except the last; not zero.
    pub part_bytes: u64,
}

impl Packed {
    /// Returns the key of the part of the text with this number, from 0, in the work bucket.
    pub fn part_key(&self, part: u64) -> String {
        format!("{}/{part}", self.job)
    }

    /// Returns the parts that have this range of the text: the number of each, and the range in it.
    pub fn parts(&self, range: ByteRange) -> impl Iterator<Item = (u64, ByteRange)> + use<> {
        // Messages come from outside, and zero would divide by it.
        let size = self.part_bytes.max(1);
        let first = range.start / size;
        let end = if range.is_empty() {
            first
        } else {
            range.end.div_ceil(size)
        };
        (first..end).map(move |part| {
            let start = part * size;
            let within = ByteRange {
                start: range.start.max(start) - start,
                end: range.end.min(start.saturating_add(size)) - start,
            };
            (part, within)
        })
    }
}

/// The text of an object: its bytes, or what they unpack to.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The object.
    pub object: &'a ObjectRef,
    /// Where its text is, if it is packed.
    pub packed: Option<&'a Packed>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lies_in_the_parts_that_it_touches() {
        let packed = Packed {
            codec: Codec::Gzip,
            job: JobId::for_object("inbox", "products/a.csv.gz", "v1"),
            part_bytes: 10,
        };
        let parts = |start, end| -> Vec<(u64, u64, u64)> {
            let parts = packed.parts(ByteRange { start, end });
            parts.map(|(part, it)| (part, it.start, it.end)).collect()
        };
        assert_eq!(parts(0, 10), [(0, 0, 10)]);
        assert_eq!(parts(9, 11), [(0, 9, 10), (1, 0, 1)]);
        assert_eq!(parts(15, 32), [(1, 5, 10), (2, 0, 10), (3, 0, 2)]);
        assert_eq!(parts(20, 20), []);
        assert_eq!(packed.part_key(12), format!("{}/12", packed.job));
    }
}
