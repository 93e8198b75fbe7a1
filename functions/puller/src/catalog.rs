//! The definitions of sources in the configuration bucket.

use std::sync::Arc;

use landfall_aws::{SourceLookup, Sources};
use landfall_sources::Source;
use tracing::warn;

use crate::{Context, PullerError};

fn sources(context: &Context) -> Sources {
    Sources::new(Arc::clone(&context.objects), context.config_bucket.as_str())
}

/// Returns the names of the sources, at most 1,000.
pub(crate) async fn names(context: &Context) -> Result<Vec<String>, PullerError> {
    Ok(sources(context).names(None).await?)
}

/// Reads the definition of a source. One that is invalid, or does not fit its dataset, is reported in the log and is
/// not run.
pub(crate) async fn source(context: &Context, name: &str) -> Result<Option<Source>, PullerError> {
    match sources(context).lookup(name, &context.datasets).await? {
        SourceLookup::Found(mut source, None) => {
            source.schedule = source.schedule.with_minute(context.minute);
            return Ok(Some(*source));
        }
        SourceLookup::Found(_, Some(reason)) => {
            warn!(source = name, reason, "the source does not fit its dataset");
        }
        SourceLookup::Bad(error) => warn!(source = name, %error, "the definition is invalid"),
        SourceLookup::Unknown => {}
    }
    Ok(None)
}
