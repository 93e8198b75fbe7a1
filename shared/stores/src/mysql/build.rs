//! Builds totals in ranges of keys, each in a short transaction under the lock of the dataset.
//!
//! The registry has the last key that is included. A chunk changes totals that are being built for the keys that are
//! included. Their table has another name until all are. Renaming it commits, so it is a separate step.

use std::time::Instant;

use landfall_domain::Total;
use sqlx::mysql::MySqlPool;
use sqlx::{Connection as _, MySqlConnection};
use tracing::info;

use super::dialect::{Dialect, quote};
use super::existing::columns;
use super::indexes::make_index;
use super::statement::{STORE, error, run};
use super::totals::{self, Totals, name_of_building};
use super::{ranges, registry};
use crate::error::{Result, StoreError};
use crate::registry::{Entry, Registered};
use crate::schema::Table;
use crate::sql::lanes::LaneLock;
use crate::walk::Building;

/// Takes a step to build totals.
pub(super) async fn step(
    connection: &mut MySqlConnection,
    pool: &MySqlPool,
    table: &Table,
    entry: &Entry,
    total: &Total,
    dialect: Dialect,
    rows: u64,
) -> Result<()> {
    let mut building = entry.walks.building.iter();
    let known = building.find(|building| building.total == *total);
    match known {
        None => begin(connection, table, &entry.registered, total, dialect, rows).await,
        Some(known) if known.is_complete => rename(connection, pool, table, total).await,
        Some(known) => include(connection, table, &entry.registered, known, dialect).await,
    }
}

async fn begin(
    connection: &mut MySqlConnection,
    table: &Table,
    registered: &Registered,
    total: &Total,
    dialect: Dialect,
    rows: u64,
) -> Result<()> {
    info!(table = %table.name, total = %total.name, "building totals");
    let statements = Totals::building(table, registered, total, dialect, "");
    for (index, create) in &statements.indexes {
        make_index(connection, table, index, create).await?;
    }
    if !columns(connection, &total.name).await?.is_empty() {
        let reason = format!(
            "the table exists, and does not hold totals of {}",
            table.name
        );
        return Err(StoreError::schema(STORE, &total.name, reason));
    }
    let drop = format!(
        "DROP TABLE IF EXISTS {}",
        quote(name_of_building(table, total))
    );
    run(connection, &drop).await?;
    run(connection, &statements.create).await?;
    let mut transaction = connection.begin().await.map_err(error)?;
    let mut entry = registry::lock(&mut transaction, &table.name, LaneLock::All).await?;
    let others = |building: &Building| building.total.name != total.name;
    entry.walks.building.retain(others);
    entry.walks.building.push(Building::new(total, rows));
    registry::save(&mut transaction, &table.name, &entry).await?;
    transaction.commit().await.map_err(error)
}

/// Includes the rows of the next range.
async fn include(
    connection: &mut MySqlConnection,
    table: &Table,
    registered: &Registered,
    known: &Building,
    dialect: Dialect,
) -> Result<()> {
    let statements = [Totals::building(
        table,
        registered,
        &known.total,
        dialect,
        "",
    )];
    totals::stage(connection, &statements).await?;
    let mut transaction = connection.begin().await.map_err(error)?;
    let mut entry = registry::lock(&mut transaction, &table.name, LaneLock::All).await?;
    let mut building = entry.walks.building.iter_mut();
    let Some(building) = building.find(|building| **building == *known) else {
        // Rebuilt meanwhile.
        return Ok(());
    };
    let started = Instant::now();
    let place = known.place.as_deref();
    let range = ranges::next(&mut transaction, table, &table.name, place, known.step).await?;
    let added = totals::rows_in(table, &range);
    totals::update(&mut transaction, &statements, Some(&added)).await?;
    building.advance(range.next, started.elapsed());
    registry::save(&mut transaction, &table.name, &entry).await?;
    transaction.commit().await.map_err(error)
}

/// Gives the table its name, and registers the totals, while writers wait.
async fn rename(
    connection: &mut MySqlConnection,
    pool: &MySqlPool,
    table: &Table,
    total: &Total,
) -> Result<()> {
    // Renaming commits, so it would release a lock of the same connection.
    let mut transaction = pool.begin().await.map_err(error)?;
    let mut entry = registry::lock(&mut transaction, &table.name, LaneLock::All).await?;
    let name = name_of_building(table, total);
    if !columns(connection, &name).await?.is_empty() {
        let rename = format!("RENAME TABLE {} TO {}", quote(&name), quote(&total.name));
        run(connection, &rename).await?;
    }
    let others = |building: &Building| building.total != *total;
    entry.walks.building.retain(others);
    if !entry.registered.totals.contains(total) {
        entry.registered.totals.push(total.clone());
    }
    registry::save(&mut transaction, &table.name, &entry).await?;
    transaction.commit().await.map_err(error)?;
    info!(table = %table.name, total = %total.name, "the totals are built");
    Ok(())
}
