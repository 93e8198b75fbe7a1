//! Counts and deletes what a snapshot lacks.

use landfall_domain::{PrunePreview, RowVersion};
use rusqlite::{Row, Transaction};

use super::error::STORE;
use super::registry;
use super::table::{quote, tombstones};
use super::totals::Totals;
use crate::error::Result;
use crate::registry::unsigned;
use crate::schema::{Table, VERSION};

/// Rows of one round. Totals are written after each, once its rows are deleted.
const ROWS: usize = 10_000;

/// Counts the rows, and those below the floor.
pub(super) fn preview(
    transaction: &Transaction<'_>,
    table: &Table,
    floor: RowVersion,
) -> Result<PrunePreview> {
    let count = format!(
        "SELECT COUNT(*), COUNT(*) FILTER (WHERE {VERSION} < ?) FROM {}",
        quote(&table.name)
    );
    let counts = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (rows, deletes) = transaction.query_row(&count, [floor.as_bytes()], counts)?;
    Ok(PrunePreview {
        rows: unsigned(STORE, rows)?,
        deletes: unsigned(STORE, deletes)?,
    })
}

/// Deletes the rows below the floor, and returns their number.
pub(super) fn rows_below(
    transaction: &Transaction<'_>,
    table: &Table,
    floor: RowVersion,
) -> Result<u64> {
    let entry = registry::prepared(transaction, &table.name)?;
    if let Some(pruned) = entry.pruned_by(floor) {
        return Ok(pruned);
    }
    let floor = floor.as_bytes();
    let mut totals = Totals::new(&table.name, &entry.registered);
    let target = quote(&table.name);
    let select = format!(
        "SELECT _rowid_{} FROM {target} WHERE _rowid_ >= ? AND {VERSION} < ? ORDER BY _rowid_ LIMIT {ROWS}",
        totals.select()
    );
    let delete = format!("DELETE FROM {target} WHERE _rowid_ = ?");
    let mut select = transaction.prepare(&select)?;
    let mut delete = transaction.prepare(&delete)?;
    let mut pruned = 0;
    let mut from = i64::MIN;
    loop {
        let mut ids = Vec::new();
        let mut rows = select.query((from, floor))?;
        while let Some(row) = rows.next()? {
            ids.push(row.get(0)?);
            let old = totals.values_for_totals(row, 1)?;
            totals.change(Some(&old), None)?;
        }
        drop(rows);
        for id in &ids {
            delete.execute([id])?;
        }
        totals.write(transaction)?;
        pruned += ids.len() as u64;
        from = match ids.last().and_then(|last: &i64| last.checked_add(1)) {
            Some(next) if ids.len() == ROWS => next,
            _ => break,
        };
    }
    // The floor makes the rows stale that these tombstones would.
    let sweep = format!(
        "DELETE FROM {} WHERE {VERSION} < ?",
        tombstones(&table.name)
    );
    transaction.execute(&sweep, [floor])?;
    registry::set_floor(transaction, &table.name, floor, pruned)?;
    Ok(pruned)
}
