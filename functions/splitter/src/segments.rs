//! The text of an object, segment by segment.

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use landfall_aws::AwsError;
use landfall_domain::{ByteRange, ObjectRef, Problem, Warning};

use crate::Context;
use crate::stop::{Stop, or_gone};

/// Size of one read of an object, and of one part of what it unpacks to, in bytes.
pub const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Concurrent reads of the object.
pub const SEGMENTS_AHEAD: usize = 4;

/// A segment of the text of an object.
pub(crate) struct Segment {
    pub(crate) bytes: Bytes,
    /// How the object ends, if this is its last segment: with warnings, or with damage.
    pub(crate) end: Option<Result<Vec<Warning>, Problem>>,
}

/// The segments of an object. The last one has its end.
pub(crate) type Segments<'a> = Pin<Box<dyn Stream<Item = Result<Segment, Stop>> + 'a>>;

/// Returns the segments of an object that is not packed from this byte on, which is not its end.
pub(crate) fn segments<'a>(context: &'a Context, object: &'a ObjectRef, from: u64) -> Segments<'a> {
    let size = context.segment_bytes;
    let count = (object.size - from).div_ceil(size);
    let reads = reads(context, object, (from, size), SEGMENTS_AHEAD);
    Box::pin(reads.zip(stream::iter(1..)).map(move |(bytes, number)| {
        Ok(Segment {
            bytes: or_gone(bytes)?,
            end: (number == count).then(|| Ok(Vec::new())),
        })
    }))
}

/// Reads an object from this byte on in ranges of this size, of which so many are requested at the same time.
pub(crate) fn reads<'a>(
    context: &'a Context,
    object: &'a ObjectRef,
    (from, size): (u64, u64),
    ahead: usize,
) -> impl Stream<Item = Result<Bytes, AwsError>> + use<'a> {
    stream::iter(0..(object.size - from).div_ceil(size))
        .map(move |index| {
            let start = from + index * size;
            let end = (start + size).min(object.size);
            context.objects.read(object, ByteRange { start, end })
        })
        .buffered(ahead)
}
