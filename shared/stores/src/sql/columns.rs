//! The sequence for rows that are merged by column, in one transaction that holds all lanes:
//!
//! 1. Stage the keys of the chunk, beside other writers.
//! 2. Lock the dataset, and make the same checks as for other chunks.
//! 3. Read the versions of the stored keys. Decide what each row does ([`Plan`]).
//! 4. Stage the values that rows write. Each row has a mask of the columns that keep their stored values.
//! 5. Sum up what changes in totals, write the updates, delete, update totals.
//!
//! No stored value leaves the server. A chunk locks all lanes, because one that is decided must not change.

use landfall_domain::StoreCounts;

use super::database::{Change, Chunk, SqlDatabase, SqlTransaction, outdated, words_outdated};
use super::lanes::LaneLock;
use crate::columns::{Columns, Plan};
use crate::error::Result;
use crate::registry::all_stale;

pub(super) async fn attempt<D: SqlDatabase>(
    database: &D,
    chunk: &Chunk<'_, D::Statements>,
) -> Result<StoreCounts> {
    let name = &chunk.table.name;
    let known = database.entry(name).await?.registered;
    let table = chunk.table.merged(known.merged_columns());
    let chunk = Chunk {
        table: &table,
        statements: &database.statements(&table).await?,
        rows: chunk.rows.clone(),
        ..*chunk
    };
    let mut transaction = database.stage_keys(&chunk).await?;
    let mut entry = transaction.lock(name, LaneLock::All).await?;
    if entry.has_floor_above(chunk.versions.first()) {
        transaction.rollback().await?;
        return Ok(all_stale(chunk.rows.len()));
    }
    if transaction.is_outdated(&entry)
        || entry.registered.merged != known.merged
        || entry.registered.search != known.search
    {
        return Err(outdated::<D>());
    }
    if entry.registered.search != chunk.table.search {
        return Err(words_outdated::<D>());
    }
    let columns = Columns::new(chunk.dataset, &known);
    let stored = transaction.stored_keys(&chunk, &entry).await?;
    let rows = chunk.rows.iter().zip(stored);
    let rows = rows.map(|(row, stored)| (*row, chunk.versions.of(row), stored));
    let plan = Plan::new(D::KIND, &columns, rows)?;
    if plan.deletes > 0 && !entry.tombstones {
        entry.tombstones = true;
        transaction.create_tombstones(&chunk).await?;
        transaction.save(name, &entry).await?;
    }
    transaction.stage_updates(&chunk, &columns, &plan).await?;
    if entry.tombstones {
        transaction.delete_outlived_tombstones(&chunk).await?;
    }
    let change = Change::Chunk(&chunk);
    transaction.sum_totals(&table, &entry, &change).await?;
    let mut counts = plan.counts;
    if !plan.updates.is_empty() {
        let existing = plan.updates.len() as u64 - counts.inserted;
        let updated = transaction.write_updates(&chunk, &plan).await?;
        counts.updated += updated;
        counts.unchanged += existing.saturating_sub(updated);
    }
    if plan.deletes > 0 {
        // The plan has counted them.
        transaction.delete(&chunk).await?;
    }
    transaction.update_totals().await?;
    transaction.commit().await?;
    debug_assert_eq!(
        counts.total(),
        chunk.rows.len() as u64,
        "each row is counted once"
    );
    Ok(counts)
}
