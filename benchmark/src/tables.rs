//! The content of the databases, read with clients of the benchmark's own.

use anyhow::{Context, Result};
use mongodb::bson::{Document, doc};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Executor, MySqlConnection, PgConnection, Row, SqlSafeStr,
};

use crate::data::Content;

/// A database, by its address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Database<'a> {
    Mongodb(&'a str),
    Mysql(&'a str),
    Postgres(&'a str),
    /// Path of the file.
    Sqlite(&'a str),
}

impl<'a> Database<'a> {
    /// Returns the database at an address of a stack.
    pub(crate) fn at(address: &'a str) -> Self {
        if address.starts_with("mongodb") {
            Self::Mongodb(address)
        } else if address.starts_with("mysql") {
            Self::Mysql(address)
        } else if let Some(path) = address.strip_prefix("sqlite://") {
            Self::Sqlite(path)
        } else {
            Self::Postgres(address)
        }
    }

    /// Returns the content of a table or collection of products.
    pub(crate) async fn content(self, table: &str) -> Result<Content> {
        let [rows, name_bytes, description_bytes] = self
            .counts(table)
            .await
            .with_context(|| format!("cannot count the rows of {table}"))?;
        Ok(Content {
            rows: rows.unsigned_abs(),
            name_bytes: name_bytes.unsigned_abs(),
            description_bytes: description_bytes.unsigned_abs(),
        })
    }

    async fn counts(self, table: &str) -> Result<[i64; 3]> {
        let query = |integer: &str| {
            let bytes = |column: &str| {
                format!("CAST(coalesce(sum(octet_length({column})), 0) AS {integer})")
            };
            let (name, description) = (bytes("name"), bytes("description"));
            AssertSqlSafe(format!(
                "SELECT count(*), {name}, {description} FROM {table}"
            ))
        };
        match self {
            Self::Mongodb(uri) => documents(uri, table).await,
            Self::Postgres(url) => {
                let row = postgres(url).await?.fetch_one(query("bigint")).await?;
                Ok([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?])
            }
            Self::Mysql(url) => {
                let row = mysql(url).await?.fetch_one(query("signed")).await?;
                Ok([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?])
            }
            Self::Sqlite(path) => {
                let path = path.to_owned();
                let query = query("integer").into_sql_str();
                tokio::task::spawn_blocking(move || {
                    let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
                    Ok(rusqlite::Connection::open(path)?.query_row(query.as_str(), [], row)?)
                })
                .await?
            }
        }
    }

    /// Drops a table or collection if it exists. If a tool created a schema for it, drops this schema and its staging
    /// schema, in which the tool keeps state about the table.
    pub(crate) async fn remove(self, table: &str) -> Result<()> {
        let statement = match table.split_once('.') {
            None => format!("DROP TABLE IF EXISTS {table}"),
            Some((schema, _)) => {
                format!("DROP SCHEMA IF EXISTS {schema}, {schema}_staging CASCADE")
            }
        };
        self.drop_with(table, statement)
            .await
            .with_context(|| format!("cannot drop {table}"))
    }

    async fn drop_with(self, table: &str, statement: String) -> Result<()> {
        match self {
            Self::Mongodb(uri) => {
                let database = mongodb(uri).await?;
                database.collection::<Document>(table).drop().await?;
            }
            Self::Postgres(url) => {
                postgres(url)
                    .await?
                    .execute(AssertSqlSafe(statement))
                    .await?;
            }
            Self::Mysql(url) => {
                mysql(url).await?.execute(AssertSqlSafe(statement)).await?;
            }
            Self::Sqlite(path) => {
                let path = path.to_owned();
                tokio::task::spawn_blocking(move || {
                    rusqlite::Connection::open(path)?.execute_batch(&statement)
                })
                .await??;
            }
        }
        Ok(())
    }

    /// Returns name and version of the server.
    pub(crate) async fn version(self) -> Result<(String, String)> {
        let (name, version) = match self {
            Self::Mongodb(uri) => {
                let answer = mongodb(uri)
                    .await?
                    .run_command(doc! { "buildInfo": 1 })
                    .await?;
                ("MongoDB", answer.get_str("version")?.to_owned())
            }
            Self::Postgres(url) => {
                let row = postgres(url)
                    .await?
                    .fetch_one("SHOW server_version")
                    .await?;
                ("PostgreSQL", row.try_get(0)?)
            }
            Self::Mysql(url) => (
                "MariaDB",
                mysql(url)
                    .await?
                    .fetch_one("SELECT version()")
                    .await?
                    .try_get(0)?,
            ),
            Self::Sqlite(_) => ("SQLite", rusqlite::version().to_owned()),
        };
        Ok((name.to_owned(), version))
    }
}

/// A connection.
pub(crate) async fn postgres(url: &str) -> Result<PgConnection> {
    let options: PgConnectOptions = url.parse()?;
    options.connect().await.context("cannot reach PostgreSQL")
}

/// A connection.
pub(crate) async fn mysql(url: &str) -> Result<MySqlConnection> {
    let options: MySqlConnectOptions = url.parse()?;
    options.connect().await.context("cannot reach MariaDB")
}

/// Connects to the database of a URI.
pub(crate) async fn mongodb(uri: &str) -> Result<mongodb::Database> {
    // The client connects when it is first used.
    let client = mongodb::Client::with_uri_str(uri)
        .await
        .context("invalid MongoDB URI")?;
    client
        .default_database()
        .context("the MongoDB URI names no database")
}

async fn documents(uri: &str, collection: &str) -> Result<[i64; 3]> {
    let sum = |field: &str| doc! { "$sum": { "$strLenBytes": field } };
    let group = doc! {
        "_id": null,
        "rows": { "$sum": 1_i64 },
        "name": sum("$name"),
        "description": sum("$description"),
    };
    let mut cursor = mongodb(uri)
        .await?
        .collection::<Document>(collection)
        .aggregate([doc! { "$group": group }])
        .await?;
    if !cursor.advance().await? {
        return Ok([0; 3]);
    }
    let found: Document = cursor.deserialize_current()?;
    let number = |name: &str| {
        found
            .get_i64(name)
            .or_else(|_| found.get_i32(name).map(i64::from))
    };
    Ok([number("rows")?, number("name")?, number("description")?])
}
