//! Indexes: those that a dataset defines, and those for the extremes of totals.

use std::slice;

use landfall_domain::Dataset;
use sqlx::mysql::MySqlPool;
use sqlx::{Connection as _, MySqlConnection};
use tracing::info;

use super::dialect::{Dialect, beginning_of, create_index, index_name};
use super::existing::columns;
use super::prepare::run_wide;
use super::statement::{STORE, error, run};
use super::{build, registry};
use crate::error::Result;
use crate::maintenance::Maintenance;
use crate::registry::Registered;
use crate::schema::{Index, Table};

/// Creates one index that the table lacks, while writers go on where the server can do that, or takes a step to build
/// totals. One session at a time: its lock ends with it.
pub(super) async fn maintain(
    mut connection: MySqlConnection,
    dataset: &Dataset,
    table: &Table,
    (pool, dialect, step_rows): (&MySqlPool, Dialect, u64),
) -> Result<Maintenance> {
    let lock = "SELECT GET_LOCK(SHA1(CONCAT(DATABASE(), '/', ?)), 0)";
    let locked = sqlx::query_scalar(lock).bind(&table.name);
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
    for index in &table.indexes {
        if !has_index(&mut connection, &table.name, &index_name(index)).await? {
            info!(table = %table.name, field = %index.field, "creating an index");
            make_indexes_of(&mut connection, table, slice::from_ref(index), dialect).await?;
            info!(table = %table.name, field = %index.field, "the index is created");
            connection.close().await.map_err(error)?;
            return Ok(Maintenance::Continues);
        }
    }
    let mut totals = all.totals.iter();
    let missing = totals.find(|total| !known.registered.totals.contains(total));
    if let Some(total) = missing {
        let step = build::step(
            &mut connection,
            pool,
            table,
            &known,
            total,
            dialect,
            step_rows,
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
