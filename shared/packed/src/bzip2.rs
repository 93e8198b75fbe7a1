//! Streams of bzip2.

use bzip2::{Decompress, Error, Status};

use crate::fault::Fault;
use crate::series::{FaultAt, Magic, Step, Stream};

/// One stream: header, blocks with their checksums, checksum of all.
pub(crate) struct Blocks(Decompress);

impl Stream for Blocks {
    fn magic(start: &[u8]) -> Magic {
        match (Magic::prefix(start, b"BZh"), start.get(3)) {
            (Magic::Yes, None) => Magic::Cut,
            (Magic::Yes, Some(b'1'..=b'9')) => Magic::Yes,
            (Magic::Yes, Some(_)) => Magic::No,
            (other, _) => other,
        }
    }

    fn new() -> Result<Self, Fault> {
        let is_small = false;
        Ok(Self(Decompress::new(is_small)))
    }

    fn step(&mut self, packed: &[u8], unpacked: &mut [u8]) -> Result<Step, FaultAt> {
        let (before_in, before_out) = (self.0.total_in(), self.0.total_out());
        let status = self.0.decompress(packed, unpacked);
        // Both counts are at most the lengths of the slices.
        let count = |after: u64, before: u64| usize::try_from(after - before).unwrap_or(usize::MAX);
        let done = Step {
            consumed: count(self.0.total_in(), before_in),
            produced: count(self.0.total_out(), before_out),
            discarded: 0,
            is_last: status == Ok(Status::StreamEnd),
        };
        let reason = match status {
            Ok(Status::MemNeeded) => "out of memory",
            Ok(_) => return Ok(done),
            Err(Error::DataMagic) => "incorrect header",
            Err(Error::Data | Error::Sequence | Error::Param) => "incorrect data or checksum",
        };
        let fault = Fault::damaged(reason);
        Err(FaultAt { done, fault })
    }
}
