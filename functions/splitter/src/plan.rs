//! Reads an object and cuts it into chunks.

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use landfall_aws::{AwsError, Objects};
use landfall_domain::{
    ByteRange, Dataset, Format, ObjectRef, PlannedChunk, Problem, ProblemCode, Reading, Warning,
};
use landfall_formats::{Header, Scanner, detect, quoting_warning};
use landfall_ledger::{JobHead, Seal};
use tokio::sync::mpsc;

use crate::send::{Found, send_all};
use crate::{Context, SplitError};

/// Size of one read of the object in bytes.
pub const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Concurrent reads of the object.
pub const SEGMENTS_AHEAD: usize = 4;
/// The number of bytes after which the chunks in them are sent at the latest.
const SEND_BYTES: u64 = 128 * 1024 * 1024;
/// The maximum number of chunks of a job. Only an object with many records over the size limit has more, because
/// each of them is a chunk.
const MAX_CHUNKS: u32 = 4_000_000;

/// Reads the object, and sends the messages of its chunks meanwhile.
pub(crate) async fn plan(
    context: &Context,
    head: &JobHead,
    dataset: &Dataset,
) -> Result<Seal, SplitError> {
    let (sender, receiver) = mpsc::channel(1);
    let planner = Planner {
        context,
        head,
        dataset,
        reading: None,
        header: None,
        warnings: Vec::new(),
        chunks: 0,
        found: Vec::new(),
        sent_to: 0,
        sender,
    };
    let (planned, sent) = futures::join!(planner.run(), send_all(context, head, receiver));
    // If sending failed or ended, planning stopped because of it.
    match sent? {
        None => planned,
        Some(chunks) => Ok(Seal {
            chunks,
            problem: Some(Problem::new(
                ProblemCode::Cancelled,
                "the job was cancelled before the file was read to its end",
            )),
            warnings: Vec::new(),
        }),
    }
}

/// Why planning stops before the end of the object.
enum Stop {
    /// The object has a problem. The chunks before it remain.
    Problem(Problem),
    /// Something else failed. The next attempt starts over.
    Error(SplitError),
}

impl<E: Into<SplitError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Cuts an object into chunks and queues their messages for sending.
struct Planner<'a> {
    context: &'a Context,
    head: &'a JobHead,
    dataset: &'a Dataset,
    reading: Option<Reading>,
    header: Option<ByteRange>,
    warnings: Vec<Warning>,
    /// Number of chunks so far.
    chunks: u32,
    /// The chunks that are still to be sent.
    found: Vec<PlannedChunk>,
    /// Where the bytes begin whose chunks are still to be sent.
    sent_to: u64,
    sender: mpsc::Sender<Found>,
}

impl Planner<'_> {
    async fn run(mut self) -> Result<Seal, SplitError> {
        let problem = match self.plan().await {
            Ok(()) => None,
            Err(Stop::Problem(problem)) => Some(problem),
            Err(Stop::Error(error)) => return Err(error),
        };
        self.send().await?;
        Ok(Seal {
            chunks: self.chunks,
            problem,
            warnings: self.warnings,
        })
    }

    /// Plans all chunks.
    async fn plan(&mut self) -> Result<(), Stop> {
        let object = &self.head.object;
        let mut segments = std::pin::pin!(segments(&*self.context.objects, object));
        let segment = or_gone(segments.next().await.transpose())?;
        // Only an empty object has no segment, and it is not planned.
        debug_assert!(segment.is_some(), "an object without segments");
        let mut segment = segment.unwrap_or_default();
        let reading = &match &self.head.rejects_of {
            None => detect(&object.key, &segment, self.dataset)?,
            Some(origin) => Reading {
                rejects_of: Some(origin.clone()),
                ..Reading::from(Format::Ndjson)
            },
        };
        self.reading = Some(reading.clone());
        let mut scanner = Scanner::new(self.dataset, reading, self.head.chunk_bytes);
        let (mut found, mut start) = (Vec::new(), 0);
        loop {
            let scanned = scanner.feed(&segment, &mut found);
            self.check_header(scanner.header(), reading, (start, &segment))
                .await?;
            self.add(&mut found)?;
            scanned?;
            // Small parts first, so that workers start soon.
            let end = start + segment.len() as u64;
            if end - self.sent_to >= self.sent_to.min(SEND_BYTES) {
                self.send().await?;
                self.sent_to = end;
            }
            match or_gone(segments.next().await.transpose())? {
                Some(next) => {
                    start += segment.len() as u64;
                    segment = next;
                }
                None => break,
            }
        }
        let finished = scanner.finish(&mut found);
        let header = finished.as_ref().ok().and_then(|summary| summary.header);
        self.check_header(header, reading, (start, &segment))
            .await?;
        self.add(&mut found)?;
        let summary = finished?;
        self.warnings
            .extend(quoting_warning(self.dataset, reading, summary.saw_quoted));
        Ok(summary.check()?)
    }

    /// Checks the header before the first chunk is sent. It nearly always lies in the segment that starts here.
    async fn check_header(
        &mut self,
        header: Option<ByteRange>,
        reading: &Reading,
        (start, segment): (u64, &[u8]),
    ) -> Result<(), Stop> {
        let (None, Some(range)) = (self.header, header) else {
            return Ok(());
        };
        let position = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
        let inside = position(range.start).zip(position(range.end));
        let inside = inside.and_then(|(start, end)| segment.get(start..end));
        let parsed = if let Some(bytes) = inside {
            Header::parse(bytes, self.dataset, reading)?
        } else {
            let bytes = self.context.objects.read(&self.head.object, range).await;
            Header::parse(&or_gone(bytes)?, self.dataset, reading)?
        };
        self.warnings.extend_from_slice(parsed.warnings());
        self.header = header;
        Ok(())
    }

    /// Adds the chunks that were found to those that are still to be sent.
    fn add(&mut self, found: &mut Vec<PlannedChunk>) -> Result<(), Problem> {
        let room = (MAX_CHUNKS - self.chunks) as usize;
        let added = found.len().min(room);
        self.found.extend(found.drain(..added));
        self.chunks += u32::try_from(added).unwrap_or(MAX_CHUNKS);
        if found.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the object has more than {MAX_CHUNKS} chunks: check whether most of its records are over the size limit"
        );
        Err(Problem::new(ProblemCode::TooLarge, message))
    }

    /// Has the chunks that were found recorded and sent.
    async fn send(&mut self) -> Result<(), SplitError> {
        let Some(reading) = self.reading.clone().filter(|_| !self.found.is_empty()) else {
            return Ok(());
        };
        let found = Found {
            reading,
            header: self.header,
            chunks: std::mem::take(&mut self.found),
        };
        let sent = self.sender.send(found).await;
        sent.map_err(|_| SplitError::QueueClosed)
    }
}

/// Turns a missing object into a problem of the job.
fn or_gone<T>(result: Result<T, AwsError>) -> Result<T, Stop> {
    result.map_err(|error| match error {
        AwsError::Gone(_) => Problem::new(
            ProblemCode::ObjectGone,
            "the object was deleted or overwritten before it was read completely",
        )
        .into(),
        error => error.into(),
    })
}

fn segments<'a>(
    objects: &'a dyn Objects,
    object: &'a ObjectRef,
) -> impl Stream<Item = Result<Bytes, AwsError>> + 'a {
    stream::iter(0..object.size.div_ceil(SEGMENT_BYTES))
        .map(move |index| {
            let start = index * SEGMENT_BYTES;
            let end = (start + SEGMENT_BYTES).min(object.size);
            objects.read(object, ByteRange { start, end })
        })
        .buffered(SEGMENTS_AHEAD)
}
