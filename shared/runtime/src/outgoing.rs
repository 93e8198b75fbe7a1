//! What functions need that call HTTP services.

use landfall_aws::{AwsError, Secret};
use landfall_requests::{BadPattern, Policy, Secrets};

use crate::{Environment, SettingError, optional};

/// Why services cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// A variable is invalid.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The list of allowed hosts is invalid.
    #[error(transparent)]
    Hosts(#[from] BadPattern),
    /// The secrets could not be read, or are invalid.
    #[error(transparent)]
    Aws(#[from] AwsError),
}

/// Returns which hosts may be called, from `LANDFALL_SOURCE_HOSTS` and `LANDFALL_SOURCE_PRIVATE_ADDRESSES`.
pub fn policy() -> Result<Policy, OutgoingError> {
    let hosts: Option<String> = optional("LANDFALL_SOURCE_HOSTS")?;
    let private_addresses = optional("LANDFALL_SOURCE_PRIVATE_ADDRESSES")?.unwrap_or(false);
    Ok(Policy::new(&hosts.unwrap_or_default(), private_addresses)?)
}

impl Environment {
    /// Returns the secrets that definitions name, from the secret `LANDFALL_SOURCES_SECRET`.
    pub async fn secrets(&self) -> Result<Secrets, OutgoingError> {
        let Some(id) = optional::<String>("LANDFALL_SOURCES_SECRET")? else {
            return Ok(Secrets::default());
        };
        let secret = Secret::new(self.sdk(), id);
        // The text must not be in the error.
        let text = secret.read().await?;
        let secrets = serde_json::from_str(&text);
        Ok(secrets
            .map_err(|_| secret.invalid_content("it must be a JSON object of names and secrets"))?)
    }
}
