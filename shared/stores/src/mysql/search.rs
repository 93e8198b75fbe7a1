//! The words of existing rows.

use landfall_domain::searched_words;
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection, Row as _};

use super::dialect::quote;
use super::ranges;
use super::statement::error;
use crate::error::Result;
use crate::registry::Entry;
use crate::schema::{Table, words_column};
use crate::walk::Range;

/// The maximum number of rows that get their words with one statement.
const BATCH: usize = 64;
/// The maximum number of rows of a step: all writers wait for it.
const STEP_ROWS: u64 = 5_000;

/// Adds the words of all rows, of a dataset that is locked and has gained search.
pub(super) async fn complete(
    connection: &mut MySqlConnection,
    table: &Table,
    fields: &[String],
) -> Result<()> {
    let mut place = None;
    loop {
        let name = &table.name;
        let range = ranges::next(connection, table, name, place.as_deref(), STEP_ROWS).await?;
        add_words(connection, table, fields, &range).await?;
        place = range.next;
        if place.is_none() {
            return Ok(());
        }
    }
}

/// Adds the words of the next range of about so many rows, of a dataset that is locked.
pub(super) async fn step(
    connection: &mut MySqlConnection,
    table: &Table,
    entry: &mut Entry,
    rows: u64,
) -> Result<()> {
    let Some(mut indexing) = entry.walks.indexing.take() else {
        return Ok(());
    };
    let (place, rows) = (indexing.place.as_deref(), rows.min(STEP_ROWS));
    let range = ranges::next(connection, table, &table.name, place, rows).await?;
    let added = add_words(connection, table, &entry.registered.search, &range).await?;
    indexing.advance(added, range.next);
    entry.walks.indexing = Some(indexing);
    Ok(())
}

/// Adds the words of the rows of a range that have none, and returns the number of these rows.
async fn add_words(
    connection: &mut MySqlConnection,
    table: &Table,
    fields: &[String],
    range: &Range,
) -> Result<u64> {
    let target = quote(&table.name);
    let key = ranges::selected_key(table)?;
    let mut number = 0;
    for field in fields {
        let (text, words) = (quote(field), quote(words_column(field).name));
        let select = format!(
            "SELECT t.{text}, {key} FROM {target} t \
             WHERE t.{words} IS NULL AND t.{text} IS NOT NULL AND {}",
            range.condition
        );
        let found = connection
            .fetch_all(sqlx::raw_sql(AssertSqlSafe(select)))
            .await;
        let found = found.map_err(error)?;
        number += found.len() as u64;
        for batch in found.chunks(BATCH) {
            let (mut cases, mut keys, mut stored) = (Vec::new(), Vec::new(), Vec::new());
            for row in batch {
                let text: String = row.try_get_unchecked(0).map_err(error)?;
                let values = (1..=table.key.len()).map(|place| row.try_get_unchecked(place));
                let values: Vec<String> = values.collect::<Result<_, _>>().map_err(error)?;
                let is_key = ranges::is_key(table, &values)?;
                cases.push(format!(" WHEN {is_key} THEN ?"));
                keys.push(is_key);
                stored.push(searched_words(&text));
            }
            let update = format!(
                "UPDATE {target} t SET t.{words} = CASE{} ELSE t.{words} END WHERE {}",
                cases.concat(),
                keys.join(" OR ")
            );
            let mut update = sqlx::query(AssertSqlSafe(update)).persistent(false);
            for words in stored {
                update = update.bind(words);
            }
            update.execute(&mut *connection).await.map_err(error)?;
        }
    }
    Ok(number)
}
