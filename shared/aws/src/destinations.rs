use std::sync::Arc;

use landfall_destinations::{Destination, Draft};
use landfall_domain::InvalidDefinition;

use crate::definitions::{DefinitionFile, Definitions};
use crate::{AwsError, Datasets, Lookup, Objects};

/// The result of looking up a destination.
#[derive(Clone, Debug)]
pub enum DestinationLookup {
    /// A valid definition.
    Found(Box<Destination>),
    /// A definition with an error, and the name of its dataset, if the definition can be read so far.
    Bad(InvalidDefinition, Option<String>),
    /// There is no definition, or the name is not a valid one.
    Unknown,
}

/// The definitions of destinations in the configuration bucket, at `destinations/<name>.toml`. They are not cached.
pub struct Destinations {
    definitions: Definitions,
}

impl Destinations {
    /// Returns the definitions in this bucket.
    pub fn new(objects: Arc<dyn Objects>, bucket: impl Into<String>) -> Self {
        let definitions = Definitions::new(objects, bucket.into(), "destinations/");
        Self { definitions }
    }

    /// Returns the sorted names of the destinations that have a definition, those after `after`, at most 1,000.
    pub async fn names(&self, after: Option<&str>) -> Result<Vec<String>, AwsError> {
        let listed = self.definitions.list(after).await?;
        Ok(listed.into_iter().map(|(name, _)| name).collect())
    }

    /// Returns the definition of a destination, checked with that of its dataset.
    pub async fn lookup(
        &self,
        name: &str,
        datasets: &Datasets,
    ) -> Result<DestinationLookup, AwsError> {
        let DefinitionFile { file, text } = match self.definitions.read(name).await? {
            None => return Ok(DestinationLookup::Unknown),
            Some(Err(error)) => return Ok(DestinationLookup::Bad(error, None)),
            Some(Ok(file)) => file,
        };
        let draft = match Draft::parse(name, &file, &text) {
            Ok(draft) => draft,
            Err(error) => return Ok(DestinationLookup::Bad(error, None)),
        };
        let checked = match datasets.latest(draft.dataset()).await? {
            Lookup::Found(dataset, _) => draft.check(&dataset),
            Lookup::Bad(error, _) => Err(draft.dataset_error(error.to_string())),
            Lookup::Unknown => Err(draft.dataset_error("there is no dataset of this name")),
        };
        Ok(match checked {
            Ok(destination) => DestinationLookup::Found(Box::new(destination)),
            Err(error) => DestinationLookup::Bad(error, Some(draft.dataset().to_owned())),
        })
    }
}
