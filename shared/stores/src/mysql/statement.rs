//! Connections, and statements without values.

use std::time::Duration;

use landfall_domain::StoreKind;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, MySqlConnection};
use tokio::sync::OnceCell;

use super::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::sql::error::from_sqlx;
use crate::sql::tls::must_verify;

pub(super) const STORE: StoreKind = StoreKind::Mysql;

const URL_FORM: &str =
    "use mysql://user:password@host/database and percent-encode special characters";

pub(super) fn error(error: sqlx::Error) -> StoreError {
    from_sqlx(STORE, error)
}

pub(super) fn unavailable(reason: &str) -> StoreError {
    StoreError::unavailable(STORE, reason)
}

pub(super) struct Server {
    pub(super) pool: MySqlPool,
    dialect: OnceCell<Dialect>,
}

impl Server {
    /// Connects when first used, and starts each connection with the `session` statements.
    pub(super) fn new(
        url: &str,
        connections: u32,
        acquire_timeout: Duration,
        session: String,
    ) -> Result<Self> {
        let wrong = |what: &str| StoreError::Config(format!("the MySQL URL {what}: {URL_FORM}"));
        let mut options: MySqlConnectOptions =
            url.parse().map_err(|_| wrong("cannot be parsed"))?;
        if options.get_database().is_none() {
            return Err(wrong("names no database"));
        }
        if must_verify(url, options.get_host(), options.get_socket().is_some()) {
            options = options.ssl_mode(MySqlSslMode::VerifyIdentity);
        }
        let pool = MySqlPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(acquire_timeout)
            .after_connect(move |connection, _| {
                let session = sqlx::raw_sql(AssertSqlSafe(session.clone()));
                Box::pin(async move { connection.execute(session).await.map(drop) })
            })
            .connect_lazy_with(options.disable_statement_logging());
        Ok(Self {
            pool,
            dialect: OnceCell::new(),
        })
    }

    /// Returns the dialect of the server. The first call queries it.
    pub(super) async fn dialect(&self) -> Result<Dialect, sqlx::Error> {
        let query = || async {
            let version = sqlx::query_scalar("SELECT VERSION()");
            let version: String = version.fetch_one(&self.pool).await?;
            Ok(Dialect::of_version(&version))
        };
        self.dialect.get_or_try_init(query).await.copied()
    }
}

/// Runs statements, and returns the number of rows that the last one wrote.
pub(super) async fn run(connection: &mut MySqlConnection, statements: &str) -> Result<u64> {
    let done = connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statements)))
        .await;
    Ok(done.map_err(error)?.rows_affected())
}
