//! `PostgreSQL`'s floors: binary `COPY`, over one connection unless stated otherwise.

use std::cell::RefCell;
use std::time::Instant;

use anyhow::Result;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::timed;
use crate::data::{Rows, Sample};
use crate::result::Run;
use crate::tables::{Database, postgres};

pub(crate) const RAW: (&str, &str) = (
    "RAW COPY",
    "COPY of all rows into a table without an index, in one transaction",
);
pub(crate) const KEYED: (&str, &str) = (
    "sorted COPY into a keyed table",
    "the last row of each key, sorted by key, COPY into a table with a primary key",
);
pub(crate) const BY_CHUNK: (&str, &str) = (
    "COPY by chunk into a keyed table",
    "the last row of each key, in chunks of 100,000 rows of the file, each sorted by key, COPY into a table with \
     a primary key, a transaction each, by two clients at once",
);
pub(crate) const REBUILD: (&str, &str) = (
    "rebuild and swap",
    "the last row of each key, sorted, COPY into a new keyed table, drop of the old one, rename",
);
pub(crate) const REBUILD_KEY_LAST: (&str, &str) = (
    "rebuild and swap, key last",
    "the same, with the primary key made after the COPY",
);
pub(crate) const MERGE_FIRST: (&str, &str) = (
    "COPY + MERGE, first load",
    "the last row of each key, sorted, COPY of the whole file into a temporary table, one MERGE",
);
pub(crate) const MERGE_CHANGED: (&str, &str) = ("COPY + MERGE, all changed", MERGE_FIRST.1);

const COLUMNS: &str = "(sku text, name text, description text)";
pub(crate) const KEYED_COLUMNS: &str = "(sku text PRIMARY KEY, name text, description text)";
/// The table that `keyed` and `by_chunk` fill and `rebuild` swaps.
const LIVE: &str = "floor_live";
const SEND_BYTES: usize = 256 << 10;
const ROWS_OF_A_CHUNK: usize = 100_000;

/// Copies all rows into a table without an index.
pub(crate) async fn raw(url: &str, sample: &Sample) -> Result<Run> {
    const TABLE: &str = "floor_raw";
    let mut connection = fresh(url).await?;
    connection
        .execute(AssertSqlSafe(format!("CREATE TABLE {TABLE} {COLUMNS}")))
        .await?;
    let run = timed(async {
        let rows = Rows::read(&sample.clean)?;
        let prepared = Instant::now();
        copy(&mut connection, TABLE, &rows, 0..rows.len()).await?;
        Ok(Some(prepared))
    })
    .await?;
    let database = Database::Postgres(url);
    sample
        .unkeyed
        .check(database.content(TABLE).await?, TABLE)?;
    database.remove(TABLE).await?;
    Ok(run)
}

/// Copies the last row of each key, sorted, into a keyed table.
pub(crate) async fn keyed(url: &str, sample: &Sample) -> Result<Run> {
    let mut connection = keyed_table(url, LIVE).await?;
    let run = timed(async {
        let rows = Rows::read(&sample.clean)?;
        let sorted = rows.last_of_each_key();
        let prepared = Instant::now();
        copy(&mut connection, LIVE, &rows, sorted).await?;
        Ok(Some(prepared))
    })
    .await?;
    let database = Database::Postgres(url);
    sample.keyed.check(database.content(LIVE).await?, LIVE)?;
    Ok(run)
}

/// Does the same chunk by chunk, as for rows that arrive over time and cannot be sorted as a whole.
pub(crate) async fn by_chunk(url: &str, sample: &Sample) -> Result<Run> {
    let mut clients = (keyed_table(url, LIVE).await?, postgres(url).await?);
    let run = timed(async {
        let rows = Rows::read(&sample.clean)?;
        let mut chunks = vec![Vec::new(); rows.len().div_ceil(ROWS_OF_A_CHUNK)];
        for index in rows.last_of_each_key() {
            chunks[index / ROWS_OF_A_CHUNK].push(index);
        }
        let prepared = Instant::now();
        let chunks = RefCell::new(chunks.into_iter());
        let next = || chunks.borrow_mut().next();
        let copy_all = async |client: &mut PgConnection| {
            while let Some(chunk) = next() {
                copy(client, LIVE, &rows, chunk).await?;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(copy_all(&mut clients.0), copy_all(&mut clients.1))?;
        Ok(Some(prepared))
    })
    .await?;
    let database = Database::Postgres(url);
    sample.keyed.check(database.content(LIVE).await?, LIVE)?;
    database.remove(LIVE).await?;
    Ok(run)
}

/// Builds a new table and swaps it for the one that [`keyed`] left.
pub(crate) async fn rebuild(url: &str, sample: &Sample, key_last: bool) -> Result<Run> {
    let (columns, key) = if key_last {
        (COLUMNS, "ALTER TABLE floor_new ADD PRIMARY KEY (sku)")
    } else {
        (KEYED_COLUMNS, "")
    };
    let mut connection = fresh(url).await?;
    let run = timed(async {
        let rows = Rows::read(&sample.clean)?;
        let sorted = rows.last_of_each_key();
        let prepared = Instant::now();
        let mut transaction = connection.begin().await?;
        transaction
            .execute(AssertSqlSafe(format!("CREATE TABLE floor_new {columns}")))
            .await?;
        copy(&mut transaction, "floor_new", &rows, sorted).await?;
        transaction
            .execute(sqlx::raw_sql(AssertSqlSafe(format!(
                "{key}; DROP TABLE {LIVE}; \
                 ALTER TABLE floor_new RENAME TO {LIVE}; \
                 ALTER INDEX floor_new_pkey RENAME TO {LIVE}_pkey"
            ))))
            .await?;
        transaction.commit().await?;
        Ok(Some(prepared))
    })
    .await?;
    let database = Database::Postgres(url);
    sample.keyed.check(database.content(LIVE).await?, LIVE)?;
    Ok(run)
}

/// Loads two files, one after the other, each as a whole through a temporary table.
pub(crate) async fn merge(url: &str, first: &Sample, changed: &Sample) -> Result<[Run; 2]> {
    const TABLE: &str = "floor_merge";
    let database = Database::Postgres(url);
    keyed_table(url, TABLE).await?.close().await?;
    let mut runs = [Run::default(), Run::default()];
    for (sample, run) in [first, changed].into_iter().zip(&mut runs) {
        let mut connection = fresh(url).await?;
        *run = timed(async {
            let rows = Rows::read(&sample.clean)?;
            let sorted = rows.last_of_each_key();
            let prepared = Instant::now();
            let mut transaction = connection.begin().await?;
            transaction
                .execute(AssertSqlSafe(format!(
                    "CREATE TEMPORARY TABLE staged {COLUMNS} ON COMMIT DROP"
                )))
                .await?;
            copy(&mut transaction, "staged", &rows, sorted).await?;
            transaction
                .execute(AssertSqlSafe(format!(
                    "MERGE INTO {TABLE} t USING staged s ON t.sku = s.sku \
                     WHEN MATCHED THEN UPDATE SET name = s.name, description = s.description \
                     WHEN NOT MATCHED THEN INSERT VALUES (s.sku, s.name, s.description)"
                )))
                .await?;
            transaction.commit().await?;
            Ok(Some(prepared))
        })
        .await?;
        sample.keyed.check(database.content(TABLE).await?, TABLE)?;
    }
    database.remove(TABLE).await?;
    Ok(runs)
}

/// Returns a connection and creates an empty keyed table.
async fn keyed_table(url: &str, name: &str) -> Result<PgConnection> {
    Database::Postgres(url).remove(name).await?;
    let mut connection = fresh(url).await?;
    connection
        .execute(AssertSqlSafe(format!(
            "CREATE TABLE {name} {KEYED_COLUMNS}"
        )))
        .await?;
    Ok(connection)
}

/// Returns a connection once earlier writes are on disk.
async fn fresh(url: &str) -> Result<PgConnection> {
    let mut connection = postgres(url).await?;
    connection.execute("CHECKPOINT").await?;
    Ok(connection)
}

async fn copy(
    connection: &mut PgConnection,
    table: &str,
    rows: &Rows,
    indexes: impl IntoIterator<Item = usize>,
) -> Result<()> {
    let mut copy = connection
        .copy_in_raw(&format!("COPY {table} FROM STDIN (FORMAT binary)"))
        .await?;
    let mut buffer = Vec::with_capacity(SEND_BYTES + (1 << 20));
    // Signature, flags, length of the extension.
    buffer.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for index in indexes {
        buffer.extend_from_slice(&3_i16.to_be_bytes());
        for cell in rows.get(index) {
            buffer.extend_from_slice(&i32::try_from(cell.len())?.to_be_bytes());
            buffer.extend_from_slice(cell.as_bytes());
        }
        if buffer.len() >= SEND_BYTES {
            copy.send(buffer.as_slice()).await?;
            buffer.clear();
        }
    }
    buffer.extend_from_slice(&[0xff, 0xff]);
    copy.send(buffer.as_slice()).await?;
    copy.finish().await?;
    Ok(())
}
