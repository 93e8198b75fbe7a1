use std::sync::Arc;

use landfall_aws::{AwsError, Secret};
use landfall_stores::{
    ChangeReader, ChangeStore, ReadOptions, Reader, Store, StoreError, StoreOptions,
    connect_changes, connect_mongodb, connect_sql, read_changes, read_mongodb, read_sql,
};
use serde::Deserialize;

use crate::{Environment, SettingError, optional, required};

/// Where the bundle of `LANDFALL_DATABASE_CA` is stored, for the addresses of the databases to refer to.
const CA_FILE: &str = "/tmp/database-ca.pem";
/// The bundle of all regions of RDS has less than a fifth of this.
const CA_BYTES: usize = 1 << 20;

/// Why the databases cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoresError {
    /// The name of the secret is not set.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The secret with their addresses could not be read, or is invalid.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A database could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no bundle of certificate authorities under this key.
    #[error("the configuration bucket has no object {0:?}, the value of DatabaseCa: upload it")]
    MissingCa(String),
    /// The bundle of certificate authorities could not be stored.
    #[error("{CA_FILE} could not be written")]
    CaFile(#[source] std::io::Error),
    /// SQLite works on one machine only.
    #[error(
        "the SQL database is an SQLite file, which functions on AWS do not share: set a postgres:// or mysql:// URL"
    )]
    SqliteOnAws,
}

impl Environment {
    /// Opens the databases in `LANDFALL_STORES_SECRET` for writing, as the owner in `LANDFALL_DATABASE_OWNER`.
    pub async fn stores(&self) -> Result<Vec<Arc<dyn Store>>, StoresError> {
        let owner: String = required("LANDFALL_DATABASE_OWNER")?;
        let owner = Some(owner.as_str());
        let addresses = self.store_addresses().await?;
        let mut stores = Vec::new();
        if let Some(uri) = &addresses.mongodb_uri {
            stores.push(connect_mongodb(uri, StoreOptions::default(), owner).await?);
        }
        if let Some(url) = &addresses.sql_url {
            stores.push(connect_sql(url, StoreOptions::default(), owner).await?);
        }
        Ok(stores)
    }

    /// Opens the database in `LANDFALL_STORES_SECRET` that records changes for destinations, as the owner in
    /// `LANDFALL_DATABASE_OWNER`.
    pub async fn change_store(&self) -> Result<Arc<dyn ChangeStore>, StoresError> {
        let owner: String = required("LANDFALL_DATABASE_OWNER")?;
        let addresses = self.store_addresses().await?;
        let (uri, url) = (
            addresses.mongodb_uri.as_deref(),
            addresses.sql_url.as_deref(),
        );
        Ok(connect_changes(uri, url, StoreOptions::default(), Some(&owner)).await?)
    }

    /// Opens the databases in `LANDFALL_STORES_SECRET` for reading, the SQL database first.
    pub async fn readers(&self) -> Result<Vec<Arc<dyn Reader>>, StoresError> {
        let addresses = self.store_addresses().await?;
        let mut readers = Vec::new();
        if let Some(url) = &addresses.sql_url {
            readers.push(read_sql(url, ReadOptions::default()).await?);
        }
        if let Some(uri) = &addresses.mongodb_uri {
            readers.push(read_mongodb(uri, ReadOptions::default()).await?);
        }
        Ok(readers)
    }

    /// Opens the database in `LANDFALL_STORES_SECRET` that has recorded changes for destinations, for reading.
    pub async fn change_reader(&self) -> Result<Arc<dyn ChangeReader>, StoresError> {
        let addresses = self.store_addresses().await?;
        let (uri, url) = (
            addresses.mongodb_uri.as_deref(),
            addresses.sql_url.as_deref(),
        );
        Ok(read_changes(uri, url, ReadOptions::default()).await?)
    }

    async fn store_addresses(&self) -> Result<StoreAddresses, StoresError> {
        let secret: String = required("LANDFALL_STORES_SECRET")?;
        let secret = Secret::new(self.sdk(), secret);
        // The reason must not quote the secret.
        let addresses = StoreAddresses::parse(&secret.read().await?).ok_or_else(|| {
            secret.invalid_content(r#"it must be JSON with "mongodb_uri", "sql_url" or both"#)
        })?;
        // A file of a Lambda function is private to one instance, and lost with it.
        let is_sqlite = |url: &String| url.starts_with("sqlite:");
        if addresses.sql_url.as_ref().is_some_and(is_sqlite) && !self.is_local() {
            return Err(StoresError::SqliteOnAws);
        }
        self.store_ca().await?;
        Ok(addresses)
    }

    /// Copies the bundle of certificate authorities to [`CA_FILE`], if there is one.
    async fn store_ca(&self) -> Result<(), StoresError> {
        let Some(key) = optional::<String>("LANDFALL_DATABASE_CA")? else {
            return Ok(());
        };
        let bucket: String = required("LANDFALL_CONFIG_BUCKET")?;
        let objects = self.objects();
        let bundle = objects.read_text(&bucket, &key, None, CA_BYTES).await?;
        let Some((bundle, _)) = bundle else {
            return Err(StoresError::MissingCa(key));
        };
        std::fs::write(CA_FILE, bundle).map_err(StoresError::CaFile)
    }
}

/// The addresses of the databases, at least one. They contain passwords, so this does not implement `Debug`.
#[derive(Deserialize)]
struct StoreAddresses {
    /// The connection string of MongoDB, with the database as path.
    mongodb_uri: Option<String>,
    /// The URL of the SQL database.
    sql_url: Option<String>,
}

impl StoreAddresses {
    /// Parses the secret: JSON with `mongodb_uri` and `sql_url`, of which one may be missing or empty.
    fn parse(text: &str) -> Option<Self> {
        let non_empty = |address: Option<String>| address.filter(|address| !address.is_empty());
        let read: Self = serde_json::from_str(text).ok()?;
        let addresses = Self {
            mongodb_uri: non_empty(read.mongodb_uri),
            sql_url: non_empty(read.sql_url),
        };
        (addresses.mongodb_uri.is_some() || addresses.sql_url.is_some()).then_some(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_required() {
        let both = r#"{"mongodb_uri":"mongodb://h/d","sql_url":"sqlite:///f"}"#;
        assert!(StoreAddresses::parse(both).is_some());
        let one = StoreAddresses::parse(r#"{"mongodb_uri":"","sql_url":"sqlite:///f"}"#).unwrap();
        assert_eq!(one.mongodb_uri, None);
        assert!(StoreAddresses::parse("{}").is_none());
        assert!(StoreAddresses::parse("mongodb://h/d").is_none());
    }
}
