//! The columns of existing tables.

use sqlx::MySqlConnection;

use super::statement::error;
use crate::error::Result;
use crate::schema::ExistingColumn;

/// Returns the columns of a table, or nothing if there is no table.
pub(super) async fn columns(
    connection: &mut MySqlConnection,
    table: &str,
) -> Result<Vec<ExistingColumn>> {
    let found: Vec<(String, String, Option<String>, Option<i64>)> = sqlx::query_as(
        "SELECT CAST(c.column_name AS CHAR), CAST(c.column_type AS CHAR), \
         CAST(c.collation_name AS CHAR), CAST(k.seq_in_index AS SIGNED) \
         FROM information_schema.columns c LEFT JOIN information_schema.statistics k \
         ON k.table_schema = c.table_schema AND k.table_name = c.table_name \
         AND k.column_name = c.column_name AND k.index_name = 'PRIMARY' \
         WHERE c.table_schema = DATABASE() AND c.table_name = ? ORDER BY c.ordinal_position",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .map_err(error)?;
    let columns = found
        .into_iter()
        .map(|(name, mut sql_type, collation, place)| {
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
