//! Creates the tables of a dataset, and registers them.

use landfall_domain::{Dataset, Structure};
use rusqlite::Transaction;
use tracing::info;

use super::error::{STORE, mismatch};
use super::table::{add_columns, create, create_index, exists, index_name, quote, tombstones};
use super::{destinations, registry, search, totals};
use crate::error::Result;
use crate::maintenance::{Current, Maintenance, Prepared};
use crate::registry::{Registered, unsigned};
use crate::schema::{Index, Table};

pub(super) fn make(
    transaction: &Transaction<'_>,
    dataset: &Dataset,
    table: &Table,
    small_table_rows: u64,
) -> Result<Prepared> {
    registry::make(transaction)?;
    let mut known = registry::read(transaction, &table.name)?;
    // A table that someone dropped is created again, without its totals and tombstones.
    if !exists(transaction, &table.name)?
        && let Some(entry) = known.take()
    {
        totals::drop_tables(transaction, &entry.registered.totals)?;
        let drop = format!("DROP TABLE IF EXISTS {}", tombstones(&table.name));
        transaction.execute_batch(&drop)?;
        destinations::forget(transaction, table)?;
        search::forget(transaction, table)?;
        registry::remove(transaction, &table.name)?;
    }
    create(transaction, table)?;
    let known = known.map(|entry| entry.registered);
    let registered = match &known {
        Some(known) => known.merged_with(Registered::new(dataset, table), &table.name, STORE)?,
        None => Registered::new(dataset, table),
    };
    add_columns(transaction, table)?;
    let missing = missing_indexes(transaction, table)?;
    let lacks_totals = known
        .as_ref()
        .is_some_and(|known| known.totals != registered.totals);
    let known_search = known.as_ref().map_or(&[][..], |known| &known.search);
    let lacks_search = known_search != registered.search;
    let is_left_out = (lacks_totals || lacks_search || !missing.is_empty())
        && !is_small(transaction, table, small_table_rows)?;
    let registered = match &known {
        Some(known) if is_left_out => Registered {
            search: known.search.clone(),
            ..registered.with_structures_of(known)
        },
        _ => registered,
    };
    if !is_left_out && lacks_search {
        search::make(transaction, table, &registered.search)?;
    }
    if !is_left_out {
        for index in missing {
            transaction.execute_batch(&create_index(table, index))?;
        }
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
    Ok(Prepared::lacking(is_left_out))
}

fn is_small(transaction: &Transaction<'_>, table: &Table, rows: u64) -> Result<bool> {
    let some = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT {})",
        quote(&table.name),
        rows.saturating_add(1).min(i64::MAX.unsigned_abs())
    );
    let some = transaction.query_row(&some, [], |row| row.get(0))?;
    Ok(unsigned(STORE, some)? <= rows)
}

fn missing_indexes<'t>(transaction: &Transaction<'_>, table: &'t Table) -> Result<Vec<&'t Index>> {
    let mut missing = Vec::new();
    for index in &table.indexes {
        if !exists(transaction, &index_name(table, index))? {
            missing.push(index);
        }
    }
    Ok(missing)
}

/// Creates one index that the table lacks, or the totals. Other writers wait.
pub(super) fn maintain(
    transaction: &Transaction<'_>,
    dataset: &Dataset,
    table: &Table,
    current: &Current,
) -> Result<Maintenance> {
    let Some(known) = registry::read(transaction, &table.name)? else {
        return Ok(Maintenance::Done);
    };
    if let Some(index) = missing_indexes(transaction, table)?.first().copied() {
        current.send_replace(Some(Structure::index(&index.field)));
        info!(table = %table.name, field = %index.field, "creating an index");
        transaction.execute_batch(&create_index(table, index))?;
        return Ok(Maintenance::Continues);
    }
    if known.registered.search.is_empty() && !table.search.is_empty() {
        current.send_replace(Some(Structure::search(&table.name, None)));
        info!(table = %table.name, "indexing for search");
        make(transaction, dataset, table, u64::MAX)?;
        return Ok(Maintenance::Continues);
    }
    let mut totals = dataset.totals.iter();
    let missing = totals.find(|total| !known.registered.totals.contains(total));
    let Some(missing) = missing else {
        return Ok(Maintenance::Done);
    };
    current.send_replace(Some(Structure::totals(&missing.name, None)));
    info!(table = %table.name, "building totals");
    make(transaction, dataset, table, u64::MAX)?;
    Ok(Maintenance::Continues)
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
    make(transaction, &plain, table, u64::MAX)?;
    let mut registered = registry::prepared(transaction, &table.name)?.registered;
    totals::drop_tables(transaction, &registered.totals)?;
    registered.totals.clone_from(&dataset.totals);
    registry::write(transaction, &table.name, &registered)?;
    make(transaction, dataset, table, u64::MAX)?;
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
