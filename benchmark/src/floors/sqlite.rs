//! `SQLite`'s floor: prepared inserts in one transaction.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::timed;
use crate::data::{Rows, Sample};
use crate::result::Run;
use crate::tables::Database;

pub(crate) const RAW: (&str, &str) = (
    "prepared INSERT without a key",
    "all rows into a table without a key, one transaction, write-ahead log, synchronous=full, by rusqlite",
);

const TABLE: &str = "floor_raw";

/// Inserts all rows into a table without a key, in a separate file.
pub(crate) async fn raw(directory: &Path, sample: &Sample) -> Result<Run> {
    let directory = tempfile::tempdir_in(directory)?;
    let path = directory.path().join("floor.sqlite");
    let run = timed(async {
        let (path, clean) = (path.clone(), sample.clean.clone());
        tokio::task::spawn_blocking(move || load(&path, &clean).map(Some)).await?
    })
    .await?;
    let path = path.to_str().context("the directory is not UTF-8")?;
    let found = Database::Sqlite(path).content(TABLE).await?;
    sample.unkeyed.check(found, TABLE)?;
    Ok(run)
}

fn load(path: &Path, clean: &Path) -> Result<Instant> {
    let rows = Rows::read(clean)?;
    let prepared = Instant::now();
    let mut connection = rusqlite::Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(&format!(
        "CREATE TABLE {TABLE} (sku TEXT, name TEXT, description TEXT)"
    ))?;
    let mut insert = transaction.prepare(&format!("INSERT INTO {TABLE} VALUES (?, ?, ?)"))?;
    for index in 0..rows.len() {
        insert.execute(rows.get(index))?;
    }
    drop(insert);
    transaction.commit()?;
    Ok(prepared)
}
