//! From URLs to stores.

use std::sync::Arc;
use std::time::Duration;

use crate::mongodb::Mongodb;
use crate::mysql::Mysql;
use crate::postgres::Postgres;
use crate::sqlite::Sqlite;
use crate::{Store, StoreError};

/// Bounds of a store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// The most connections of this process. `SQLite` has one.
    pub connections: u32,
    /// The longest that one call may take, waits and retries included.
    pub timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            connections: 2,
            timeout: Duration::from_mins(1),
        }
    }
}

/// A store for `postgres://`, `postgresql://`, `mysql://`, `mariadb://` or `sqlite:///absolute/path`.
///
/// Connects when first used; errors of the connection come then.
pub async fn connect_sql(url: &str, options: StoreOptions) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(Postgres::new(url, options)?)),
        Some(("mysql" | "mariadb", _)) => Ok(Arc::new(Mysql::new(url, options)?)),
        Some(("sqlite", path)) => Ok(Arc::new(Sqlite::new(path, options)?)),
        _ => Err(StoreError::Config(
            "the SQL URL must start with postgres://, mysql://, mariadb:// or sqlite:///"
                .to_owned(),
        )),
    }
}

/// A store for a `mongodb://` or `mongodb+srv://` URI; in the database `landfall` where it names none.
///
/// Connects when first used; a `mongodb+srv://` name is looked up here.
pub async fn connect_mongodb(
    uri: &str,
    options: StoreOptions,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(Mongodb::new(uri, options).await?))
}
