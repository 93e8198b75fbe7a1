use std::fmt;

use aws_config::SdkConfig;
use serde::Deserialize;

use crate::{AwsError, Secret};

/// Addresses of the databases, as the stores' secret has them. At least one is there.
#[derive(Clone, Deserialize)]
pub struct StoreAddresses {
    /// MongoDB, as a connection string with its database as path.
    pub mongodb_uri: Option<String>,
    /// The SQL database, as a URL.
    pub sql_url: Option<String>,
}

impl StoreAddresses {
    /// Reads the secret: JSON with `mongodb_uri` and `sql_url`, of which one may be missing or empty.
    pub async fn load(config: &SdkConfig, secret: &str) -> Result<Self, AwsError> {
        let secret = Secret::new(config, secret);
        let text = secret.read().await?;
        // The reason leaves out the text, and serde_json's position alone says nothing of it.
        Self::parse(&text)
            .ok_or_else(|| secret.wrong(r#"it must be JSON with "mongodb_uri", "sql_url" or both"#))
    }

    fn parse(text: &str) -> Option<Self> {
        let given = |address: Option<String>| address.filter(|address| !address.is_empty());
        let read: Self = serde_json::from_str(text).ok()?;
        let addresses = Self {
            mongodb_uri: given(read.mongodb_uri),
            sql_url: given(read.sql_url),
        };
        (addresses.mongodb_uri.is_some() || addresses.sql_url.is_some()).then_some(addresses)
    }
}

impl fmt::Debug for StoreAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreAddresses(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_needed() {
        let both = r#"{"mongodb_uri":"mongodb://h/d","sql_url":"sqlite:///f"}"#;
        assert!(StoreAddresses::parse(both).is_some());
        let one = StoreAddresses::parse(r#"{"mongodb_uri":"","sql_url":"sqlite:///f"}"#).unwrap();
        assert_eq!(one.mongodb_uri, None);
        assert!(StoreAddresses::parse("{}").is_none());
        assert!(StoreAddresses::parse("mongodb://h/d").is_none());
    }

    #[test]
    fn passwords_stay_out_of_logs() {
        let addresses = StoreAddresses::parse(r#"{"sql_url":"postgres://u:hidden@h/d"}"#).unwrap();
        assert!(!format!("{addresses:?}").contains("hidden"));
    }
}
