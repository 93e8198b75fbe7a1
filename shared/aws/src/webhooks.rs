use std::sync::Arc;

use landfall_destinations::Webhook;
use landfall_domain::InvalidDefinition;

use crate::datasets::PREFIX;
use crate::definitions::{DefinitionFile, Definitions};
use crate::{AwsError, Objects};

/// The name of the file with the webhooks of the installation, without its ending.
const INSTALLATION: &str = "notify";

/// The webhooks that are notified of the jobs of a dataset.
#[derive(Clone, Debug, Default)]
pub struct FoundWebhooks {
    /// Those of the dataset, then those of the installation, each URL once.
    pub webhooks: Vec<Webhook>,
    /// The error of a file whose webhooks are missing.
    pub error: Option<InvalidDefinition>,
}

/// The webhooks in the configuration bucket: of the installation, in `notify.toml`, and of a dataset, in its
/// definition. They are not cached.
pub struct Webhooks {
    installation: Definitions,
    datasets: Definitions,
}

impl Webhooks {
    /// Returns the webhooks in this bucket.
    pub fn new(objects: Arc<dyn Objects>, bucket: impl Into<String>) -> Self {
        let bucket = bucket.into();
        Self {
            installation: Definitions::new(Arc::clone(&objects), bucket.clone(), ""),
            datasets: Definitions::new(objects, bucket, PREFIX),
        }
    }

    /// Returns the webhooks that are notified of the jobs of a dataset. A job may have none.
    pub async fn of(&self, dataset: Option<&str>) -> Result<FoundWebhooks, AwsError> {
        let of_dataset = match dataset {
            Some(name) => self.datasets.read(name).await?,
            None => None,
        };
        let of_installation = self.installation.read(INSTALLATION).await?;
        let parse =
            |read: Option<Result<DefinitionFile, InvalidDefinition>>,
             parse: fn(&str, &str) -> Result<Vec<Webhook>, InvalidDefinition>| {
                read.map_or_else(
                    || Ok(Vec::new()),
                    |file| file.and_then(|file| parse(&file.file, &file.text)),
                )
            };
        let mut found = FoundWebhooks::default();
        for parsed in [
            parse(of_dataset, Webhook::of_dataset),
            parse(of_installation, Webhook::of_installation),
        ] {
            match parsed {
                Ok(webhooks) => {
                    for webhook in webhooks {
                        let mut known = found.webhooks.iter();
                        if !known.any(|known| known.url() == webhook.url()) {
                            found.webhooks.push(webhook);
                        }
                    }
                }
                Err(error) => found.error = found.error.or(Some(error)),
            }
        }
        Ok(found)
    }
}
