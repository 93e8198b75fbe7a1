//! Creates what a dataset needs before its rows: registry, table, columns, indexes, tables of totals.

use landfall_domain::Dataset;
use sqlx::PgConnection;

use super::statement::{STORE, count, run};
use super::{deletes, known, registry, table, totals};
use crate::error::{Result, StoreError};
use crate::registry::{Entry, Registered};
use crate::schema::Table;
use crate::sql::lanes::LaneLock;

/// The oldest server with `MERGE`, as in `server_version_num`.
const OLDEST: u64 = 150_000;

/// Rejects a server that is too old or lacks a setting.
pub(super) async fn check_server(connection: &mut PgConnection, table: &Table) -> Result<()> {
    let ask = "SELECT current_setting('server_version_num')::bigint, \
         current_setting('track_counts')::boolean::int::bigint";
    let [version, counts] = count(connection, ask).await?;
    let reason = if version < OLDEST {
        format!("the server is version {version}, and {OLDEST} (PostgreSQL 15) is needed")
    } else if counts == 0 {
        "track_counts is off: switch it on, as autovacuum and exact counts need it".to_owned()
    } else {
        return Ok(());
    };
    Err(StoreError::schema(STORE, &table.name, reason))
}

/// Returns whether nothing is missing. Locks nothing.
pub(super) async fn is_done(
    connection: &mut PgConnection,
    dataset: &Dataset,
    table: &Table,
) -> Result<bool> {
    let Some(Entry { registered, .. }) = registry::entry(connection, &table.name).await? else {
        return Ok(false);
    };
    Ok(
        registered.merged_with(Registered::new(dataset, table), &table.name, STORE)? == registered
            && table::missing(connection, table)
                .await?
                .is_some_and(|missing| missing.is_empty())
            && totals::missing_tables(connection, &registered)
                .await?
                .is_empty()
            && known::is_made(connection).await?,
    )
}

/// Creates and registers what is missing, and changes nothing else.
pub(super) async fn make(
    connection: &mut PgConnection,
    dataset: &Dataset,
    table: &Table,
) -> Result<()> {
    registry::make(connection).await?;
    // Another worker has prepared it meanwhile, and may be filling it.
    if is_done(connection, dataset, table).await? {
        return Ok(());
    }
    let mut entry = make_table(connection, dataset, table).await?;
    let before = entry.registered;
    entry.registered = before.merged_with(Registered::new(dataset, table), &table.name, STORE)?;
    for index in &table.indexes {
        if !before.indexes.contains(&index.field) {
            run(connection, table::create_index(table, index)).await?;
        }
    }
    let missing = totals::missing_tables(connection, &entry.registered).await?;
    for total in &entry.registered.totals {
        if missing.contains(&total.name) || !before.totals.contains(total) {
            totals::make(connection, table, &entry.registered, total).await?;
        }
    }
    registry::save(connection, &table.name, &entry).await
}

/// Rebuilds the tables of totals as the dataset defines them, and returns the number of groups of each.
pub(super) async fn rebuild_totals(
    connection: &mut PgConnection,
    dataset: &Dataset,
    table: &Table,
) -> Result<Vec<(String, u64)>> {
    registry::make(connection).await?;
    let mut entry = make_table(connection, dataset, table).await?;
    totals::drop_all(connection, table, &entry.registered).await?;
    entry.registered.totals.clone_from(&dataset.totals);
    let mut groups = Vec::with_capacity(dataset.totals.len());
    for total in &dataset.totals {
        let made = totals::make(connection, table, &entry.registered, total).await?;
        groups.push((total.name.clone(), made));
    }
    registry::save(connection, &table.name, &entry).await?;
    Ok(groups)
}

/// Creates table and columns, and returns the registry entry. The dataset is locked from here.
async fn make_table(
    connection: &mut PgConnection,
    dataset: &Dataset,
    table: &Table,
) -> Result<Entry> {
    let columns = Registered::columns_of(dataset, table);
    registry::add(connection, &table.name, &columns).await?;
    let mut entry = registry::lock(connection, &table.name, LaneLock::All).await?;
    if let Some(missing) = table::missing(connection, table).await? {
        entry.registered = entry.registered.merged_with(columns, &table.name, STORE)?;
        if !missing.is_empty() {
            run(connection, table::add_columns(table, &missing)).await?;
        }
        return Ok(entry);
    }
    // A new table, or one that someone dropped together with what was recorded about its rows.
    totals::drop_all(connection, table, &entry.registered).await?;
    deletes::forget(connection, table).await?;
    run(connection, table::create(table)).await?;
    known::begin(connection, &table.name).await?;
    Ok(Entry::new(columns))
}
