//! The index of searched fields: a table of FTS5 with the trigrams of their words, which triggers keep.
//!
//! The index stores neither the words nor their positions: it only finds candidates. Words are deleted from it with the
//! values that they were added with, so both triggers leave out the same rows.

use landfall_domain::searched_words;
use rusqlite::Transaction;
use rusqlite::types::Value;

use super::error::unavailable;
use super::registry;
use super::table::quote;
use crate::error::{Result, SEARCH_CHANGED};
use crate::registry::Entry;
use crate::schema::{Table, list, words_column};

/// Returns the quoted name of the index.
pub(super) fn index(dataset: &str) -> String {
    quote(format!("_search_{dataset}"))
}

/// Returns the searched fields of a dataset.
pub(super) fn fields(transaction: &Transaction<'_>, dataset: &str) -> Result<Vec<String>> {
    registry::make(transaction)?;
    let entry = registry::read(transaction, dataset)?;
    Ok(entry
        .map(|entry| entry.registered.search)
        .unwrap_or_default())
}

/// Fails unless the rows of a chunk have the words of the registered fields.
pub(super) fn check(table: &Table, entry: &Entry) -> Result<()> {
    if entry.registered.search == table.search {
        return Ok(());
    }
    Err(unavailable(SEARCH_CHANGED))
}

/// Deletes the index of a table that is gone.
pub(super) fn forget(transaction: &Transaction<'_>, table: &Table) -> Result<()> {
    let drop = format!("DROP TABLE IF EXISTS {}", index(&table.name));
    Ok(transaction.execute_batch(&drop)?)
}

/// Creates the index and its triggers, and adds the words of existing rows.
pub(super) fn make(transaction: &Transaction<'_>, table: &Table, fields: &[String]) -> Result<()> {
    let (target, index) = (quote(&table.name), index(&table.name));
    let columns: Vec<String> = fields
        .iter()
        .map(|field| quote(words_column(field).name))
        .collect();
    let of = |row: &str| list(&columns, ", ", |column| format!("{row}.{column}"));
    let has_words = |row: &str| {
        list(&columns, " OR ", |column| {
            format!("{row}.{column} IS NOT NULL")
        })
    };
    let names = columns.join(", ");
    let is_changed = list(&columns, " OR ", |column| {
        format!("old.{column} IS NOT new.{column}")
    });
    let trigger = |event: &str| quote(format!("_search_{event}_{}", table.name));
    let add = format!(
        "INSERT INTO {index} (rowid, {names}) SELECT new._rowid_, {} WHERE {}",
        of("new"),
        has_words("new")
    );
    let remove = format!(
        "INSERT INTO {index} ({index}, rowid, {names}) SELECT 'delete', old._rowid_, {} WHERE {}",
        of("old"),
        has_words("old")
    );
    let create = format!(
        "CREATE VIRTUAL TABLE {index} USING fts5({names}, content='', columnsize=0, detail=none, \
             tokenize='trigram case_sensitive 1');
         CREATE TRIGGER {} AFTER INSERT ON {target} BEGIN {add}; END;
         CREATE TRIGGER {} AFTER DELETE ON {target} BEGIN {remove}; END;
         CREATE TRIGGER {} AFTER UPDATE OF {names} ON {target} WHEN {is_changed} \
             BEGIN {remove}; {add}; END;",
        trigger("insert"),
        trigger("delete"),
        trigger("update"),
    );
    transaction.execute_batch(&create)?;
    add_words(transaction, &target, fields)
}

fn add_words(transaction: &Transaction<'_>, target: &str, fields: &[String]) -> Result<()> {
    let texts = list(fields, ", ", quote);
    let set = list(fields, ", ", |field| {
        format!("{} = ?", quote(words_column(field).name))
    });
    let mut select = transaction.prepare(&format!(
        "SELECT _rowid_, {texts} FROM {target} WHERE _rowid_ > ? ORDER BY _rowid_ LIMIT 1000"
    ))?;
    let mut update =
        transaction.prepare(&format!("UPDATE {target} SET {set} WHERE _rowid_ = ?"))?;
    let mut last = i64::MIN;
    loop {
        let rows = select.query_map([last], |row| {
            let words = (1..=fields.len()).map(|field| {
                let text: Option<String> = row.get(field)?;
                let words = text.map(|text| searched_words(&text));
                Ok(words.map_or(Value::Null, Value::Text))
            });
            Ok((row.get(0)?, words.collect::<rusqlite::Result<Vec<_>>>()?))
        })?;
        let rows: Vec<(i64, Vec<Value>)> = rows.collect::<rusqlite::Result<_>>()?;
        let Some((end, _)) = rows.last() else {
            return Ok(());
        };
        last = *end;
        for (id, mut words) in rows {
            words.push(Value::Integer(id));
            update.execute(rusqlite::params_from_iter(words))?;
        }
    }
}
