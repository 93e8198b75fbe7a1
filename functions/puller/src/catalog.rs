//! The definitions of sources in the configuration bucket, at `sources/<name>.toml`.

use landfall_aws::{Lookup, MAX_DEFINITION_BYTES};
use landfall_domain::is_name;
use landfall_sources::Source;
use tracing::warn;

use crate::{Context, PullerError};

const PREFIX: &str = "sources/";
const SUFFIX: &str = ".toml";
/// The maximum number of sources, a multiple of what a listing returns.
const MAX_SOURCES: usize = 1_000;

/// Returns the names of the sources.
pub(crate) async fn names(context: &Context) -> Result<Vec<String>, PullerError> {
    let listed = context
        .objects
        .list(&context.config_bucket, PREFIX, None)
        .await?;
    let names = listed
        .iter()
        .filter_map(|object| object.key.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
    Ok(names
        .filter(|name| is_name(name))
        .take(MAX_SOURCES)
        .map(str::to_owned)
        .collect())
}

/// Reads the definition of a source. One that is invalid, or does not fit its dataset, is reported in the log and is
/// not run.
pub(crate) async fn source(context: &Context, name: &str) -> Result<Option<Source>, PullerError> {
    let key = format!("{PREFIX}{name}{SUFFIX}");
    let bucket = &context.config_bucket;
    let text = context
        .objects
        .read_text(bucket, &key, None, MAX_DEFINITION_BYTES)
        .await?;
    let Some((text, _)) = text else {
        return Ok(None);
    };
    let mut source = match Source::from_toml(name, &key, &text) {
        Ok(source) => source,
        Err(error) => {
            warn!(source = name, %error, "the definition is invalid");
            return Ok(None);
        }
    };
    let refused = match context.datasets.latest(&source.dataset).await? {
        Lookup::Found(dataset, _) => {
            source.schedule = source.schedule.with_minute(context.minute);
            source.csv = dataset.csv.clone();
            source.check_dataset(&dataset).err()
        }
        Lookup::Bad(error, _) => Some(error.to_string()),
        Lookup::Unknown => Some(format!("there is no dataset {}", source.dataset)),
    };
    if let Some(reason) = refused {
        warn!(source = name, reason, "the source does not fit its dataset");
        return Ok(None);
    }
    Ok(Some(source))
}
