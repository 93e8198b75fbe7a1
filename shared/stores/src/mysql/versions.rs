//! The versions of rows, which get longer if the dataset gets an `order`.

use sqlx::MySqlConnection;

use super::dialect;
use super::existing::columns;
use super::statement::run;
use crate::error::Result;
use crate::registry::tombstones_of;
use crate::schema::{ExistingColumn, Table, VERSION};

/// Returns whether the versions of a dataset with an `order` do not fit its table, or its tombstones.
pub(super) async fn lacks_room(connection: &mut MySqlConnection, table: &Table) -> Result<bool> {
    if table.order.is_none() {
        return Ok(false);
    }
    let needed = dialect::version_type(table);
    for name in [&table.name, &tombstones_of(&table.name)] {
        let existing = columns(connection, name).await?;
        let is_short = |column: &ExistingColumn| {
            let sql_type = &column.sql_type;
            column.name == VERSION && *sql_type != needed && dialect::is_version_type(sql_type)
        };
        if existing.iter().any(is_short) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes room for longer versions in an existing table, however big it is.
pub(super) async fn make_room(connection: &mut MySqlConnection, table: &Table) -> Result<()> {
    let mut existing = columns(connection, &table.name).await?;
    fit_versions(connection, table, &mut existing).await
}

/// Makes room for longer versions in an existing table and its tombstones if the dataset has got an `order`. The server
/// copies both, and waits for other writers. Room that is not needed is no mismatch: a worker may have stopped before
/// it registered the `order`.
pub(super) async fn fit_versions(
    connection: &mut MySqlConnection,
    table: &Table,
    existing: &mut [ExistingColumn],
) -> Result<()> {
    if existing.is_empty() {
        return Ok(());
    }
    let tombstones = tombstones_of(&table.name);
    if table.order.is_some() {
        let mut existing = columns(connection, &tombstones).await?;
        fit_version(connection, table, &tombstones, &mut existing).await?;
    }
    fit_version(connection, table, &table.name, existing).await
}

async fn fit_version(
    connection: &mut MySqlConnection,
    table: &Table,
    name: &str,
    existing: &mut [ExistingColumn],
) -> Result<()> {
    let version = existing.iter_mut().find(|column| column.name == VERSION);
    let Some(version) = version else {
        return Ok(());
    };
    let (needed, sql_type) = (dialect::version_type(table), &mut version.sql_type);
    if *sql_type == needed || !dialect::is_version_type(sql_type) {
        return Ok(());
    }
    if table.order.is_some() {
        run(connection, &dialect::widen_versions(table, name)).await?;
    }
    *sql_type = needed;
    Ok(())
}
