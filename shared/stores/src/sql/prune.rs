//! Prunes, and the counts before them: a range of the table in each transaction.

use landfall_domain::{PrunePreview, RowVersion};

use super::database::{Below, Change, SqlDatabase, SqlTransaction, outdated};
use super::lanes::LaneLock;
use crate::error::{Result, StoreError};
use crate::registry::tombstones_of;
use crate::schema::Table;
use crate::walk::Step;

/// Counts the rows of the next range, and those below a floor. Writers wait only while the sum is saved.
pub(crate) async fn preview_prune<D: SqlDatabase>(
    database: &D,
    table: &Table,
    floor: RowVersion,
) -> Result<Step<PrunePreview>> {
    let name = &table.name;
    let known = database.entry(name).await?.walks.count(floor);
    if let Some(done) = known.done() {
        return Ok(Step::Done(done));
    }
    let mut transaction = database.begin_walk(table).await?;
    let range = transaction
        .range(table, name, known.place.as_deref(), database.step_rows())
        .await?;
    let below = Below {
        floor: &floor.to_string(),
        condition: &range.condition,
    };
    let [rows, deletes] = transaction.count_below(table, &below).await?;
    let mut entry = transaction.lock(name, LaneLock::All).await?;
    if entry.walks.count(floor) != known {
        let reason = "another worker has counted the range";
        return Err(StoreError::contended(D::KIND, reason));
    }
    let count = known.add(rows, deletes, range.next);
    let step = count.step();
    entry.walks.set_count(floor, count);
    transaction.save(name, &entry).await?;
    transaction.commit().await?;
    Ok(step)
}

/// Deletes the rows of the next range that are older than all of a snapshot. The first step raises the floor. If a
/// newer snapshot has raised it further, its prune goes on.
pub(crate) async fn prune<D: SqlDatabase>(
    database: &D,
    table: &Table,
    floor: RowVersion,
) -> Result<Step<u64>> {
    let name = &table.name;
    let mut transaction = database.begin_walk(table).await?;
    let mut entry = transaction.lock(name, LaneLock::All).await?;
    database.followed().note(name, &entry.registered.tracking);
    if transaction.is_outdated(&entry) {
        return Err(outdated::<D>());
    }
    if let Some(pruned) = entry.pruned_by(floor) {
        transaction.rollback().await?;
        return Ok(Step::Done(pruned));
    }
    let prune = entry.begin_prune(floor);
    let (place, rows) = (prune.place.as_deref(), database.step_rows());
    let floor_hex = entry.floor_hex();
    let below = |condition| Below {
        floor: &floor_hex,
        condition,
    };
    let (deleted, next) = if prune.is_in_tombstones {
        let tombstones = tombstones_of(name);
        let range = transaction.range(table, &tombstones, place, rows).await?;
        let below = below(&range.condition);
        (
            transaction.delete_below(table, &tombstones, &below).await?,
            range.next,
        )
    } else {
        let range = transaction.range(table, name, place, rows).await?;
        let below = below(&range.condition);
        transaction
            .sum_totals(table, &entry, &Change::Below(&below))
            .await?;
        let deleted = transaction.delete_below(table, name, &below).await?;
        transaction.update_totals().await?;
        (deleted, range.next)
    };
    entry.advance_prune(prune, deleted, next);
    transaction.save(name, &entry).await?;
    transaction.commit().await?;
    Ok(entry.prune_step(floor))
}
