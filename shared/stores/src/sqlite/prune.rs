//! Counts and deletes what a snapshot lacks, a range of row ids in each transaction.
//!
//! A row keeps its id, except if the file is vacuumed. That raises the version of the schema, with which a walk starts
//! again.

use landfall_domain::{PrunePreview, RowVersion};
use rusqlite::{OptionalExtension, Row, Transaction};

use super::error::STORE;
use super::table::quote;
use super::totals::Totals;
use super::{recorder, registry};
use crate::changes::Followed;
use crate::error::Result;
use crate::registry::{tombstones_of, unsigned};
use crate::schema::{Table, VERSION};
use crate::walk::Step;

/// A range of row ids.
pub(super) struct Range {
    first: i64,
    /// The id after the range.
    end: Option<i64>,
    pub(super) next: Option<String>,
}

impl Range {
    /// Returns the range of a table that begins at a place: `<version of the schema> <row id>`.
    pub(super) fn next(
        transaction: &Transaction<'_>,
        name: &str,
        place: Option<&str>,
        rows: u64,
    ) -> Result<Self> {
        let schema: i64 = transaction.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
        let place = place.and_then(|place| place.split_once(' '));
        let place = place.filter(|(other, _)| *other == schema.to_string());
        let first = place.and_then(|(_, id)| id.parse().ok());
        let first = first.unwrap_or(i64::MIN);
        let select = format!(
            "SELECT _rowid_ FROM {} WHERE _rowid_ >= ? ORDER BY _rowid_ LIMIT 1 OFFSET {rows}",
            quote(name)
        );
        let end = transaction.query_row(&select, [first], |row| row.get(0));
        let end: Option<i64> = end.optional()?;
        Ok(Self {
            first,
            end,
            next: end.map(|end| format!("{schema} {end}")),
        })
    }

    pub(super) fn condition(&self) -> String {
        let up_to = self.end.map(|end| format!(" AND _rowid_ < {end}"));
        format!("_rowid_ >= {}{}", self.first, up_to.unwrap_or_default())
    }
}

/// Counts the rows of the next range, and those below the floor.
pub(super) fn preview(
    transaction: &Transaction<'_>,
    table: &Table,
    floor: RowVersion,
    step_rows: u64,
) -> Result<Step<PrunePreview>> {
    let mut entry = registry::prepared(transaction, &table.name)?;
    let known = entry.walks.count(floor);
    if let Some(done) = known.done() {
        return Ok(Step::Done(done));
    }
    let range = Range::next(transaction, &table.name, known.place.as_deref(), step_rows)?;
    let count = format!(
        "SELECT COUNT(*), COUNT(*) FILTER (WHERE {VERSION} < ?) FROM {} WHERE {}",
        quote(&table.name),
        range.condition()
    );
    let counts = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (rows, deletes) = transaction.query_row(&count, [floor.as_bytes()], counts)?;
    let (rows, deletes) = (unsigned(STORE, rows)?, unsigned(STORE, deletes)?);
    let count = known.add(rows, deletes, range.next);
    let step = count.step();
    entry.walks.set_count(floor, count);
    registry::set_walks(transaction, &table.name, &entry)?;
    Ok(step)
}

/// Deletes the rows, or then the tombstones, of the next range that are below the floor.
pub(super) fn step(
    transaction: &Transaction<'_>,
    table: &Table,
    followed: &Followed,
    floor: RowVersion,
    step_rows: u64,
) -> Result<Step<u64>> {
    let mut entry = registry::prepared(transaction, &table.name)?;
    followed.note(&table.name, &entry.registered.tracking);
    if let Some(pruned) = entry.pruned_by(floor) {
        return Ok(Step::Done(pruned));
    }
    let prune = entry.begin_prune(floor);
    let tombstones = tombstones_of(&table.name);
    let name = if prune.is_in_tombstones {
        &tombstones
    } else {
        &table.name
    };
    let range = Range::next(transaction, name, prune.place.as_deref(), step_rows)?;
    let mut totals = Totals::new(&table.name, &entry.registered);
    if !prune.is_in_tombstones && !totals.is_empty() {
        let select = format!(
            "SELECT 0{} FROM {} WHERE {VERSION} < ? AND {}",
            totals.select(),
            quote(name),
            range.condition()
        );
        let mut select = transaction.prepare(&select)?;
        let mut rows = select.query([&entry.floor])?;
        while let Some(row) = rows.next()? {
            let old = totals.values_for_totals(row, 1)?;
            totals.change(Some(&old), None)?;
        }
    }
    if !prune.is_in_tombstones && entry.registered.tracking.is_on() {
        let condition = range.condition();
        recorder::record_prune(transaction, table, entry.floor.as_deref(), &condition)?;
    }
    let delete = format!(
        "DELETE FROM {} WHERE {VERSION} < ? AND {}",
        quote(name),
        range.condition()
    );
    let deleted = transaction.execute(&delete, [&entry.floor])? as u64;
    // Extremes are looked up among the rows that are left.
    totals.write(transaction)?;
    entry.advance_prune(prune, deleted, range.next);
    registry::set_walks(transaction, &table.name, &entry)?;
    Ok(entry.prune_step(floor))
}
