//! Connections, and statements without values.

use std::time::Duration;

use landfall_domain::StoreKind;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, Row as _};

use crate::error::{Result, StoreError};
use crate::registry::unsigned;
use crate::sql::error::from_sqlx;
use crate::sql::tls::must_verify;

pub(super) const STORE: StoreKind = StoreKind::Postgres;

pub(super) fn error(error: sqlx::Error) -> StoreError {
    from_sqlx(STORE, error)
}

/// Returns a pool that connects when first used, and starts each connection with the `session` statements.
pub(super) fn pool(
    url: &str,
    application: &str,
    connections: u32,
    acquire_timeout: Duration,
    session: String,
) -> Result<PgPool> {
    let mut options: PgConnectOptions = url.parse().map_err(|_| {
        StoreError::Config(
            "the PostgreSQL URL cannot be parsed: use postgres://user:password@host/database and \
             percent-encode special characters"
                .to_owned(),
        )
    })?;
    if must_verify(url, options.get_host(), options.get_socket().is_some()) {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    let options = options
        .application_name(application)
        .disable_statement_logging();
    Ok(PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(acquire_timeout)
        .after_connect(move |connection, _| {
            let session = sqlx::raw_sql(AssertSqlSafe(session.clone()));
            Box::pin(async move { connection.execute(session).await.map(drop) })
        })
        .connect_lazy_with(options))
}

/// Runs statements, and returns the number of rows that they touched.
pub(super) async fn run(
    connection: &mut PgConnection,
    statements: impl Into<String>,
) -> Result<u64> {
    // Unprepared: a plan made for an empty table would stay otherwise.
    let done = sqlx::raw_sql(AssertSqlSafe(statements.into()))
        .execute(connection)
        .await
        .map_err(error)?;
    Ok(done.rows_affected())
}

/// Runs a statement that returns one row of counts.
pub(super) async fn count<const N: usize>(
    connection: &mut PgConnection,
    statement: impl Into<String>,
) -> Result<[u64; N]> {
    let row = sqlx::raw_sql(AssertSqlSafe(statement.into()))
        .fetch_one(connection)
        .await
        .map_err(error)?;
    let mut counts = [0; N];
    for (index, count) in counts.iter_mut().enumerate() {
        *count = unsigned(STORE, row.try_get(index).map_err(error)?)?;
    }
    Ok(counts)
}
