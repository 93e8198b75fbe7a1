//! A chunk's rows on their way into temporary tables, or straight into the dataset's.

use std::time::Duration;

use landfall_domain::{Row, RowVersion};
use sqlx::PgConnection;

use super::changes::Changes;
use super::copy;
use super::deletes::Deletes;
use super::destination::Destination;
use super::keys::Keys;
use super::merge::{Merge, rows_suppressed};
use super::statement::{error, run};
use crate::changes::now;
use crate::error::Result;
use crate::schema::Table;
use crate::sql;

pub(super) type Chunk<'a> = sql::Chunk<'a, Statements>;

pub(crate) struct Statements {
    pub(super) merge: Merge,
    pub(super) deletes: Deletes,
    pub(super) keys: Keys,
    pub(super) changes: Changes,
}

impl Statements {
    pub(super) fn new(table: &Table, timeout: Duration) -> Self {
        let merge = Merge::new(table, timeout);
        Self {
            deletes: Deletes::new(table, &merge.staged.table),
            keys: Keys::new(table),
            changes: Changes::new(table, &merge.staged.table),
            merge,
        }
    }
}

impl Chunk<'_> {
    pub(super) async fn stage(&self, connection: &mut PgConnection) -> Result<()> {
        let merge = &self.statements.merge;
        let rows = self.rows.iter().copied();
        let upserts = rows.clone().filter(|row| !row.deleted);
        self.fill(connection, &merge.staged, upserts)
            .await
            .map_err(error)?;
        self.stage_deletes(connection).await
    }

    /// Stages the keys that rows delete.
    pub(super) async fn stage_deletes(&self, connection: &mut PgConnection) -> Result<()> {
        if self.deletes == 0 {
            return Ok(());
        }
        let deletes = &self.statements.deletes;
        run(connection, deletes.stage.as_str()).await?;
        let rows = self.rows.iter().copied().filter(|row| row.deleted);
        let put = |out: &mut Vec<u8>, row: &Row, version: &RowVersion| {
            copy::put_key(out, row, self.key, version);
        };
        let filled = deletes
            .staged
            .fill(connection, self.versions, rows, put)
            .await;
        filled.map(drop).map_err(error)
    }

    /// Copies rows whose keys are new straight into the table.
    pub(super) async fn insert(&self, connection: &mut PgConnection, new: &[&Row]) -> Result<()> {
        let merge = &self.statements.merge;
        let inserted = self.fill(connection, &merge.table, new.iter().copied());
        if inserted.await.map_err(|error| merge.classify(error))? != new.len() as u64 {
            return Err(rows_suppressed());
        }
        Ok(())
    }

    /// Records that keys have changed.
    pub(super) async fn record(&self, connection: &mut PgConnection, new: &[&Row]) -> Result<()> {
        let at = now();
        let put = |out: &mut Vec<u8>, row: &Row, version: &RowVersion| {
            copy::put_change(out, row, self.key, version, at);
        };
        let entries = &self.statements.changes.entries;
        let rows = new.iter().copied();
        let filled = entries.fill(connection, self.versions, rows, put).await;
        filled.map(drop).map_err(error)
    }

    /// Copies whole rows into a table, and returns how many the server took.
    async fn fill<'r>(
        &self,
        connection: &mut PgConnection,
        destination: &Destination,
        rows: impl Iterator<Item = &'r Row>,
    ) -> Result<u64, sqlx::Error> {
        let has_extra = self.table.has_extra();
        let put = |out: &mut Vec<u8>, row: &Row, version: &RowVersion| {
            copy::put_row(out, row, has_extra, version);
        };
        destination.fill(connection, self.versions, rows, put).await
    }
}
