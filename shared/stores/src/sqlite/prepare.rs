//! Creates the tables of a dataset, and registers them.

use landfall_domain::Dataset;
use rusqlite::Transaction;

use super::error::{STORE, mismatch};
use super::table::{add_columns, create, create_index, exists, quote, tombstones};
use super::{registry, totals};
use crate::error::Result;
use crate::registry::{Registered, unsigned};
use crate::schema::Table;

pub(super) fn make(transaction: &Transaction<'_>, dataset: &Dataset, table: &Table) -> Result<()> {
    registry::make(transaction)?;
    let mut known = registry::read(transaction, &table.name)?;
    // A table that someone dropped is created again, without its totals and tombstones.
    if !exists(transaction, &table.name)?
        && let Some(entry) = known.take()
    {
        totals::drop_tables(transaction, &entry.registered.totals)?;
        let drop = format!("DROP TABLE IF EXISTS {}", tombstones(&table.name));
        transaction.execute_batch(&drop)?;
        registry::remove(transaction, &table.name)?;
    }
    create(transaction, table)?;
    let known = known.map(|entry| entry.registered);
    let registered = match &known {
        Some(known) => known.merged_with(Registered::new(dataset, table), &table.name, STORE)?,
        None => Registered::new(dataset, table),
    };
    add_columns(transaction, table)?;
    for index in &table.indexes {
        transaction.execute_batch(&create_index(table, index))?;
    }
    for total in &registered.totals {
        let is_known = known
            .as_ref()
            .is_some_and(|known| known.totals.contains(total));
        if !exists(transaction, &total.name)? {
            totals::make(transaction, &table.name, &registered, total)?;
        } else if !is_known {
            return Err(mismatch(
                &total.name,
                "the table exists, and does not hold totals of the dataset; rename one of them",
            ));
        }
    }
    if known.as_ref() != Some(&registered) {
        registry::write(transaction, &table.name, &registered)?;
    }
    Ok(())
}

/// Rebuilds the totals that a dataset defines, and drops all others.
pub(super) fn rebuild_totals(
    transaction: &Transaction<'_>,
    dataset: &Dataset,
    table: &Table,
) -> Result<Vec<(String, u64)>> {
    // The registered totals may be what needs repair.
    let mut plain = dataset.clone();
    plain.totals.clear();
    make(transaction, &plain, table)?;
    let mut registered = registry::prepared(transaction, &table.name)?.registered;
    totals::drop_tables(transaction, &registered.totals)?;
    registered.totals.clone_from(&dataset.totals);
    registry::write(transaction, &table.name, &registered)?;
    make(transaction, dataset, table)?;
    let groups = |name: &String| {
        let count = format!("SELECT count(*) FROM {}", quote(name));
        let groups = transaction.query_row(&count, [], |row| row.get(0))?;
        Ok((name.clone(), unsigned(STORE, groups)?))
    };
    dataset
        .totals
        .iter()
        .map(|total| groups(&total.name))
        .collect()
}
