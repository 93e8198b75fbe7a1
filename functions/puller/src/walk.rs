//! Fetches the pages of a walk, and stores their records.

use bytes::Bytes;
use landfall_aws::Lookup;
use landfall_domain::{Dataset, Start, Value};
use landfall_fetch::FetchError;
use landfall_sources::{Answer, Checkpoint, Outcome, Phase, Request, Upload, Walk};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::error::WalkFailure;
use crate::held::{Held, end_of_invocation};
use crate::{Context, Fetching, PullerError, complete};

/// The maximum number of bytes of records that are kept aside.
const MAX_ASIDE: usize = 32 << 20;
const ASIDE_TYPE: &str = "application/x-ndjson";

/// A walk that is being made.
struct Walking {
    walk: Walk,
    upload: Option<Upload>,
    /// Records that are not stored yet.
    buffer: Vec<u8>,
}

/// Walks from the checkpoint or from the start, as far as time allows, and creates the object if the walk is whole.
pub(crate) async fn walk(
    context: &Context,
    held: &mut Held<'_>,
    stop_at: Instant,
) -> Result<(), PullerError> {
    let requests = held.run()?.requests;
    let mut walking = match load(context, held).await {
        Ok(walking) => walking,
        Err(WalkFailure::Step(error)) => return Err(error),
        Err(failure) => return fail(context, held, recorded_upload(held)?, &failure).await,
    };
    let mut session = context.fetcher.open(held.source, stop_at);
    let walked = make(context, held, session.as_mut(), &mut walking, stop_at).await;
    if let Some(run) = &mut held.record.run {
        run.requests = requests + session.requests();
    }
    drop(session);
    let finished = match walked {
        Ok(false) => return Ok(()),
        Ok(true) => finish(context, held, &mut walking, stop_at).await,
        Err(failure) => Err(failure),
    };
    match finished {
        Ok(()) => Ok(()),
        // The step is repeated from the last checkpoint.
        Err(WalkFailure::Step(error)) => Err(error),
        Err(failure) => fail(context, held, walking.upload, &failure).await,
    }
}

/// Returns the upload that the record names.
pub(crate) fn recorded_upload(held: &Held<'_>) -> Result<Option<Upload>, PullerError> {
    Ok(match &held.run()?.phase {
        Phase::Walking(Some(checkpoint)) => checkpoint.upload.clone(),
        Phase::Completing { upload, .. } => upload.clone(),
        Phase::Walking(None) | Phase::Ingesting { .. } => None,
    })
}

/// Ends a walk that failed, and the run if no other walk helps.
pub(crate) async fn fail(
    context: &Context,
    held: &mut Held<'_>,
    upload: Option<Upload>,
    failure: &WalkFailure,
) -> Result<(), PullerError> {
    let (source, run) = (held.source, held.run()?.clone());
    warn!(source = source.name, run = run.number, walk = run.walks, error = %failure, "a walk failed");
    let now = (context.now)();
    let mut record = held.record.clone();
    if record.fail_walk(source, now, !failure.retryable()) {
        let reason = Some(failure.to_string());
        held.record_end(&run, now, Outcome::Failed, reason).await?;
    }
    if let Some(run) = &mut record.run {
        run.retry_reason = Some(failure.to_string());
    }
    held.record = record;
    // Before the upload is aborted: a walk that goes on from a checkpoint could store no further part in it.
    held.save().await?;
    if let Some(upload) = upload {
        let aborted = context
            .target
            .abort(&run.object_key(source), &upload.id)
            .await;
        if let Err(error) = aborted {
            // S3 aborts it after some days.
            warn!(source = source.name, %error, "the upload of a walk that failed is left");
        }
    }
    Ok(())
}

/// Makes a walk as far as time allows. Returns whether it is whole.
async fn make(
    context: &Context,
    held: &mut Held<'_>,
    session: &mut dyn Fetching,
    walking: &mut Walking,
    stop_at: Instant,
) -> Result<bool, WalkFailure> {
    let source = held.source;
    while !walking.walk.is_done() {
        held.renew().await?;
        let now = (context.now)();
        if held.run()?.is_over_time(source, now) {
            return Err(WalkFailure::Time(source.limits.seconds));
        }
        if walking.walk.needs_parents() {
            read_parents(context, held, &mut walking.walk).await?;
            continue;
        }
        let Some(request) = walking.walk.request(source) else {
            break;
        };
        let walked = if source.streams() {
            stream(context, held, session, &request, walking, stop_at).await
        } else {
            page(context, held, session, &request, walking).await
        };
        match walked {
            Ok(()) => {}
            Err(WalkFailure::Fetch(error @ (FetchError::Time | FetchError::Wait(_)))) => {
                if let FetchError::Wait(wait) = error
                    && let Some(run) = &mut held.record.run
                {
                    run.retry_at = now.checked_add(wait).ok();
                    run.retry_reason = Some(error.to_string());
                }
                keep_aside(context, held, walking).await?;
                return Ok(false);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(true)
}

/// Reads the next rows whose children are fetched.
async fn read_parents(
    context: &Context,
    held: &mut Held<'_>,
    walk: &mut Walk,
) -> Result<(), WalkFailure> {
    let source = held.source;
    let Some(children) = &source.children else {
        return Ok(());
    };
    let Lookup::Found(dataset, _) = context.datasets.latest(&children.of).await? else {
        let reason = format!(
            "the dataset {} of [children] has no valid definition",
            children.of
        );
        return Err(WalkFailure::Parents(reason));
    };
    children
        .check_parents(&dataset)
        .map_err(WalkFailure::Parents)?;
    let start = match walk.last_parent() {
        None => Start::First,
        // A definition with another key may have come meanwhile.
        Some(key) => Start::After(place(&dataset, key).ok_or(WalkFailure::Changed)?),
    };
    let page = held.hold(context.parents.page(&dataset, start)).await?;
    let page = page.map_err(|error| PullerError::Parents {
        dataset: children.of.clone(),
        error,
    })?;
    let parents = page.rows.iter();
    let parents = parents.map(|row| children.parent(&dataset, &row.values));
    Ok(walk.add_parents(source, parents.collect(), page.next.is_none())?)
}

/// Returns the values of a key, or `None` if the dataset has another one.
fn place(dataset: &Dataset, key: &[String]) -> Option<Vec<Value>> {
    let fields = dataset.key_fields();
    let values = fields
        .zip(key)
        .map(|(field, text)| Value::from_text(field.kind, text).ok());
    let values: Vec<Value> = values.collect::<Option<_>>()?;
    (values.len() == key.len() && values.len() == dataset.key_indexes().len()).then_some(values)
}

/// Fetches a page.
async fn page(
    context: &Context,
    held: &mut Held<'_>,
    session: &mut dyn Fetching,
    request: &Request,
    walking: &mut Walking,
) -> Result<(), WalkFailure> {
    let source = held.source;
    let response = match held.hold(session.fetch(request)).await? {
        Err(FetchError::Answer { status, .. }) if walking.walk.skip_parent(source, status)? => {
            return Ok(());
        }
        response => response?,
    };
    let answer = Answer {
        status: response.status,
        headers: &response.headers,
        body: &response.body,
    };
    walking.walk.accept(source, &answer, &mut walking.buffer)?;
    if walking.buffer.len() >= context.part_bytes && !walking.walk.is_done() {
        put_part(context, held, walking).await?;
        record(held, walking, None).await?;
    }
    Ok(())
}

/// Returns the walk as it was recorded, or a new one.
async fn load(context: &Context, held: &Held<'_>) -> Result<Walking, WalkFailure> {
    let run = held.run()?;
    let Phase::Walking(Some(checkpoint)) = &run.phase else {
        let (current, now) = (&held.record.current, (context.now)());
        return Ok(Walking {
            walk: Walk::start(held.source, current, run.is_full, now),
            upload: None,
            buffer: Vec::new(),
        });
    };
    if !checkpoint.walk.is_of(held.source) {
        return Err(WalkFailure::Changed);
    }
    let mut buffer = Vec::new();
    if let Some(key) = &checkpoint.aside {
        let aside = context
            .objects
            .read_text(&context.aside_bucket, key, None, MAX_ASIDE + 1)
            .await?;
        buffer = aside.ok_or(WalkFailure::Gone)?.0.into_bytes();
    }
    info!(source = held.source.name, "a walk is continued");
    Ok(Walking {
        walk: checkpoint.walk.clone(),
        upload: checkpoint.upload.clone(),
        buffer,
    })
}

/// Stores an answer as it arrives.
async fn stream(
    context: &Context,
    held: &mut Held<'_>,
    session: &mut dyn Fetching,
    request: &Request,
    walking: &mut Walking,
    stop_at: Instant,
) -> Result<(), WalkFailure> {
    let source = held.source;
    let mut received = held.hold(session.receive(request)).await??;
    let answer = Answer {
        status: received.status,
        headers: &received.headers,
        body: &[],
    };
    if !walking.walk.accept_head(source, &answer)? {
        return Ok(());
    }
    loop {
        held.renew().await?;
        let chunk = timeout_at(stop_at, received.body.next());
        let chunk = held
            .hold(chunk)
            .await?
            .map_err(|_| WalkFailure::Unfinished)?;
        let Some(chunk) = chunk.map_err(FetchError::from)? else {
            break;
        };
        walking.walk.count_stream(source, chunk.len() as u64)?;
        walking.buffer.extend_from_slice(&chunk);
        if walking.buffer.len() >= context.part_bytes {
            put_part(context, held, walking).await?;
        }
    }
    Ok(walking.walk.finish_stream(source, &received.headers)?)
}

/// Stores the buffer as the next part of the upload.
async fn put_part(
    context: &Context,
    held: &mut Held<'_>,
    walking: &mut Walking,
) -> Result<(), WalkFailure> {
    let key = held.run()?.object_key(held.source);
    let upload = match walking.upload.take() {
        Some(upload) => upload,
        None => Upload {
            id: context
                .target
                .begin(&key, complete::media_type(held.source))
                .await?,
            parts: Vec::new(),
        },
    };
    let upload = walking.upload.insert(upload);
    let number = upload.parts.len() + 1;
    let body = Bytes::from(std::mem::take(&mut walking.buffer));
    let stored = context.target.put_part(&key, &upload.id, number, body);
    let stored = held.hold(stored).await?;
    let etag = stored.map_err(|error| {
        if error.retryable() {
            error.into()
        } else {
            WalkFailure::Upload(error)
        }
    })?;
    upload.parts.push(etag);
    Ok(())
}

/// Records how far a walk has come. Its buffer must be empty or kept aside.
async fn record(
    held: &mut Held<'_>,
    walking: &Walking,
    aside: Option<String>,
) -> Result<(), PullerError> {
    if let Some(run) = &mut held.record.run {
        run.phase = Phase::Walking(Some(Box::new(Checkpoint {
            walk: walking.walk.clone(),
            upload: walking.upload.clone(),
            aside,
        })));
    }
    held.save().await
}

/// Keeps the records aside that are too few for a part, and records how far the walk has come.
async fn keep_aside(
    context: &Context,
    held: &mut Held<'_>,
    walking: &Walking,
) -> Result<(), WalkFailure> {
    let (name, run) = (&held.source.name, held.run()?.number);
    // Another key for each lease: a late write must not replace what a later checkpoint names.
    let key = format!("sources/{name}/{run}-{}", held.revision());
    let mut aside = None;
    if !walking.buffer.is_empty() {
        let body = Bytes::from(walking.buffer.clone());
        let bucket = &context.aside_bucket;
        let written = context.objects.write(bucket, &key, ASIDE_TYPE, body);
        held.hold(written).await??;
        aside = Some(key);
    }
    Ok(record(held, walking, aside).await?)
}

/// Creates the object of a walk that is whole, or ends the run if the walk has no records.
async fn finish(
    context: &Context,
    held: &mut Held<'_>,
    walking: &mut Walking,
    stop_at: Instant,
) -> Result<(), WalkFailure> {
    let proposal = walking.walk.proposal(held.source);
    if let Some(run) = &mut held.record.run {
        run.progress = walking.walk.progress();
    }
    if walking.buffer.is_empty() && walking.upload.is_none() {
        let run = held.run()?.clone();
        held.record_end(&run, (context.now)(), Outcome::Empty, None)
            .await?;
        held.record.succeed(proposal);
        return Ok(());
    }
    if walking.upload.is_some() && !walking.buffer.is_empty() {
        put_part(context, held, walking).await?;
    }
    let content = std::mem::take(&mut walking.buffer);
    // An object must not be created after another invocation has given it up.
    held.record
        .lease(end_of_invocation((context.now)(), stop_at));
    let created = complete::create(context, held, proposal, walking.upload.clone(), content);
    Ok(created.await?)
}
