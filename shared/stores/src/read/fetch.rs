//! Reading through `sqlx`.

use futures::TryStreamExt as _;
use landfall_domain::{FieldType, Value};
use sqlx::{
    AssertSqlSafe, ColumnIndex, Database, Decode, Error, Executor, IntoArguments, Pool, Row, Type,
    ValueRef as _,
};

use super::StoredRow;
use super::key_versions::VersionColumns;
use super::page::PageBuilder;
use super::statement::{ReadTable, Statement};
use crate::text::without_zeros;

/// A database of `sqlx` that rows are read from.
pub(crate) trait ReadRows: Database {
    fn arguments(values: Vec<Value>) -> Result<Self::Arguments, Error>;

    fn stored(table: &ReadTable, row: &Self::Row) -> Result<StoredRow, Error>;
}

/// Reads a value of a column of this type. `time` reads a date or timestamp that is not null.
///
/// Unchecked: the type of `MySQL`'s key texts may be binary.
pub(crate) fn value<R: Row>(
    kind: FieldType,
    row: &R,
    at: usize,
    time: impl FnOnce() -> Result<Value, Error>,
) -> Result<Value, Error>
where
    usize: ColumnIndex<R>,
    for<'r> &'r str: Decode<'r, R::Database>,
    for<'r> String: Decode<'r, R::Database>,
    for<'r> i64: Decode<'r, R::Database>,
    for<'r> f64: Decode<'r, R::Database>,
    for<'r> bool: Decode<'r, R::Database>,
{
    if row.try_get_raw(at)?.is_null() {
        return Ok(Value::Null);
    }
    Ok(match kind {
        FieldType::Text => Value::Text(row.try_get_unchecked::<&str, _>(at)?.into()),
        FieldType::Json => Value::Json(row.try_get_unchecked(at)?),
        FieldType::Integer => Value::Integer(row.try_get_unchecked(at)?),
        FieldType::Float => Value::Float(row.try_get_unchecked(at)?),
        FieldType::Boolean => Value::Boolean(row.try_get_unchecked(at)?),
        FieldType::Decimal => parsed(kind, without_zeros(row.try_get_unchecked(at)?))?,
        FieldType::Date | FieldType::Timestamp => time()?,
    })
}

/// Parses a value that the server sent as text.
pub(crate) fn parsed(kind: FieldType, text: &str) -> Result<Value, Error> {
    Value::from_text(kind, text).map_err(|_| unreadable())
}

pub(crate) fn unreadable() -> Error {
    Error::Decode("a value does not have its column's type".into())
}

/// Adds the rows of a statement until the page is full.
pub(crate) async fn fetch<D>(
    pool: &Pool<D>,
    table: &ReadTable,
    statement: Statement,
    mut page: PageBuilder,
) -> Result<PageBuilder, Error>
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
pub(crate) async fn count<D>(pool: &Pool<D>, statement: Statement) -> Result<i64, Error>
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

/// Runs a statement that selects the versions of a key.
///
/// Unchecked: the types of versions differ, and a null has none.
pub(crate) async fn versions<D>(
    pool: &Pool<D>,
    statement: Statement,
) -> Result<Vec<VersionColumns>, Error>
where
    D: ReadRows,
    D::Arguments: IntoArguments<D>,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    for<'r> Vec<u8>: Decode<'r, D> + Type<D>,
    for<'r> String: Decode<'r, D> + Type<D>,
    usize: ColumnIndex<D::Row>,
{
    let arguments = D::arguments(statement.values)?;
    let select = sqlx::query_with(AssertSqlSafe(statement.sql), arguments);
    let rows = select.fetch_all(pool).await?;
    let columns = |row: &D::Row| {
        Ok((
            row.try_get_unchecked(0)?,
            row.try_get_unchecked(1)?,
            row.try_get_unchecked(2)?,
        ))
    };
    rows.iter().map(columns).collect()
}
