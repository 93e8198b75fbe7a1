//! Builds totals in ranges of keys, beside writers.

use std::time::Instant;

use landfall_domain::Total;
use sqlx::PgConnection;

use super::key_ranges;
use super::statement::run;
use super::table::quote;
use super::totals::{self, Totals, name_of_building};
use crate::error::Result;
use crate::registry::Entry;
use crate::schema::Table;
use crate::walk::Building;

/// Begins to build totals.
pub(super) async fn begin(
    connection: &mut PgConnection,
    table: &Table,
    entry: &mut Entry,
    total: &Total,
    rows: u64,
) -> Result<()> {
    totals::check_free(connection, table, total).await?;
    let name = name_of_building(table, total);
    let create = totals::create(&entry.registered, total, &name);
    let drop = format!("DROP TABLE IF EXISTS {}", quote(&name));
    run(connection, format!("{drop}; {create}")).await?;
    let others = |building: &Building| building.total.name != total.name;
    entry.walks.building.retain(others);
    entry.walks.building.push(Building::new(total, rows));
    Ok(())
}

/// Includes the rows of the next range in totals that are being built. Registers them if it is the last one.
pub(super) async fn step(
    connection: &mut PgConnection,
    table: &Table,
    entry: &mut Entry,
    total: &Total,
) -> Result<()> {
    let started = Instant::now();
    let mut building = entry.walks.building.iter();
    let Some(place) = building.position(|building| building.total == *total) else {
        return Ok(());
    };
    let building = &entry.walks.building[place];
    let range =
        key_ranges::next(connection, table, building.place.as_deref(), building.step).await?;
    let totals = Totals::building(table, &entry.registered, building)?;
    let changes = totals.sum_up(&totals.rows_in(table, &range));
    run(connection, changes).await?;
    run(connection, totals.update.as_str()).await?;
    if range.next.is_some() {
        entry.walks.building[place].advance(range.next, started.elapsed());
        return Ok(());
    }
    let (from, to) = (quote(name_of_building(table, total)), quote(&total.name));
    run(connection, format!("ALTER TABLE {from} RENAME TO {to}")).await?;
    entry.walks.building.remove(place);
    entry.registered.totals.push(total.clone());
    Ok(())
}

/// Drops what is left of totals that were being built.
pub(super) async fn drop_all(
    connection: &mut PgConnection,
    table: &Table,
    entry: &mut Entry,
) -> Result<()> {
    for building in entry.walks.building.drain(..) {
        let name = quote(name_of_building(table, &building.total));
        run(connection, format!("DROP TABLE IF EXISTS {name}")).await?;
    }
    Ok(())
}
