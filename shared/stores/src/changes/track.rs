//! Changes the destinations of a dataset.

use landfall_domain::Dataset;

use super::cells::numbers;
use super::sequence::{ChangeTransaction, KEYS};
use super::statements::Statements;
use super::{Tracking, now};
use crate::error::Result;
use crate::registry::Entry;
use crate::schema::Table;

/// Takes a step to change the destinations of a dataset that is locked, in its entry. Returns whether it was the last.
pub(crate) async fn track<T: ChangeTransaction>(
    tx: &mut T,
    dataset: &Dataset,
    table: &Table,
    entry: &mut Entry,
    destinations: &[String],
    rows: u64,
) -> Result<bool> {
    let tracking = &mut entry.registered.tracking;
    tracking.set(destinations);
    if !tracking.leaving.is_empty()
        && delete_leaving(tx, dataset, table, tracking, rows).await? == 0
    {
        tracking.leaving.clear();
        tracking.set(destinations);
    }
    entry.walks.retain_syncs(&tracking.destinations);
    Ok(tracking.leaving.is_empty())
}

/// Deletes some keys of destinations that are gone. If no destination is left, also deletes some recorded changes.
/// Returns how many it has deleted: 0 once nothing is left.
async fn delete_leaving<T: ChangeTransaction>(
    tx: &mut T,
    dataset: &Dataset,
    table: &Table,
    tracking: &Tracking,
    limit: u64,
) -> Result<u64> {
    if !tracking.is_on() {
        let folded = tx.fold(dataset, table, &[], now(), limit).await?;
        if folded > 0 {
            return Ok(folded);
        }
    }
    let dialect = tx.dialect();
    let statements = Statements {
        dialect: &dialect,
        dataset,
        table,
    };
    let select = statements.of_destinations(&tracking.leaving, limit);
    let ids = numbers(tx, select).await?;
    for ids in ids.chunks(KEYS) {
        tx.execute(statements.delete(ids)).await?;
    }
    Ok(ids.len() as u64)
}
