//! Creates what a dataset needs before its rows: registry, table, columns, indexes, tables of totals.

use landfall_domain::Dataset;
use sqlx::PgConnection;

use super::statement::{STORE, count, run};
use super::table::quote;
use super::{build, changes, deletes, known, maintain, registry, search, table, totals};
use crate::error::{Result, StoreError};
use crate::maintenance::Prepared;
use crate::registry::{Entry, Registered};
use crate::schema::Table;
use crate::sql::lanes::LaneLock;
use crate::walk::Indexing;

/// The oldest server with `MERGE`, as in `server_version_num`.
const OLDEST: u64 = 150_000;

/// While a statement that changes a table waits, everybody else waits behind it.
const SHORT_WAIT: &str = "SET LOCAL lock_timeout = '3s'";
const USUAL_WAIT: &str = "SET LOCAL lock_timeout = '30s'";

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

/// Returns the state of a table that lacks nothing but what maintenance creates, or none if it lacks more. Locks
/// nothing.
pub(super) async fn prepared(
    connection: &mut PgConnection,
    dataset: &Dataset,
    table: &Table,
    small_table_rows: u64,
) -> Result<Option<Prepared>> {
    let Some(Entry {
        registered, walks, ..
    }) = registry::entry(connection, &table.name).await?
    else {
        return Ok(None);
    };
    let all = registered.merged_with(Registered::new(dataset, table), &table.name, STORE)?;
    let lacks_structures = all.indexes != registered.indexes
        || all.totals != registered.totals
        || walks.indexing.is_some();
    let is_ready = all.with_structures_of(&registered) == registered
        && table::missing(connection, table)
            .await?
            .is_some_and(|missing| missing.is_empty())
        && totals::missing_tables(connection, &registered)
            .await?
            .is_empty()
        && known::is_made(connection).await?
        && !(lacks_structures && is_small(connection, table, small_table_rows).await?);
    Ok(is_ready.then_some(Prepared::lacking(lacks_structures)))
}

async fn is_small(connection: &mut PgConnection, table: &Table, rows: u64) -> Result<bool> {
    let some = format!(
        "SELECT count(*) FROM (SELECT FROM {} LIMIT {}) t",
        quote(&table.name),
        rows.saturating_add(1)
    );
    let [some] = count(connection, some).await?;
    Ok(some <= rows)
}

/// Creates and registers what is missing, and changes nothing else.
pub(super) async fn make(
    connection: &mut PgConnection,
    dataset: &Dataset,
    table: &Table,
    small_table_rows: u64,
) -> Result<Prepared> {
    registry::make(connection).await?;
    // Another worker has prepared it meanwhile, and may be filling it.
    if let Some(prepared) = prepared(connection, dataset, table, small_table_rows).await? {
        return Ok(prepared);
    }
    let mut entry = make_table(connection, dataset, table).await?;
    let before = entry.registered;
    entry.registered = before.merged_with(Registered::new(dataset, table), &table.name, STORE)?;
    let all = &entry.registered;
    let gains_search = all.search != before.search;
    if gains_search {
        entry.walks.indexing = Some(Indexing::default());
    }
    let lacks_structures = all.indexes != before.indexes
        || all.totals != before.totals
        || entry.walks.indexing.is_some();
    let is_left_out = lacks_structures && !is_small(connection, table, small_table_rows).await?;
    if is_left_out {
        for total in all
            .totals
            .iter()
            .filter(|total| !before.totals.contains(total))
        {
            totals::check_free(connection, table, total).await?;
        }
        entry.registered = entry.registered.with_structures_of(&before);
    } else {
        search::complete(connection, table, &mut entry).await?;
        for index in &table.indexes {
            if !before.indexes.contains(&index.field) {
                let (name, on) = table::index(table, index);
                maintain::drop_invalid_index(connection, &name, "").await?;
                let create = format!("CREATE INDEX IF NOT EXISTS {name} {on}");
                run(connection, create).await?;
            }
        }
    }
    let missing = totals::missing_tables(connection, &entry.registered).await?;
    for total in &entry.registered.totals {
        if missing.contains(&total.name) || !before.totals.contains(total) {
            totals::make(connection, table, &entry.registered, total).await?;
        }
    }
    registry::save(connection, &table.name, &entry).await?;
    Ok(Prepared::lacking(is_left_out))
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
    build::drop_all(connection, table, &mut entry).await?;
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
            let add = table::add_columns(table, &missing);
            run(connection, format!("{SHORT_WAIT}; {add}; {USUAL_WAIT}")).await?;
        }
        return Ok(entry);
    }
    // A new table, or one that someone dropped together with what was recorded about its rows.
    totals::drop_all(connection, table, &entry.registered).await?;
    build::drop_all(connection, table, &mut entry).await?;
    deletes::forget(connection, table).await?;
    changes::forget(connection, table).await?;
    run(connection, table::create(table)).await?;
    known::begin(connection, &table.name).await?;
    Ok(Entry::new(columns))
}
