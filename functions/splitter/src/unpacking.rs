//! The text of a packed object: unpacked segment by segment, each of which is stored as a part before it is scanned.
//!
//! The state of a decoder is no part of a checkpoint. An invocation that continues unpacks the object from its start,
//! and leaves out the parts that are stored. It gives up if that takes too long, so that each invocation has time left
//! for the rest, and their number is bounded.

use std::pin::Pin;

use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt, stream};
use landfall_aws::AwsError;
use landfall_domain::{ObjectRef, Packed, Problem, ProblemCode, Warning};
use landfall_packed::{ALWAYS_UNPACKED, Unpacker};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::segments::{Segment, Segments, reads};
use crate::stop::{Stop, or_gone};
use crate::{Context, SplitError};

/// Concurrent reads of the object. Each unpacks to several parts.
const READS_AHEAD: usize = 2;
/// Parts that are stored at the same time.
const PARTS_AT_ONCE: usize = 4;
/// The most bytes that are unpacked until the parts that are being stored make progress.
const STEP_BYTES: usize = 256 * 1024;

/// Returns the segments of the text of an object from this byte on, which is where another one has ended.
///
/// The first one comes within the time that the context allows for it, or the object is too large. If another one comes
/// after `stop_at`, the time is over.
pub(crate) fn segments<'a>(
    context: &'a Context,
    object: &'a ObjectRef,
    packed: &'a Packed,
    from: u64,
    stop_at: Instant,
) -> Segments<'a> {
    let unpacking = unpacking(context, object, packed, from, stop_at);
    let parts = stream::unfold(Some(unpacking), |unpacking| async {
        Some(match unpacking?.next().await {
            Ok((part, rest)) => (Ok(part), rest),
            Err(stop) => (Err(stop), None),
        })
    });
    let stored = parts.map(move |part| async move {
        let Part { number, bytes, end } = part?;
        if !bytes.is_empty() {
            let stored = context.contents.store_part(packed, number, bytes.clone());
            stored.await?;
        }
        Ok(Segment { bytes, end })
    });
    // In order, also an error after the parts before it.
    Box::pin(stored.buffered(PARTS_AT_ONCE))
}

/// Returns the problem of an object that unpacks to too much for its size. Stores nothing of it.
pub(crate) async fn excess(
    context: &Context,
    object: &ObjectRef,
    packed: &Packed,
) -> Result<Option<Problem>, SplitError> {
    // No object has too much before that, and most others have ended.
    let from = ALWAYS_UNPACKED + packed.part_bytes;
    let next = unpacking(context, object, packed, from, Instant::now()).next();
    match next.await {
        Ok((Part { end, .. }, _)) => Ok(end.and_then(Result::err).filter(is_excess)),
        Err(Stop::Problem(_) | Stop::OutOfTime) => Ok(None),
        Err(Stop::Error(error)) => Err(error),
    }
}

fn is_excess(problem: &Problem) -> bool {
    problem.code == ProblemCode::TooLarge
}

/// A part of the text.
struct Part {
    number: u64,
    bytes: Bytes,
    end: Option<Result<Vec<Warning>, Problem>>,
}

/// When the time of an invocation is over.
#[derive(Clone, Copy)]
enum Limit {
    /// Before its first new part: the object is too large.
    First(Instant),
    /// After it: another invocation continues.
    Next(Instant),
}

impl Limit {
    fn check(self, unpacked: u64) -> Result<(), Stop> {
        let now = Instant::now();
        match self {
            Self::First(until) if now >= until => Err(too_slow(unpacked).into()),
            Self::Next(until) if now >= until => Err(Stop::OutOfTime),
            Self::First(_) | Self::Next(_) => Ok(()),
        }
    }
}

fn too_slow(unpacked: u64) -> Problem {
    let message = format!(
        "unpacking the file takes too long: every continuation unpacks it from its start, and this one has come only \
         to byte {unpacked} of the text; divide the file, or unpack it before the upload"
    );
    Problem::new(ProblemCode::TooLarge, message)
}

/// Unpacks an object, part by part.
struct Unpacking<'a> {
    reads: Pin<Box<dyn Stream<Item = Result<Bytes, AwsError>> + 'a>>,
    /// What is read and not unpacked yet.
    unread: Bytes,
    unpacker: Unpacker,
    text: Text,
    limit: Limit,
    stop_at: Instant,
}

/// Starts to unpack an object, for the parts of its text from this byte on.
fn unpacking<'a>(
    context: &'a Context,
    object: &'a ObjectRef,
    packed: &Packed,
    from: u64,
    stop_at: Instant,
) -> Unpacking<'a> {
    let size = packed.part_bytes.max(1);
    Unpacking {
        reads: Box::pin(reads(context, object, (0, size), READS_AHEAD)),
        unread: Bytes::new(),
        unpacker: Unpacker::new(packed.codec, object.size),
        text: Text {
            part_bytes: usize::try_from(size).unwrap_or(usize::MAX),
            stored: from / size,
            number: 0,
            part: Vec::new(),
        },
        limit: Limit::First(Instant::now() + context.longest_again),
        stop_at,
    }
}

impl Unpacking<'_> {
    /// Unpacks the next part that is not stored. Returns it, and itself unless it is the last one.
    async fn next(mut self) -> Result<(Part, Option<Self>), Stop> {
        loop {
            self.limit.check(self.text.bytes())?;
            let room = STEP_BYTES.min(self.text.room());
            let before = self.text.part.len();
            let unpacked = self
                .unpacker
                .unpack(&self.unread, &mut self.text.part, room);
            match unpacked {
                Ok(consumed) => self.unread.advance(consumed),
                Err(problem) => return Ok((self.text.last(Err(problem)), None)),
            }
            if self.text.room() == 0 {
                if let Some(part) = self.text.take() {
                    self.limit = Limit::Next(self.stop_at);
                    return Ok((part, Some(self)));
                }
            } else if self.text.part.len() - before < room {
                match self.reads.next().await {
                    Some(bytes) => self.unread = or_gone(bytes)?,
                    None => return Ok((self.text.last(self.unpacker.finish()), None)),
                }
            }
            // The others of this task, such as those that store parts.
            yield_now().await;
        }
    }
}

/// The part of the text that is being unpacked.
struct Text {
    part_bytes: usize,
    /// The number of parts that are stored.
    stored: u64,
    /// The number of this part.
    number: u64,
    part: Vec<u8>,
}

impl Text {
    /// Returns the number of bytes so far.
    fn bytes(&self) -> u64 {
        self.number * self.part_bytes as u64 + self.part.len() as u64
    }

    fn room(&self) -> usize {
        self.part_bytes - self.part.len()
    }

    /// Starts the next part. Returns this one, unless it is stored.
    fn take(&mut self) -> Option<Part> {
        let number = self.number;
        self.number += 1;
        if number < self.stored {
            self.part.clear();
            return None;
        }
        let next = Vec::with_capacity(self.part_bytes);
        Some(Part {
            number,
            bytes: std::mem::replace(&mut self.part, next).into(),
            end: None,
        })
    }

    /// Returns the last part, which is empty if all of it was stored.
    fn last(mut self, end: Result<Vec<Warning>, Problem>) -> Part {
        if self.number < self.stored {
            self.part.clear();
        }
        Part {
            number: self.number,
            bytes: self.part.into(),
            end: Some(end),
        }
    }
}
