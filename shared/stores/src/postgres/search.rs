//! The words of existing rows, and the index of words.
//!
//! `pg_trgm` indexes the trigrams of words, which find their parts. Where the extension cannot be created, there is no
//! index: the result is the same, and a search reads all rows that its other conditions allow.

use landfall_domain::searched_words;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tracing::warn;

use super::maintain::drop_invalid_index;
use super::ranges;
use super::statement::{error, run};
use super::table::{name_for, quote};
use crate::error::Result;
use crate::registry::Entry;
use crate::schema::{Table, words_column};
use crate::walk::Range;

/// The maximum number of rows that get their words with one statement.
const BATCH: usize = 1_000;

/// The size of the list of entries that are not in the index yet, in KiB. Each search reads all of it, and with the
/// usual 4 MiB, that takes much longer than the rest.
const PENDING_KIB: u32 = 256;

/// Adds the words of all rows and creates the index, if the dataset has gained search.
pub(super) async fn complete(
    connection: &mut PgConnection,
    table: &Table,
    entry: &mut Entry,
) -> Result<()> {
    if entry.walks.indexing.take().is_none() {
        return Ok(());
    }
    let all = Range {
        condition: "true".to_owned(),
        next: None,
    };
    add_words(connection, table, &entry.registered.search, &all).await?;
    for (name, on) in indexes(connection, table, &entry.registered.search).await? {
        drop_invalid_index(connection, &name, "").await?;
        run(
            connection,
            format!("CREATE INDEX IF NOT EXISTS {name} {on}"),
        )
        .await?;
    }
    Ok(())
}

/// Adds the words of the next range of about so many rows, of a dataset that is locked.
pub(super) async fn step(
    connection: &mut PgConnection,
    table: &Table,
    entry: &mut Entry,
    rows: u64,
) -> Result<()> {
    let Some(mut indexing) = entry.walks.indexing.take() else {
        return Ok(());
    };
    let range = ranges::next(connection, &table.name, indexing.place.as_deref(), rows).await?;
    let added = add_words(connection, table, &entry.registered.search, &range).await?;
    indexing.advance(added, range.next);
    entry.walks.indexing = Some(indexing);
    Ok(())
}

/// Adds the words of the rows of a range that have none, and returns the number of these rows.
async fn add_words(
    connection: &mut PgConnection,
    table: &Table,
    fields: &[String],
    range: &Range,
) -> Result<u64> {
    let target = quote(&table.name);
    let mut number = 0;
    for field in fields {
        let (text, words) = (quote(field), quote(words_column(field).name));
        let select = format!(
            "SELECT t.ctid::text, t.{text} FROM {target} t \
             WHERE t.{words} IS NULL AND t.{text} IS NOT NULL AND {} LIMIT {BATCH}",
            range.condition
        );
        let update = format!(
            "UPDATE {target} t SET {words} = v.words \
             FROM unnest($1::tid[], $2::text[]) AS v (place, words) WHERE t.ctid = v.place"
        );
        loop {
            let select = sqlx::query(AssertSqlSafe(select.as_str())).persistent(false);
            let rows = select.fetch_all(&mut *connection).await.map_err(error)?;
            let mut places: Vec<String> = Vec::with_capacity(rows.len());
            let mut stored = Vec::with_capacity(rows.len());
            for row in &rows {
                places.push(row.try_get(0).map_err(error)?);
                stored.push(searched_words(row.try_get(1).map_err(error)?));
            }
            let update = sqlx::query(AssertSqlSafe(update.as_str())).persistent(false);
            let update = update.bind(places).bind(stored).execute(&mut *connection);
            let done = update.await.map_err(error)?.rows_affected();
            number += done;
            // Another program may have moved a row meanwhile.
            if rows.len() < BATCH || done == 0 {
                break;
            }
        }
    }
    Ok(number)
}

/// Returns the names of the indexes of words, and the rest of the statements that create them. Creates the extension
/// if it is missing and can be created.
pub(super) async fn indexes(
    connection: &mut PgConnection,
    table: &Table,
    fields: &[String],
) -> Result<Vec<(String, String)>> {
    let Some(schema) = schema_of_trigrams(connection).await? else {
        warn!(table = %table.name, "there is no index for search: create the extension pg_trgm, or let Landfall do so");
        return Ok(Vec::new());
    };
    let operators = format!("\"{}\".gin_trgm_ops", schema.replace('"', "\"\""));
    let on = |field: &String| {
        let words = quote(words_column(field).name);
        let on = format!(
            "ON {} USING gin ({words} {operators}) WITH (gin_pending_list_limit = {PENDING_KIB})",
            quote(&table.name)
        );
        (name_for("_search", &on), on)
    };
    Ok(fields.iter().map(on).collect())
}

/// Returns the schema of the extension, which may not be searched for names.
async fn schema_of_trigrams(connection: &mut PgConnection) -> Result<Option<String>> {
    let schema = "SELECT nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
         WHERE extname = 'pg_trgm'";
    // A failure ends the block only, not the transaction. Another session may be first.
    let create = "DO $$ BEGIN CREATE EXTENSION IF NOT EXISTS pg_trgm; \
         EXCEPTION WHEN OTHERS THEN NULL; END $$";
    let found = sqlx::query_scalar(schema)
        .fetch_optional(&mut *connection)
        .await;
    if let Some(found) = found.map_err(error)? {
        return Ok(Some(found));
    }
    run(connection, create).await?;
    let found = sqlx::query_scalar(schema)
        .fetch_optional(&mut *connection)
        .await;
    found.map_err(error)
}
