//! Staged keys and updates of a chunk that is merged by column.
//!
//! The updates are staged like rows, with a mask of the columns that keep their stored values, which the merge and the
//! totals look at.

use std::cell::Cell;

use futures::TryStreamExt as _;
use landfall_domain::{Row, RowVersion, StoredKey};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::chunk::Chunk;
use super::copy;
use super::statement::{STORE, error, run};
use crate::columns::{Columns, Plan};
use crate::error::{Result, StoreError};

impl Chunk<'_> {
    pub(super) async fn stage_keys(&self, connection: &mut PgConnection) -> Result<()> {
        let (keys, key) = (&self.statements.keys, self.key);
        run(connection, keys.stage.as_str()).await?;
        let next = Cell::new(0);
        let put = move |out: &mut Vec<u8>, row: &Row, _: &RowVersion| {
            copy::put_numbered_key(out, next.replace(next.get() + 1), row, key);
        };
        let rows = self.rows.iter().copied();
        let filled = keys.staged.fill(connection, self.versions, rows, put).await;
        filled.map(drop).map_err(error)
    }

    /// Returns what is stored for the key of each row.
    pub(super) async fn stored_keys(
        &self,
        connection: &mut PgConnection,
        has_tombstones: bool,
    ) -> Result<Vec<StoredKey>> {
        let keys = &self.statements.keys;
        let select = if has_tombstones {
            &keys.stored_or_deleted
        } else {
            &keys.stored
        };
        let mut stored = vec![StoredKey::default(); self.rows.len()];
        let select = sqlx::query(AssertSqlSafe(select.as_str())).persistent(false);
        let mut found = select.fetch(connection);
        while let Some(row) = found.try_next().await.map_err(error)? {
            let number: i32 = row.try_get(0).map_err(error)?;
            let place = usize::try_from(number).ok();
            let place = place.and_then(|place| stored.get_mut(place));
            let place = place.ok_or_else(|| StoreError::unavailable(STORE, "an unknown key"))?;
            let version: Option<Vec<u8>> = row.try_get(1).map_err(error)?;
            let versions = row.try_get(2).map_err(error)?;
            *place = StoredKey {
                row: version.map(|version| (version, versions)),
                tombstone: row.try_get(3).map_err(error)?,
            };
        }
        Ok(stored)
    }

    pub(super) async fn stage_updates(
        &self,
        connection: &mut PgConnection,
        columns: &Columns,
        plan: &Plan<'_>,
    ) -> Result<()> {
        // In the order of the table, not in that of the key.
        let fields = 0..self.dataset.fields.len();
        let key: Vec<usize> = fields.filter(|field| self.key.contains(field)).collect();
        let (updates, key, next) = (plan.updates.as_slice(), key.as_slice(), Cell::new(0));
        let put = move |out: &mut Vec<u8>, _: &Row, _: &RowVersion| {
            let planned = &updates[next.replace(next.get() + 1)];
            copy::put_planned(out, planned, key, columns);
        };
        let staged = &self.statements.merge.staged;
        let rows = plan.updates.iter().map(|planned| planned.row);
        let filled = staged.fill(connection, self.versions, rows, put).await;
        filled.map_err(error)?;
        self.stage_deletes(connection).await
    }
}
