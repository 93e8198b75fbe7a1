//! Indexes: those that a dataset defines, and those for the extremes of totals.

use std::slice;

use landfall_domain::{Dataset, Structure};
use sqlx::mysql::MySqlPool;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};
use tracing::info;

use super::dialect::{Dialect, beginning_of, create_index, index_name};
use super::existing::columns;
use super::prepare::{self, run_wide};
use super::statement::{STORE, error, run};
use super::{build, registry, search, versions};
use crate::error::Result;
use crate::maintenance::{Current, Maintenance};
use crate::registry::Registered;
use crate::schema::{Index, Table};
use crate::sql::lanes::LaneLock;

/// The name of the lock of a table, which is to be bound.
const LOCK: &str = "SHA1(CONCAT(DATABASE(), '/', ?))";

/// What maintenance needs beside its own connection.
pub(super) struct Means<'a> {
    pub(super) pool: &'a MySqlPool,
    pub(super) dialect: Dialect,
    pub(super) step_rows: u64,
    pub(super) small_table_rows: u64,
}

/// Creates one index that the table lacks, while writers go on where the server can do that, or takes a step to build
/// totals. One session at a time: its lock ends with it.
pub(super) async fn maintain(
    mut connection: MySqlConnection,
    dataset: &Dataset,
    table: &Table,
    current: &Current,
    means: &Means<'_>,
) -> Result<Maintenance> {
    let lock = format!("SELECT GET_LOCK({LOCK}, 0)");
    let locked = sqlx::query_scalar(AssertSqlSafe(lock)).bind(&table.name);
    let locked: Option<i64> = locked.fetch_one(&mut connection).await.map_err(error)?;
    if locked != Some(1) {
        return Ok(Maintenance::Busy);
    }
    let Some(known) = registry::read(&mut connection, &table.name).await? else {
        return Ok(Maintenance::Done);
    };
    let new = Registered::new(dataset, table);
    // A definition that does not fit the table asks for nothing.
    let all = known.registered.merged_with(new, &table.name, STORE)?;
    if versions::lacks_room(&mut connection, table).await? {
        current.send_replace(Some(Structure::versions(&table.name)));
        info!(table = %table.name, "making room for longer versions");
        versions::make_room(&mut connection, table).await?;
        let small = means.small_table_rows;
        prepare::prepare(&mut connection, dataset, table, means.dialect, small).await?;
        connection.close().await.map_err(error)?;
        return Ok(Maintenance::Continues);
    }
    for index in &table.indexes {
        if !has_index(&mut connection, &table.name, &index_name(index)).await? {
            current.send_replace(Some(Structure::index(&index.field)));
            info!(table = %table.name, field = %index.field, "creating an index");
            make_indexes_of(
                &mut connection,
                table,
                slice::from_ref(index),
                means.dialect,
            )
            .await?;
            info!(table = %table.name, field = %index.field, "the index is created");
            connection.close().await.map_err(error)?;
            return Ok(Maintenance::Continues);
        }
    }
    if let Some(indexing) = &known.walks.indexing {
        current.send_replace(Some(Structure::search(&table.name, Some(indexing.rows))));
        let mut transaction = connection.begin().await.map_err(error)?;
        let mut entry = registry::lock(&mut transaction, &table.name, LaneLock::All).await?;
        if indexing.is_complete {
            entry.walks.indexing = None;
        } else {
            search::step(&mut transaction, table, &mut entry, means.step_rows).await?;
        }
        registry::save(&mut transaction, &table.name, &entry).await?;
        transaction.commit().await.map_err(error)?;
        connection.close().await.map_err(error)?;
        return Ok(Maintenance::Continues);
    }
    let mut totals = all.totals.iter();
    let missing = totals.find(|total| !known.registered.totals.contains(total));
    if let Some(total) = missing {
        let mut building = known.walks.building.iter();
        let rows = building.find(|building| building.total == *total);
        let rows = rows.map_or(0, |building| building.rows);
        current.send_replace(Some(Structure::totals(&total.name, Some(rows))));
        let step = build::step(
            &mut connection,
            means.pool,
            table,
            &known,
            total,
            means.dialect,
            means.step_rows,
        );
        step.await?;
    }
    connection.close().await.map_err(error)?;
    Ok(if missing.is_some() {
        Maintenance::Continues
    } else {
        Maintenance::Done
    })
}

/// Returns whether a session maintains the table.
pub(super) async fn is_locked(connection: &mut MySqlConnection, table: &Table) -> Result<bool> {
    let used = format!("SELECT IS_USED_LOCK({LOCK}) IS NOT NULL");
    let used = sqlx::query_scalar(AssertSqlSafe(used)).bind(&table.name);
    let used: i64 = used.fetch_one(connection).await.map_err(error)?;
    Ok(used == 1)
}

pub(super) async fn lacks_indexes(connection: &mut MySqlConnection, table: &Table) -> Result<bool> {
    for index in &table.indexes {
        if !has_index(connection, &table.name, &index_name(index)).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn make_indexes(
    connection: &mut MySqlConnection,
    table: &Table,
    dialect: Dialect,
) -> Result<()> {
    make_indexes_of(connection, table, &table.indexes, dialect).await
}

/// Creates the indexes that the table lacks. A long text has an index of a column with its beginning, as an index of
/// a prefix cannot sort rows.
async fn make_indexes_of(
    connection: &mut MySqlConnection,
    table: &Table,
    indexes: &[Index],
    dialect: Dialect,
) -> Result<()> {
    for index in indexes {
        let beginning = beginning_of(&index.field);
        if index.is_cut && !has_column(connection, &table.name, &beginning).await? {
            let add = dialect.add_beginning(table, index);
            if let Err(failure) = run_wide(connection, &add).await
                && !has_column(connection, &table.name, &beginning).await?
            {
                return Err(failure);
            }
        }
        let create = create_index(table, index);
        make_index(connection, table, &index_name(index), &create).await?;
    }
    Ok(())
}

/// Creates an index if it is missing. Another worker may be first.
pub(super) async fn make_index(
    connection: &mut MySqlConnection,
    table: &Table,
    index: &str,
    create: &str,
) -> Result<()> {
    if !has_index(connection, &table.name, index).await?
        && let Err(failure) = run(connection, create).await
        && !has_index(connection, &table.name, index).await?
    {
        return Err(failure);
    }
    Ok(())
}

async fn has_column(connection: &mut MySqlConnection, table: &str, name: &str) -> Result<bool> {
    let existing = columns(connection, table).await?;
    Ok(existing.iter().any(|column| column.name == name))
}

pub(super) async fn has_index(
    connection: &mut MySqlConnection,
    table: &str,
    index: &str,
) -> Result<bool> {
    let found: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM information_schema.statistics \
         WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?",
    )
    .bind(table)
    .bind(index)
    .fetch_one(connection)
    .await
    .map_err(error)?;
    Ok(found > 0)
}
