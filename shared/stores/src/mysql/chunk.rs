//! Rows of one object on their way into a table.

use landfall_domain::{Dataset, ObjectOrder, Row, StoreCounts, StoreKind};
use sqlx::MySqlConnection;

use super::dialect::Dialect;
use super::keys::Keys;
use super::registry;
use super::totals::{self, Totals};
use super::upsert::Upsert;
use crate::StoreError;
use crate::lanes::Hold;
use crate::registry::{Entry, Registered};
use crate::schema::Table;

/// Rows on their way into a table.
pub(super) struct Chunk<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) table: &'a Table,
    pub(super) dialect: Dialect,
    pub(super) upsert: &'a Upsert,
    /// Rows that delete their keys.
    pub(super) deleted: u64,
    pub(super) order: &'a ObjectOrder,
    pub(super) rows: Vec<&'a Row>,
}

/// What was made for a chunk before its dataset was locked, and what it was made for.
pub(super) struct Staged {
    registered: Registered,
    tombstones: bool,
    totals: Vec<Totals>,
    keys: Option<Keys>,
}

impl Staged {
    /// Whether nobody else writes to what the chunk concerns, where it is so held.
    pub(super) fn is_held_by(&self, hold: Hold) -> bool {
        hold.suffices(&self.registered, self.tombstones)
    }
}

impl Chunk<'_> {
    /// Puts the keys into a temporary table where totals, deletes or tombstones need them.
    pub(super) async fn stage(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<Staged, StoreError> {
        Upsert::start_count(connection).await?;
        let entry = registry::read(connection, &self.table.name).await?;
        let Entry {
            registered,
            tombstones,
            ..
        } = entry.ok_or_else(registry::not_registered)?;
        let totals = Totals::all(self.table, &registered, self.dialect);
        totals::stage(connection, &totals).await?;
        let mut keys = None;
        if !totals.is_empty() || tombstones || self.deleted > 0 {
            let made = Keys::new(self.table, self.dialect);
            made.stage(connection, self.dataset, self.order, &self.rows)
                .await?;
            if self.deleted > 0 && !tombstones {
                made.make_tombstones(connection).await?;
            }
            keys = Some(made);
        }
        Ok(Staged {
            registered,
            tombstones,
            totals,
            keys,
        })
    }

    /// Makes the rows take effect, once no other chunk does that this one has to wait for.
    pub(super) async fn settle(
        &self,
        connection: &mut MySqlConnection,
        staged: &Staged,
        hold: Hold,
    ) -> Result<StoreCounts, StoreError> {
        let mut entry = registry::lock(connection, &self.table.name, hold).await?;
        if entry.has_floor_above(self.order.at(0)) {
            return Ok(StoreCounts {
                stale: self.rows.len() as u64,
                ..StoreCounts::default()
            });
        }
        if entry.registered != staged.registered || entry.tombstones != staged.tombstones {
            return Err(changed());
        }
        let Some(keys) = &staged.keys else {
            return self.upsert.run(connection, self.order, &self.rows).await;
        };
        totals::note_before(connection, &staged.totals, self.table, keys).await?;
        let mut counts = StoreCounts::default();
        let mut is_upsert: Vec<bool> = self.rows.iter().map(|row| !row.deleted).collect();
        if staged.tombstones {
            for row in keys.forbidden(connection).await? {
                is_upsert[row] = false;
                counts.stale += 1;
            }
        }
        if self.deleted > 0 {
            counts += keys.delete(connection, self.deleted).await?;
            if !entry.tombstones {
                entry.tombstones = true;
                registry::save(connection, &self.table.name, &entry).await?;
            }
        }
        let rows = self.rows.iter().zip(&is_upsert);
        let rows: Vec<&Row> = rows.filter(|(_, is)| **is).map(|(row, _)| *row).collect();
        counts += self.upsert.run(connection, self.order, &rows).await?;
        totals::settle(connection, &staged.totals, self.table, keys).await?;
        Ok(counts)
    }
}

/// Another worker registered something in between.
pub(super) fn changed() -> StoreError {
    StoreError::Contended {
        store: StoreKind::Mysql,
        reason: "the dataset's registration changed".to_owned(),
    }
}
