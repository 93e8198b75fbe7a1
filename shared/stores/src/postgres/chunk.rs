//! A chunk's rows in a transaction.

use landfall_domain::{ObjectOrder, Row, RowVersion, StoreCounts};
use sqlx::PgConnection;

use super::deletes::Deletes;
use super::destination::Destination;
use super::merge::{Counters, Merge, kept_out};
use super::totals::Totals;
use super::{copy, error, registry, table};
use crate::StoreError;
use crate::registry::Entry;
use crate::schema::Table;

/// Rows on their way into a table.
pub(super) struct Chunk<'a> {
    pub(super) table: &'a Table,
    pub(super) merge: &'a Merge,
    pub(super) deletes: &'a Deletes,
    /// Rows that delete their keys.
    pub(super) deleted: u64,
    pub(super) key: &'a [usize],
    pub(super) order: &'a ObjectOrder,
    pub(super) rows: Vec<&'a Row>,
}

impl Chunk<'_> {
    /// Puts the rows into temporary tables.
    pub(super) async fn stage(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let rows = self.rows.iter().copied();
        let upserts = rows.clone().filter(|row| !row.deleted);
        self.fill(connection, &self.merge.staged, upserts)
            .await
            .map_err(error)?;
        if self.deleted > 0 {
            table::run(connection, self.deletes.stage.as_str()).await?;
            let deletes = rows.filter(|row| row.deleted);
            let put = |out: &mut Vec<u8>, row: &Row, version: &RowVersion| {
                copy::put_key(out, row, self.key, version);
            };
            let staged = &self.deletes.staged;
            staged
                .fill(connection, self.order, deletes, put)
                .await
                .map_err(error)?;
        }
        Ok(())
    }

    /// Puts rows whose keys are new straight into the table.
    pub(super) async fn insert(
        &self,
        connection: &mut PgConnection,
        new: &[&Row],
    ) -> Result<(), StoreError> {
        let rows = new.iter().copied();
        let inserted = self.fill(connection, &self.merge.table, rows).await;
        if inserted.map_err(|error| self.merge.sort(error))? != new.len() as u64 {
            return Err(kept_out());
        }
        Ok(())
    }

    /// Puts whole rows somewhere, and gives how many the server took.
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
        destination.fill(connection, self.order, rows, put).await
    }

    /// Makes the staged rows and deletes take effect, in a dataset that is locked.
    pub(super) async fn settle(
        &self,
        connection: &mut PgConnection,
        entry: &mut Entry,
        counters: &Counters,
    ) -> Result<StoreCounts, StoreError> {
        let mut upserts = self.rows.len() as u64 - self.deleted;
        let mut forbidden = 0;
        if entry.tombstones && upserts > 0 {
            forbidden = self.deletes.drop_forbidden(connection).await?;
            upserts -= forbidden;
        }
        if self.deleted > 0 && !entry.tombstones {
            entry.tombstones = true;
            table::run(connection, self.deletes.create.as_str()).await?;
            registry::save(connection, &self.table.name, entry).await?;
        }
        let totals = Totals::new(self.table, &entry.registered);
        totals
            .prepare(
                connection,
                self.merge,
                (self.deleted > 0).then_some(self.deletes),
            )
            .await?;
        let mut counts = StoreCounts::default();
        if upserts > 0 {
            counts += self.merge.run(connection, upserts, counters).await?;
        }
        counts.stale += forbidden;
        if self.deleted > 0 {
            counts += self.deletes.run(connection, self.deleted).await?;
        }
        totals.settle(connection).await?;
        Ok(counts)
    }
}
