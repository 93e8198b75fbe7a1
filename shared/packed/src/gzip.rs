//! Members of gzip.

use flate2::{Decompress, FlushDecompress, Status};

use crate::fault::Fault;
use crate::series::{FaultAt, Magic, Step, Stream};

/// One member: header, deflated data, checksum and length.
pub(crate) struct Member(Decompress);

impl Stream for Member {
    fn magic(start: &[u8]) -> Magic {
        Magic::prefix(start, &[0x1f, 0x8b])
    }

    fn new() -> Result<Self, Fault> {
        const MAX_WINDOW_BITS: u8 = 15;
        Ok(Self(Decompress::new_gzip(MAX_WINDOW_BITS)))
    }

    fn step(&mut self, packed: &[u8], unpacked: &mut [u8]) -> Result<Step, FaultAt> {
        inflate(&mut self.0, packed, unpacked)
    }
}

/// Inflates a part of deflated data.
pub(crate) fn inflate(
    inflater: &mut Decompress,
    packed: &[u8],
    unpacked: &mut [u8],
) -> Result<Step, FaultAt> {
    let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
    let status = inflater.decompress(packed, unpacked, FlushDecompress::None);
    // Both counts are at most the lengths of the slices.
    let count = |after: u64, before: u64| usize::try_from(after - before).unwrap_or(usize::MAX);
    let done = Step {
        consumed: count(inflater.total_in(), before_in),
        produced: count(inflater.total_out(), before_out),
        discarded: 0,
        is_last: matches!(status, Ok(Status::StreamEnd)),
    };
    match status {
        Ok(_) => Ok(done),
        Err(error) => {
            let fault = Fault::damaged(error.message().unwrap_or("invalid data"));
            Err(FaultAt { done, fault })
        }
    }
}
