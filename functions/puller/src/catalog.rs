//! The definitions of sources in the configuration bucket.

use landfall_aws::{ListedSource, SourceLookup};
use landfall_sources::Source;
use tracing::warn;

use crate::{Context, PullerError};

/// Reads the definition of a source. One that is invalid, or does not fit its dataset, is reported in the log and is
/// not run.
pub(crate) async fn source(
    context: &Context,
    listed: &ListedSource,
) -> Result<Option<Source>, PullerError> {
    let name = listed.name.as_str();
    let lookup = context.definitions.lookup_listed(listed, &context.datasets);
    match lookup.await? {
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
