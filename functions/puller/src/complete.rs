//! Creates the object of a walk that is whole.

use bytes::Bytes;
use landfall_domain::{Format, JobId};
use landfall_sources::{Phase, Source, State, Upload};

use crate::error::WalkFailure;
use crate::held::Held;
use crate::{Context, PullerError, walk};

/// Returns the media type of the objects of a source.
pub(crate) fn media_type(source: &Source) -> &'static str {
    match source.object_format() {
        Format::Csv => "text/csv",
        Format::Tsv => "text/tab-separated-values",
        Format::Ndjson | Format::Json => "application/x-ndjson",
    }
}

/// Records what the walk proposes, and then creates its object: from the parts of an upload, or from its whole content.
pub(crate) async fn create(
    context: &Context,
    held: &mut Held<'_>,
    proposal: State,
    upload: Option<Upload>,
    content: Vec<u8>,
) -> Result<(), PullerError> {
    let key = held.run()?.object_key(held.source);
    if let Some(run) = &mut held.record.run {
        run.phase = Phase::Completing {
            upload: upload.clone(),
            proposal,
        };
    }
    held.save().await?;
    if upload.is_none() {
        context
            .target
            .create(&key, media_type(held.source), Bytes::from(content))
            .await?;
    }
    find_object(context, held).await
}

/// Completes the upload, if there is one, and finds the object. If there is none, the walk failed.
pub(crate) async fn find_object(context: &Context, held: &mut Held<'_>) -> Result<(), PullerError> {
    let run = held.run()?.clone();
    let Phase::Completing { upload, proposal } = run.phase.clone() else {
        return Ok(());
    };
    let key = run.object_key(held.source);
    if let Some(upload) = &upload {
        context
            .target
            .complete(&key, &upload.id, &upload.parts)
            .await?;
    }
    let Some(version) = context.target.version(&key).await? else {
        return walk::fail(context, held, upload, &WalkFailure::Gone).await;
    };
    let job = JobId::for_object(context.target.bucket(), &key, &version);
    if let Some(run) = &mut held.record.run {
        run.phase = Phase::Ingesting { job, proposal };
    }
    Ok(())
}
