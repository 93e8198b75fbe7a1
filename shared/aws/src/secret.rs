use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;

use crate::AwsError;

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
        let answer = self
            .client
            .get_secret_value()
            .secret_id(&self.id)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("GetSecretValue", &self.id, &error))?;
        answer
            .secret_string
            .ok_or_else(|| self.invalid_content("it has no text"))
    }

    /// Replaces its text.
    pub async fn write(&self, text: &str) -> Result<(), AwsError> {
        self.client
            .put_secret_value()
            .secret_id(&self.id)
            .secret_string(text)
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::from_sdk("PutSecretValue", &self.id, &error))
    }

    /// Returns the error of a secret whose text is invalid. The reason must not quote the text.
    pub fn invalid_content(&self, reason: &str) -> AwsError {
        AwsError::InvalidSecret {
            id: self.id.clone(),
            reason: reason.to_owned(),
        }
    }
}
