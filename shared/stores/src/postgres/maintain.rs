//! Creates indexes of big tables, and builds totals, beside writers.
//!
//! Totals are built in ranges of keys, each in a short transaction under the lock of the dataset. The registry has the
//! last key that is included. A chunk changes totals that are being built for the keys that are included, so they equal
//! a GROUP BY of these at every commit. Their table has another name until all are.
//!
//! `CREATE INDEX CONCURRENTLY` cannot run in a transaction. If it fails, it leaves an invalid index, which is dropped
//! and created again. If the process that sent it dies, the server completes it, and the session holds its lock until
//! then.

use landfall_domain::{Dataset, Structure};
use sqlx::{Connection as _, PgConnection};
use tracing::info;

use super::statement::{STORE, count, error, run};
use super::{Postgres, build, registry, search, table, totals};
use crate::error::Result;
use crate::maintenance::{Current, Maintenance};
use crate::registry::Registered;
use crate::schema::Table;
use crate::sql::SqlTransaction as _;
use crate::sql::lanes::LaneLock;

/// An index takes as long as it takes, and waits for all transactions that began before.
const SESSION: &str = "SET statement_timeout = 0; SET lock_timeout = 0";

/// Creates one missing index or table of totals.
pub(super) async fn step(
    postgres: &Postgres,
    dataset: &Dataset,
    table: &Table,
    current: &Current,
) -> Result<Maintenance> {
    // Not of the pool: the lock is that of the session, and ends with it.
    let mut connection = postgres.connection().await?.detach();
    let lock = format!("SELECT pg_try_advisory_lock({})::int::bigint", lock(table));
    if count(&mut connection, lock).await? == [0] {
        return Ok(Maintenance::Busy);
    }
    let step = create_missing(postgres, &mut connection, dataset, table, current).await?;
    connection.close().await.map_err(error)?;
    Ok(step)
}

/// Returns whether a session maintains the table.
pub(super) async fn is_locked(connection: &mut PgConnection, table: &Table) -> Result<bool> {
    // Released at the end of the statement.
    let attempt = format!(
        "SELECT pg_try_advisory_xact_lock({})::int::bigint",
        lock(table)
    );
    Ok(count(connection, attempt).await? == [0])
}

fn lock(table: &Table) -> String {
    format!("hashtextextended('landfall-maintenance:{}', 0)", table.name)
}

async fn create_missing(
    postgres: &Postgres,
    connection: &mut PgConnection,
    dataset: &Dataset,
    table: &Table,
    current: &Current,
) -> Result<Maintenance> {
    let Some(entry) = registry::entry(connection, &table.name).await? else {
        return Ok(Maintenance::Done);
    };
    let known = entry.registered;
    // A definition that does not fit the table asks for nothing.
    known.merged_with(Registered::new(dataset, table), &table.name, STORE)?;
    run(connection, SESSION).await?;
    let mut indexes = table.indexes.iter();
    if let Some(index) = indexes.find(|index| !known.indexes.contains(&index.field)) {
        current.send_replace(Some(Structure::index(&index.field)));
        create_index(connection, table, table::index(table, index)).await?;
        let mut write = postgres.begin().await?;
        let mut entry = write.lock(&table.name, LaneLock::All).await?;
        entry.registered.indexes.insert(index.field.clone());
        write.save(&table.name, &entry).await?;
        write.commit().await?;
        return Ok(Maintenance::Continues);
    }
    if let Some(indexing) = &entry.walks.indexing {
        current.send_replace(Some(Structure::search(&table.name, Some(indexing.rows))));
        if indexing.is_complete {
            for index in search::indexes(connection, table, &known.search).await? {
                create_index(connection, table, index).await?;
            }
        }
        let is_complete = indexing.is_complete;
        let mut write = postgres.begin().await?;
        let mut entry = write.lock(&table.name, LaneLock::All).await?;
        if is_complete {
            entry.walks.indexing = None;
        } else {
            search::step(
                &mut write.transaction,
                table,
                &mut entry,
                postgres.step_rows,
            )
            .await?;
        }
        write.save(&table.name, &entry).await?;
        write.commit().await?;
        return Ok(Maintenance::Continues);
    }
    let mut totals = dataset.totals.iter();
    let Some(total) = totals.find(|total| !known.totals.contains(total)) else {
        return Ok(Maintenance::Done);
    };
    let mut building = entry.walks.building.iter();
    let begun = building.find(|building| building.total == *total);
    let rows = begun.map_or(0, |begun| begun.rows);
    current.send_replace(Some(Structure::totals(&total.name, Some(rows))));
    if begun.is_none() {
        for index in totals::indexes(&known, table, total) {
            create_index(connection, table, index).await?;
        }
    }
    // Bounded in time, unlike an index: writers wait for it.
    let mut write = postgres.begin().await?;
    let mut entry = write.lock(&table.name, LaneLock::All).await?;
    let mut building = entry.walks.building.iter();
    if building.any(|building| building.total == *total) {
        build::step(&mut write.transaction, table, &mut entry, total).await?;
    } else {
        let rows = postgres.step_rows;
        build::begin(&mut write.transaction, table, &mut entry, total, rows).await?;
        info!(table = %table.name, total = %total.name, "building totals");
    }
    write.save(&table.name, &entry).await?;
    write.commit().await?;
    if entry.registered.totals.contains(total) {
        info!(table = %table.name, total = %total.name, "the totals are built");
    }
    Ok(Maintenance::Continues)
}

/// Creates an index, by its name and the rest of its definition, while writers go on.
async fn create_index(
    connection: &mut PgConnection,
    table: &Table,
    (name, on): (String, String),
) -> Result<()> {
    drop_invalid_index(connection, &name, "CONCURRENTLY").await?;
    info!(table = %table.name, index = %name, "creating an index");
    let create = format!("CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} {on}");
    run(connection, create).await?;
    info!(table = %table.name, index = %name, "the index is created");
    Ok(())
}

/// Drops an index that a failed statement has left behind, which no query uses.
pub(super) async fn drop_invalid_index(
    connection: &mut PgConnection,
    name: &str,
    concurrently: &str,
) -> Result<()> {
    let invalid = format!(
        "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('{name}') AND NOT indisvalid"
    );
    if count(connection, invalid).await? == [1] {
        run(connection, format!("DROP INDEX {concurrently} {name}")).await?;
    }
    Ok(())
}
