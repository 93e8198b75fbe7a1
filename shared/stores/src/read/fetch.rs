//! Reading through `sqlx`.

use futures::TryStreamExt as _;
use landfall_domain::Value;
use sqlx::{
    AssertSqlSafe, ColumnIndex, Database, Decode, Executor, IntoArguments, Pool, Row, Type,
};

use super::StoredRow;
use super::page::PageBuilder;
use super::statement::{ReadTable, Statement};

/// A database of `sqlx` that rows are read from.
pub(crate) trait ReadRows: Database {
    fn arguments(values: Vec<Value>) -> Result<Self::Arguments, sqlx::Error>;

    fn stored(table: &ReadTable, row: &Self::Row) -> Result<StoredRow, sqlx::Error>;
}

/// Adds the rows of a statement until the page is full.
pub(crate) async fn fetch<D>(
    pool: &Pool<D>,
    table: &ReadTable,
    statement: Statement,
    mut page: PageBuilder,
) -> Result<PageBuilder, sqlx::Error>
where
    D: ReadRows,
    D::Arguments: IntoArguments<D>,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    let arguments = D::arguments(statement.values)?;
    let mut rows = sqlx::query_with(AssertSqlSafe(statement.sql), arguments).fetch(pool);
    while let Some(row) = rows.try_next().await? {
        if !page.push(D::stored(table, &row)?) {
            break;
        }
    }
    Ok(page)
}

/// Runs a statement that counts, and returns its number.
pub(crate) async fn count<D>(pool: &Pool<D>, statement: Statement) -> Result<i64, sqlx::Error>
where
    D: ReadRows,
    D::Arguments: IntoArguments<D>,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    for<'r> i64: Decode<'r, D> + Type<D>,
    usize: ColumnIndex<D::Row>,
{
    let arguments = D::arguments(statement.values)?;
    let count = sqlx::query_with(AssertSqlSafe(statement.sql), arguments);
    count.fetch_one(pool).await?.try_get(0)
}
