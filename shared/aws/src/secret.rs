use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;

use crate::AwsError;

/// Staging label of the version in effect.
const CURRENT: &str = "AWSCURRENT";
/// Staging label of a version that is about to replace the current one.
const NEXT: &str = "LANDFALL_NEXT";

/// A secret in Secrets Manager.
#[derive(Clone, Debug)]
pub struct Secret {
    client: Client,
    id: String,
}

impl Secret {
    /// Returns the secret with this name or ARN.
    pub fn new(config: &SdkConfig, id: impl Into<String>) -> Self {
        Self {
            client: Client::new(config),
            id: id.into(),
        }
    }

    /// Reads its text.
    pub async fn read(&self) -> Result<String, AwsError> {
        Ok(self.read_version().await?.0)
    }

    /// Reads its text and the id of its version.
    pub async fn read_version(&self) -> Result<(String, String), AwsError> {
        let answer = self
            .client
            .get_secret_value()
            .secret_id(&self.id)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("GetSecretValue", &self.id, &error))?;
        let text = answer
            .secret_string
            .ok_or_else(|| self.invalid_content("it has no text"))?;
        let no_version = || self.unexpected("GetSecretValue", "it has no version id");
        Ok((text, answer.version_id.ok_or_else(no_version)?))
    }

    /// Replaces its text if this version is still the current one. Returns whether it was.
    pub async fn replace(&self, version: &str, text: &str) -> Result<bool, AwsError> {
        let answer = self
            .client
            .put_secret_value()
            .secret_id(&self.id)
            .secret_string(text)
            .version_stages(NEXT)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("PutSecretValue", &self.id, &error))?;
        let no_version = || self.unexpected("PutSecretValue", "it has no version id");
        let next = answer.version_id.ok_or_else(no_version)?;
        // Fails if another version has become the current one.
        let moved = self
            .client
            .update_secret_version_stage()
            .secret_id(&self.id)
            .version_stage(CURRENT)
            .remove_from_version_id(version)
            .move_to_version_id(next)
            .send()
            .await;
        let Err(error) = moved else {
            return Ok(true);
        };
        let error = AwsError::from_sdk("UpdateSecretVersionStage", &self.id, &error);
        // No error code says that the version has changed.
        if error.retryable() || self.read_version().await?.1 == version {
            return Err(error);
        }
        Ok(false)
    }

    fn unexpected(&self, operation: &'static str, reason: &str) -> AwsError {
        AwsError::unexpected_response(operation, &self.id, reason)
    }

    /// Returns the error of a secret whose text is invalid. The reason must not quote the text.
    pub fn invalid_content(&self, reason: &str) -> AwsError {
        AwsError::InvalidSecret {
            id: self.id.clone(),
            reason: reason.to_owned(),
        }
    }
}
