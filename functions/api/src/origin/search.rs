//! Looks for the jobs that a version belongs to, and for their records.

use jiff::{SignedDuration, Timestamp};
use landfall_aws::{AwsError, DefinitionError};
use landfall_domain::{
    ChunkMessage, JobId, JobState, MissingRecord, OriginKind, PlannedChunk, RowVersion, Source,
};
use landfall_formats::{FoundRecord, Header, record_at};
use landfall_ledger::{JobHead, JobsCursor, LedgerError, OrderQuery, shard_of};

use super::decision::Candidate;
use crate::{ApiError, Context};

/// How much later the clock of S3 may be than that of a splitter.
const CLOCKS: SignedDuration = SignedDuration::from_mins(10);
/// Pages of the ledger's index that are searched for the jobs of an order. Each reads up to 3,600 jobs.
const MAX_PAGES: usize = 4;
/// Chunks of an object of fixed rejects that are searched for a record.
const MAX_FIXED_CHUNKS: u32 = 4;

/// Jobs of an order in which the record is looked for.
const MAX_EXAMINED: usize = 16;

/// The jobs that may have given a row.
#[derive(Default)]
pub(super) struct Candidates {
    /// In the order in which they were created.
    pub(super) found: Vec<Candidate>,
    /// Whether more jobs follow that were not looked at.
    pub(super) is_cut_short: bool,
}

/// Returns the time of the event of a version's object.
pub(super) fn event_time(version: RowVersion) -> Timestamp {
    // Any 47 bits are within the range of a timestamp.
    Timestamp::from_millisecond(version.object().time_ms()).unwrap_or(Timestamp::MIN)
}

/// Looks for jobs with the record of a version, up to the first that has certainly given the row.
pub(super) async fn candidates(
    context: &Context,
    dataset: &str,
    version: RowVersion,
) -> Result<Candidates, ApiError> {
    let mut candidates = Candidates::default();
    let mut query = query(dataset, version);
    let mut examined = 0;
    for _ in 0..MAX_PAGES {
        let page = context.jobs.jobs_of_order(&query).await?;
        for head in page.heads {
            if examined == MAX_EXAMINED {
                candidates.is_cut_short = true;
                return Ok(candidates);
            }
            examined += 1;
            let Some(candidate) = examine(context, &head, version.offset()).await? else {
                continue;
            };
            let is_certain = candidate.is_certain();
            candidates.found.push(candidate);
            if is_certain {
                return Ok(candidates);
            }
        }
        match page.next {
            Some(next) => query.after = next,
            None => return Ok(candidates),
        }
    }
    candidates.is_cut_short = true;
    Ok(candidates)
}

/// Looks for the job of a snapshot by the least version of its rows.
pub(super) async fn snapshot(
    context: &Context,
    dataset: &str,
    first: RowVersion,
) -> Result<Candidates, ApiError> {
    let mut query = query(dataset, first);
    for _ in 0..MAX_PAGES {
        let page = context.jobs.jobs_of_order(&query).await?;
        if let Some(head) = page.heads.first() {
            return Ok(Candidates {
                found: vec![candidate(head)],
                is_cut_short: false,
            });
        }
        match page.next {
            Some(next) => query.after = next,
            None => return Ok(Candidates::default()),
        }
    }
    Ok(Candidates {
        found: Vec::new(),
        is_cut_short: true,
    })
}

fn query(dataset: &str, version: RowVersion) -> OrderQuery {
    let from = event_time(version).checked_sub(CLOCKS);
    OrderQuery {
        dataset: dataset.to_owned(),
        order: version.object(),
        after: JobsCursor {
            created_at: format!("{:.6}", from.unwrap_or(Timestamp::MIN)),
            job: JobId::MIN,
        },
    }
}

/// Returns a job without its record.
fn candidate(head: &JobHead) -> Candidate {
    let kind = if head.redrive_of.is_some() {
        OriginKind::DeadChunks
    } else if head.rejects_of.is_some() {
        OriginKind::FixedRejects
    } else {
        OriginKind::File
    };
    let definition = head.dataset.as_ref();
    let rejected = head.counts.as_ref().map(|counts| counts.rejected);
    Candidate {
        source: Source {
            job: head.job,
            kind,
            state: head.state,
            created_at: head.created_at.clone(),
            object: (&head.object).into(),
            definition: definition.and_then(|definition| definition.version.clone()),
            release: head.release.clone(),
            chunk: None,
            line: None,
            record: None,
            missing: None,
        },
        is_dead: false,
        is_only: kind == OriginKind::File
            && head.state != JobState::Open
            && rejected == Some(0)
            && head.dead == 0
            && head.redrives.is_empty(),
    }
}

/// Returns a job with its record at this offset of the first object; `None` if it has nothing to do with the record.
async fn examine(
    context: &Context,
    head: &JobHead,
    offset: u64,
) -> Result<Option<Candidate>, ApiError> {
    let mut candidate = candidate(head);
    let (chunks, is_whole) = chunks_with(context, head, offset).await?;
    for chunk in &chunks {
        let found = find(context, chunk, offset).await?;
        // Another chunk may have the fixed reject.
        if head.rejects_of.is_some() && found == Ok(None) {
            continue;
        }
        let shard = [shard_of(chunk.ordinal)];
        let mut shards = context.jobs.shards(head.job, &shard).await?.into_iter();
        candidate.is_dead = shards.any(|shard| shard.dead.contains(&chunk.ordinal));
        candidate.source.chunk = Some(chunk.ordinal);
        match found {
            Ok(Some(FoundRecord { line, record })) => {
                candidate.source.line = Some(line);
                candidate.source.record = Some(record);
            }
            Ok(None) => candidate.source.missing = Some(MissingRecord::NoRecord),
            Err(missing) => candidate.source.missing = Some(missing),
        }
        return Ok(Some(candidate));
    }
    let is_first = candidate.source.kind == OriginKind::File;
    candidate.source.missing = Some(if is_whole {
        MissingRecord::NoChunk
    } else {
        MissingRecord::TooLarge
    });
    // Otherwise, its rejects or dead chunks are others.
    Ok(Some(candidate).filter(|_| is_first || !is_whole))
}

/// Returns the chunks that may have the record, and whether these are all.
async fn chunks_with(
    context: &Context,
    head: &JobHead,
    offset: u64,
) -> Result<(Vec<ChunkMessage>, bool), ApiError> {
    if head.rejects_of.is_none() {
        let chunk = context.ledger.chunk_at(head, offset).await?;
        return Ok((chunk.into_iter().collect(), true));
    }
    let chunks = head.chunks.unwrap_or(0);
    let searched: Vec<u32> = (0..chunks.min(MAX_FIXED_CHUNKS)).collect();
    let found = match context.ledger.planned_chunks(head, &searched).await {
        Ok(found) => found,
        Err(LedgerError::Missing(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    Ok((found, chunks <= MAX_FIXED_CHUNKS))
}

/// Reads a chunk as the worker did, and returns the record at this offset, or why there is none to read.
async fn find(
    context: &Context,
    chunk: &ChunkMessage,
    offset: u64,
) -> Result<Result<Option<FoundRecord>, MissingRecord>, ApiError> {
    let dataset = match context.datasets.require(&chunk.dataset).await {
        Ok(dataset) => dataset,
        Err(DefinitionError::Aws(error)) => return Err(error.into()),
        Err(DefinitionError::Invalid(_) | DefinitionError::Gone(_)) => {
            return Ok(Err(MissingRecord::DefinitionGone));
        }
    };
    let planned = PlannedChunk {
        range: chunk.range,
        first_line: chunk.first_line,
        records: chunk.records,
        kind: chunk.kind,
    };
    let read = async {
        let bytes = context
            .contents
            .read(chunk.content(), planned.bytes())
            .await?;
        let header = match chunk.header {
            Some(range) => Some(context.contents.read(chunk.content(), range).await?),
            None => None,
        };
        Ok::<_, AwsError>((bytes, header))
    };
    let (bytes, header) = match read.await {
        Ok(read) => read,
        Err(AwsError::Gone(_)) => return Ok(Err(MissingRecord::ObjectGone)),
        Err(AwsError::Expired(_)) => return Ok(Err(MissingRecord::TextExpired)),
        Err(error) => return Err(error.into()),
    };
    let (reading, key) = (chunk.reading.clone(), chunk.object.key.clone());
    // Decoding takes too long for a thread that serves other requests.
    let decoded = tokio::task::spawn_blocking(move || {
        let header = header.map(|bytes| Header::parse(&bytes, &dataset, &reading));
        let header = header.transpose().map_err(|_| MissingRecord::NoRecord)?;
        let header = header.as_ref();
        Ok(record_at(
            (&key, &planned),
            &dataset,
            &reading,
            header,
            &bytes,
            offset,
        ))
    });
    decoded
        .await
        .map_err(|error| ApiError::Internal(format!("a record could not be decoded: {error}")))
}
