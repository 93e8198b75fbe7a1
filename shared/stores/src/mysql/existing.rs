//! The columns of existing tables.

use sqlx::MySqlConnection;

use super::statement::{STORE, error};
use crate::error::{Result, StoreError};
use crate::schema::ExistingColumn;

/// A column: its name, type, collation, whether it belongs to the primary key, and its place there from 1.
type Found = (String, String, Option<String>, bool, Option<i64>);

/// Returns the columns of a table, or nothing if there is no table.
pub(super) async fn columns(
    connection: &mut MySqlConnection,
    table: &str,
) -> Result<Vec<ExistingColumn>> {
    let found: Vec<Found> = sqlx::query_as(
        "SELECT CAST(c.column_name AS CHAR), CAST(c.column_type AS CHAR), \
         CAST(c.collation_name AS CHAR), c.column_key = 'PRI', CAST(k.seq_in_index AS SIGNED) \
         FROM information_schema.columns c LEFT JOIN information_schema.statistics k \
         ON k.table_schema = c.table_schema AND k.table_name = c.table_name \
         AND k.column_name = c.column_name AND k.index_name = 'PRIMARY' \
         WHERE c.table_schema = DATABASE() AND c.table_name = ? ORDER BY c.ordinal_position",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .map_err(error)?;
    // The server reads the two at different moments. Between them, another worker may have created the table.
    if found
        .iter()
        .any(|(.., in_key, place)| *in_key && place.is_none())
    {
        let reason = "the table was created or dropped while it was looked at";
        return Err(StoreError::contended(STORE, reason));
    }
    let columns = found
        .into_iter()
        .map(|(name, mut sql_type, collation, _, place)| {
            // Older servers show a meaningless width.
            if sql_type.starts_with("bigint(") {
                "bigint".clone_into(&mut sql_type);
            }
            if let Some(collation) = collation {
                sql_type = format!("{sql_type} collate {collation}");
            }
            ExistingColumn {
                name,
                sql_type,
                key_place: place.and_then(|place| usize::try_from(place - 1).ok()),
            }
        });
    Ok(columns.collect())
}
