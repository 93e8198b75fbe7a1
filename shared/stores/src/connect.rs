//! Opens stores and readers by URL.

use std::sync::Arc;

use crate::changes::{ChangeReader, ChangeStore};
use crate::error::StoreError;
use crate::mongodb::{Mongodb, ReadMongodb};
use crate::mysql::{Mysql, ReadMysql};
use crate::postgres::{Postgres, ReadPostgres};
use crate::read::sql::SqlReader;
use crate::read::{ReadOptions, Reader};
use crate::sqlite::{ReadSqlite, Sqlite};
use crate::store::{BoundedStore, Store, StoreOptions};

/// An SQL database, with what its own crate connects to.
enum Sql<'u> {
    Postgres(&'u str),
    Mysql(&'u str),
    Sqlite(&'u str),
}

impl<'u> Sql<'u> {
    fn parse(url: &'u str) -> Result<Self, StoreError> {
        match url.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(url)),
            Some(("mysql" | "mariadb", _)) => Ok(Self::Mysql(url)),
            Some(("sqlite", path)) => Ok(Self::Sqlite(path)),
            _ => Err(StoreError::Config(
                "the SQL URL must start with postgres://, mysql://, mariadb:// or sqlite:///"
                    .to_owned(),
            )),
        }
    }
}

/// Returns a store for `postgres://`, `postgresql://`, `mysql://`, `mariadb://` or `sqlite:///absolute/path`.
///
/// The stack `owner` becomes the owner of datasets without one, and the store refuses those of other stacks. `None`
/// checks nothing.
///
/// The first call connects, and returns connection errors. A server on another machine must have a valid certificate
/// for its name, unless the URL has an `sslmode`.
pub async fn connect_sql(
    url: &str,
    options: StoreOptions,
    owner: Option<&str>,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match Sql::parse(url)? {
        Sql::Postgres(url) => Arc::new(BoundedStore::new(
            Postgres::new(url, options)?,
            options,
            owner,
        )),
        Sql::Mysql(url) => Arc::new(BoundedStore::new(Mysql::new(url, options)?, options, owner)),
        Sql::Sqlite(path) => Arc::new(BoundedStore::new(
            Sqlite::new(path, options)?,
            options,
            owner,
        )),
    })
}

/// Returns a reader for `postgres://`, `postgresql://`, `mysql://`, `mariadb://` or `sqlite:///absolute/path`.
///
/// The first call connects, and returns connection errors. Certificates are verified as for a store.
pub async fn read_sql(url: &str, options: ReadOptions) -> Result<Arc<dyn Reader>, StoreError> {
    Ok(match Sql::parse(url)? {
        Sql::Postgres(url) => Arc::new(SqlReader::new(ReadPostgres::new(url, options)?, options)),
        Sql::Mysql(url) => Arc::new(SqlReader::new(ReadMysql::new(url, options)?, options)),
        Sql::Sqlite(path) => Arc::new(SqlReader::new(ReadSqlite::new(path, options)?, options)),
    })
}

/// Returns a store for a `mongodb://` or `mongodb+srv://` URI, in the database `landfall` if the URI names none.
///
/// `owner` is as for an SQL store. The first call of the store connects. A `mongodb+srv://` name is resolved here.
pub async fn connect_mongodb(
    uri: &str,
    options: StoreOptions,
    owner: Option<&str>,
) -> Result<Arc<dyn Store>, StoreError> {
    let mongodb = Mongodb::new(uri, options).await?;
    Ok(Arc::new(BoundedStore::new(mongodb, options, owner)))
}

/// Returns a reader for a `mongodb://` or `mongodb+srv://` URI, of the database `landfall` if the URI names none.
///
/// The first call of the reader connects. A `mongodb+srv://` name is resolved here.
pub async fn read_mongodb(uri: &str, options: ReadOptions) -> Result<Arc<dyn Reader>, StoreError> {
    Ok(Arc::new(ReadMongodb::new(uri, options).await?))
}

/// Returns the store that records changes for destinations: the SQL database if there is one, else `MongoDB`.
///
/// Only one of two stores records them, so that a service receives each change once. The rest is as for a store.
pub async fn connect_changes(
    mongodb_uri: Option<&str>,
    sql_url: Option<&str>,
    options: StoreOptions,
    owner: Option<&str>,
) -> Result<Arc<dyn ChangeStore>, StoreError> {
    let Some(url) = sql_url else {
        let uri =
            mongodb_uri.ok_or_else(|| StoreError::Config("there is no database".to_owned()))?;
        let mongodb = Mongodb::new(uri, options).await?;
        return Ok(Arc::new(BoundedStore::new(mongodb, options, owner)));
    };
    Ok(match Sql::parse(url)? {
        Sql::Postgres(url) => Arc::new(BoundedStore::new(
            Postgres::new(url, options)?,
            options,
            owner,
        )),
        Sql::Mysql(url) => Arc::new(BoundedStore::new(Mysql::new(url, options)?, options, owner)),
        Sql::Sqlite(path) => Arc::new(BoundedStore::new(
            Sqlite::new(path, options)?,
            options,
            owner,
        )),
    })
}

/// Returns a reader of what the store of [`connect_changes`] has recorded.
///
/// The first call connects, and returns connection errors.
pub async fn read_changes(
    mongodb_uri: Option<&str>,
    sql_url: Option<&str>,
    options: ReadOptions,
) -> Result<Arc<dyn ChangeReader>, StoreError> {
    let Some(url) = sql_url else {
        let uri =
            mongodb_uri.ok_or_else(|| StoreError::Config("there is no database".to_owned()))?;
        return Ok(Arc::new(ReadMongodb::new(uri, options).await?));
    };
    Ok(match Sql::parse(url)? {
        Sql::Postgres(url) => Arc::new(SqlReader::new(ReadPostgres::new(url, options)?, options)),
        Sql::Mysql(url) => Arc::new(SqlReader::new(ReadMysql::new(url, options)?, options)),
        Sql::Sqlite(path) => Arc::new(SqlReader::new(ReadSqlite::new(path, options)?, options)),
    })
}
