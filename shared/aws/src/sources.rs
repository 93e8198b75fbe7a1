use std::sync::Arc;

use landfall_domain::{InvalidDefinition, is_name};
use landfall_sources::Source;

use crate::{AwsError, Datasets, Failure, Lookup, MAX_DEFINITION_BYTES, Objects};

const PREFIX: &str = "sources/";
const SUFFIX: &str = ".toml";

/// The result of looking up a source.
#[derive(Clone, Debug)]
pub enum SourceLookup {
    /// A valid definition, and why its dataset cannot get its records, if that is so.
    Found(Box<Source>, Option<String>),
    /// A definition with an error.
    Bad(InvalidDefinition),
    /// There is no definition, or the name is not a valid one.
    Unknown,
}

/// The definitions of sources in the configuration bucket, at `sources/<name>.toml`. They are not cached.
pub struct Sources {
    objects: Arc<dyn Objects>,
    bucket: String,
}

impl Sources {
    /// Returns the definitions in this bucket.
    pub fn new(objects: Arc<dyn Objects>, bucket: impl Into<String>) -> Self {
        let bucket = bucket.into();
        Self { objects, bucket }
    }

    /// Returns the sorted names of the sources that have a definition, those after `after`, at most 1,000.
    pub async fn names(&self, after: Option<&str>) -> Result<Vec<String>, AwsError> {
        let after = after.map(key);
        let listed = self.objects.list(&self.bucket, PREFIX, after.as_deref());
        let listed = listed.await?;
        let names = listed
            .iter()
            .filter_map(|object| object.key.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        Ok(names
            .filter(|name| is_name(name))
            .map(ToOwned::to_owned)
            .collect())
    }

    /// Returns the definition of a source, checked with that of its dataset.
    pub async fn lookup(&self, name: &str, datasets: &Datasets) -> Result<SourceLookup, AwsError> {
        if !is_name(name) {
            return Ok(SourceLookup::Unknown);
        }
        let file = key(name);
        let text = self
            .objects
            .read_text(&self.bucket, &file, None, MAX_DEFINITION_BYTES);
        let text = match text.await {
            Ok(Some((text, _))) => text,
            Ok(None) => return Ok(SourceLookup::Unknown),
            Err(AwsError::Call {
                failure: Failure::UnexpectedResponse,
                reason,
                ..
            }) => {
                return Ok(SourceLookup::Bad(InvalidDefinition {
                    file,
                    line: 1,
                    field: "file".to_owned(),
                    message: reason,
                }));
            }
            Err(error) => return Err(error),
        };
        let mut source = match Source::from_toml(name, &file, &text) {
            Ok(source) => source,
            Err(error) => return Ok(SourceLookup::Bad(error)),
        };
        let misfit = match datasets.latest(&source.dataset).await? {
            Lookup::Found(dataset, _) => {
                source.csv = dataset.csv.clone();
                source.check_dataset(&dataset).err()
            }
            Lookup::Bad(error, _) => Some(error.to_string()),
            Lookup::Unknown => Some(format!("there is no dataset {}", source.dataset)),
        };
        Ok(SourceLookup::Found(Box::new(source), misfit))
    }
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}{SUFFIX}")
}
