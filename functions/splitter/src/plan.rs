//! Reads an object and cuts it into chunks.

use futures::StreamExt;
use landfall_domain::{
    ByteRange, Dataset, Format, PlannedChunk, Problem, ProblemCode, Reading, Warning,
};
use landfall_formats::{Header, MAX_CHUNKS, Scanner, detect, quoting_warning};
use landfall_ledger::{Checkpoint, JobHead, Seal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::handler::other_release;
use crate::segments::{Segment, Segments};
use crate::send::{Found, Sent, send_all};
use crate::stop::{Stop, or_gone};
use crate::{Context, SplitError, segments, unpacking};

/// The number of segments after which the chunks in them are sent at the latest.
const SEND_SEGMENTS: u64 = 32;
/// The number of chunks from which on they are sent after the segment.
const SEND_CHUNKS: usize = 1_000;

/// How the planning of a job ended.
pub(crate) enum Planned {
    /// At the end of the object, or with a problem of it.
    Completely(Seal),
    /// For lack of time. Everything before the checkpoint is recorded and sent.
    Partly,
    /// Another splitter reads the same object, and is ahead.
    Overtaken,
}

/// Reads the object from where an earlier invocation has stopped, and sends the messages of its chunks meanwhile, until
/// it is time to stop.
pub(crate) async fn plan(
    context: &Context,
    head: &JobHead,
    dataset: &Dataset,
    is_new: bool,
    stop_at: Instant,
) -> Result<Planned, SplitError> {
    let mut from = None;
    // A new job has no checkpoint, nor has that of a smaller object, unless it is packed.
    let may_have = head.packed.is_some() || head.object.size > context.segment_bytes;
    if !is_new && may_have {
        from = context.ledger.checkpoint(head.job).await?;
    }
    let mut block = None;
    if let Some(from) = &from {
        block = Some(context.ledger.plan_at(head.job, &from.checkpoint).await?);
    }
    let (sender, receiver) = mpsc::channel(1);
    let planner = Planner::new(context, head, dataset, sender);
    let planned = planner.run(from.map(|from| from.checkpoint), stop_at);
    let sent = send_all(context, head, block, receiver);
    let (planned, sent) = futures::join!(planned, sent);
    // If sending failed or ended, planning stopped because of it.
    match sent? {
        Sent::All => planned,
        Sent::Overtaken => Ok(Planned::Overtaken),
        Sent::Cancelled(chunks) => Ok(Planned::Completely(Seal {
            chunks,
            problem: Some(Problem::new(
                ProblemCode::Cancelled,
                "the job was cancelled before the file was read to its end",
            )),
            warnings: Vec::new(),
        })),
    }
}

/// Cuts an object into chunks, and has them recorded and sent.
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
    sender: mpsc::Sender<Found>,
}

impl<'a> Planner<'a> {
    fn new(
        context: &'a Context,
        head: &'a JobHead,
        dataset: &'a Dataset,
        sender: mpsc::Sender<Found>,
    ) -> Self {
        Self {
            context,
            head,
            dataset,
            reading: None,
            header: None,
            warnings: Vec::new(),
            chunks: 0,
            found: Vec::new(),
            sender,
        }
    }

    async fn run(
        mut self,
        from: Option<Checkpoint>,
        stop_at: Instant,
    ) -> Result<Planned, SplitError> {
        let problem = match self.plan(from, stop_at).await {
            Ok(()) => None,
            Err(Stop::Problem(problem)) => Some(self.worst(problem).await?),
            Err(Stop::OutOfTime) => return Ok(Planned::Partly),
            Err(Stop::Error(error)) => return Err(error),
        };
        self.send(None).await?;
        Ok(Planned::Completely(Seal {
            chunks: self.chunks,
            problem,
            warnings: self.warnings,
        }))
    }

    /// Plans all chunks after the checkpoint.
    async fn plan(&mut self, from: Option<Checkpoint>, stop_at: Instant) -> Result<(), Stop> {
        let mut start = from.as_ref().map_or(0, |from| from.scanned);
        // Before a problem of the object, so that it does not hide the chunks that are sent.
        let resumed = from.map(|from| self.resume(from)).transpose()?;
        let mut segments = self.segments(start, stop_at);
        let mut segment = next(&mut segments).await?;
        let mut scanner = match resumed {
            Some(scanner) => scanner,
            None => self.start(&segment)?,
        };
        let mut found = Vec::new();
        let mut sent_to = start;
        let end = loop {
            let scanned = scanner.feed(&segment.bytes, &mut found);
            self.check_header(scanner.header(), (start, &segment.bytes))
                .await?;
            self.add(&mut found)?;
            scanned?;
            if let Some(end) = segment.end {
                break end;
            }
            let end = start + segment.bytes.len() as u64;
            let is_late = Instant::now() >= stop_at;
            // Small parts first, so that workers start soon.
            let enough = sent_to.min(SEND_SEGMENTS * self.context.segment_bytes);
            if is_late || end - sent_to >= enough || self.found.len() >= SEND_CHUNKS {
                self.send(Some((end, &scanner))).await?;
                sent_to = end;
            }
            if is_late {
                return Err(Stop::OutOfTime);
            }
            let next = next(&mut segments).await;
            if matches!(next, Err(Stop::OutOfTime)) && sent_to < end {
                self.send(Some((end, &scanner))).await?;
            }
            (start, segment) = (end, next?);
        };
        let warnings = match end {
            Ok(warnings) => warnings,
            Err(damage) => {
                scanner.abandon(&mut found);
                self.add(&mut found)?;
                return Err(damage.into());
            }
        };
        self.warnings.extend(warnings);
        let finished = scanner.finish(&mut found);
        let header = finished.as_ref().ok().and_then(|summary| summary.header);
        self.check_header(header, (start, &segment.bytes)).await?;
        self.add(&mut found)?;
        let summary = finished?;
        let quoting = self.reading.as_ref();
        let quoting = quoting.and_then(|it| quoting_warning(self.dataset, it, summary.saw_quoted));
        self.warnings.extend(quoting);
        Ok(summary.check()?)
    }

    /// Returns the problem of the object: of one that has no chunks, whether it unpacks to too much comes first.
    async fn worst(&self, problem: Problem) -> Result<Problem, SplitError> {
        let may_hide =
            self.chunks == 0 && problem.code.fails() && problem.code != ProblemCode::TooLarge;
        let Some(packed) = self.head.packed.as_ref().filter(|_| may_hide) else {
            return Ok(problem);
        };
        let excess = unpacking::excess(self.context, &self.head.object, packed).await?;
        Ok(excess.unwrap_or(problem))
    }

    /// Returns the segments of the text from this byte on.
    fn segments(&self, from: u64, stop_at: Instant) -> Segments<'a> {
        let object = &self.head.object;
        match &self.head.packed {
            None => segments::segments(self.context, object, from),
            Some(packed) => unpacking::segments(self.context, object, packed, from, stop_at),
        }
    }

    /// Starts with the first segment of the object.
    fn start(&mut self, segment: &Segment) -> Result<Scanner, Problem> {
        if segment.bytes.is_empty() {
            return Err(match &segment.end {
                Some(Err(damage)) => damage.clone(),
                _ => Problem::new(ProblemCode::EmptyObject, "the object unpacks to nothing"),
            });
        }
        let reading = match &self.head.rejects_of {
            None => detect(&self.head.object.key, &segment.bytes, self.dataset)?,
            Some(origin) => Reading {
                rejects_of: Some(origin.clone()),
                ..Reading::from(Format::Ndjson)
            },
        };
        let scanner = Scanner::new(self.dataset, &reading, self.head.chunk_bytes);
        self.reading = Some(reading);
        Ok(scanner)
    }

    /// Continues from a checkpoint.
    fn resume(&mut self, from: Checkpoint) -> Result<Scanner, Problem> {
        self.header = from.header;
        self.warnings = from.warnings;
        self.chunks = from.chunks;
        let state = serde_json::from_str(&from.scanner).ok();
        let scanner = state.and_then(|state| {
            Scanner::resume(self.dataset, &from.reading, self.head.chunk_bytes, state)
        });
        self.reading = Some(from.reading);
        scanner.ok_or_else(other_release)
    }

    /// Checks the header before the first chunk is sent. It nearly always lies in the segment that starts here.
    async fn check_header(
        &mut self,
        header: Option<ByteRange>,
        (start, segment): (u64, &[u8]),
    ) -> Result<(), Stop> {
        let (None, Some(range), Some(reading)) = (self.header, header, &self.reading) else {
            return Ok(());
        };
        let position = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
        let inside = position(range.start).zip(position(range.end));
        let inside = inside.and_then(|(start, end)| segment.get(start..end));
        let parsed = if let Some(bytes) = inside {
            Header::parse(bytes, self.dataset, reading)?
        } else {
            let bytes = self.context.contents.read(self.head.content(), range).await;
            Header::parse(&or_gone(bytes)?, self.dataset, reading)?
        };
        self.warnings.extend_from_slice(parsed.warnings());
        self.header = header;
        Ok(())
    }

    /// Adds the chunks that were found to those that are still to be sent.
    fn add(&mut self, found: &mut Vec<PlannedChunk>) -> Result<(), Problem> {
        let room = MAX_CHUNKS.saturating_sub(self.chunks) as usize;
        let added = found.len().min(room);
        self.found.extend(found.drain(..added));
        self.chunks += u32::try_from(added).unwrap_or(MAX_CHUNKS);
        if found.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the object has more than {MAX_CHUNKS} chunks: check whether most of its records are over the size limit, \
             or split it and upload the parts"
        );
        Err(Problem::new(ProblemCode::TooLarge, message))
    }

    /// Has the chunks that were found recorded and sent, and then the checkpoint after so many bytes recorded.
    async fn send(&mut self, at: Option<(u64, &Scanner)>) -> Result<(), SplitError> {
        let Some(reading) = self.reading.clone() else {
            // Not even the format is known.
            return Ok(());
        };
        let checkpoint = match at {
            None => None,
            Some((scanned, scanner)) => Some(Checkpoint {
                scanned,
                chunks: self.chunks,
                reading: reading.clone(),
                header: self.header,
                warnings: self.warnings.clone(),
                scanner: serde_json::to_string(&scanner.state())?,
            }),
        };
        let found = Found {
            reading,
            header: self.header,
            chunks: std::mem::take(&mut self.found),
            checkpoint,
        };
        let sent = self.sender.send(found).await;
        sent.map_err(|_| SplitError::QueueClosed)
    }
}

/// Returns the next segment. There is one until one has the end of the object.
async fn next(segments: &mut Segments<'_>) -> Result<Segment, Stop> {
    segments.next().await.ok_or(SplitError::NoEnd)?
}
