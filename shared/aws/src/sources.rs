use std::sync::Arc;

use landfall_domain::InvalidDefinition;
use landfall_sources::Source;

use crate::definitions::{DefinitionFile, Definitions};
use crate::{AwsError, Datasets, Lookup, Objects};

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
    definitions: Definitions,
}

impl Sources {
    /// Returns the definitions in this bucket.
    pub fn new(objects: Arc<dyn Objects>, bucket: impl Into<String>) -> Self {
        let definitions = Definitions::new(objects, bucket.into(), "sources/");
        Self { definitions }
    }

    /// Returns the sorted names of the sources that have a definition, those after `after`, at most 1,000.
    pub async fn names(&self, after: Option<&str>) -> Result<Vec<String>, AwsError> {
        self.definitions.names(after).await
    }

    /// Returns the definition of a source, checked with that of its dataset.
    pub async fn lookup(&self, name: &str, datasets: &Datasets) -> Result<SourceLookup, AwsError> {
        let DefinitionFile { file, text } = match self.definitions.read(name).await? {
            None => return Ok(SourceLookup::Unknown),
            Some(Err(error)) => return Ok(SourceLookup::Bad(error)),
            Some(Ok(file)) => file,
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
