//! The words of rows, and the index that finds them.
//!
//! The index is two tables of a dataset. `_search_<dataset>` has the key of each row by the digests of its words, which
//! are few bytes: other words with the same digest are only more candidates. `_words_<dataset>` has the words, by their
//! beginnings and parts. A word of a query is found in the one, and the beginning or part of a word through the other.
//!
//! Every transaction that writes rows writes the words that they lose and gain. The dictionary keeps words that no row
//! has any more: they find nothing.
//!
//! # Tried and given up
//!
//! - `FULLTEXT`: see [`crate::search`].
//! - Trigrams of all words with the keys of their rows: about five times as many entries as words.

mod candidates;
mod postings;
mod words;

use std::collections::BTreeSet;
use std::mem;

use landfall_domain::{Row, Value, searched_words};
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection, Row as _};

pub(super) use candidates::Sources;
pub(super) use postings::Postings;

use super::dialect::{Dialect, quote};
use super::existing::columns;
use super::ranges::{self, Key};
use super::statement::{error, run};
use crate::error::Result;
use crate::registry::Entry;
use crate::schema::{Table, list, words_column};
use crate::walk::Range;

/// The number of rows up to which their words are added at once.
pub(super) const SMALL_TABLE_ROWS: u64 = 20_000;

/// The maximum number of rows that get their words with one statement.
const BATCH: usize = 64;
/// The maximum number of rows of a step: all writers wait for it.
const STEP_ROWS: u64 = 1_000;
/// The size of a statement that inserts.
const INSERT_BYTES: usize = 1 << 20;

/// The beginning of the digest of a word.
type WordId = [u8; 6];

fn id_of(word: &str) -> WordId {
    let mut id = WordId::default();
    let length = id.len();
    id.copy_from_slice(&blake3::hash(word.as_bytes()).as_bytes()[..length]);
    id
}

fn postings_of(dataset: &str) -> String {
    quote(format!("_search_{dataset}"))
}

fn dictionary_of(dataset: &str) -> String {
    quote(format!("_words_{dataset}"))
}

/// Creates the tables of the index, unless they exist. What they have of a table that was dropped finds nothing.
pub(super) async fn create(
    connection: &mut MySqlConnection,
    table: &Table,
    dialect: Dialect,
) -> Result<()> {
    let (postings, id) = (postings_of(&table.name), size_of::<WordId>());
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {postings} (word binary({id}) NOT NULL, {}, PRIMARY KEY (word, {})) {options}; \
         CREATE TABLE IF NOT EXISTS {} (part varbinary({}) NOT NULL, word binary({id}) NOT NULL, \
         PRIMARY KEY (part, word)) {options}",
        dialect.key_columns(table),
        list(&table.key, ", ", quote),
        dictionary_of(&table.name),
        words::ENTRY_BYTES,
        options = dialect.options(),
    );
    let existing = columns(connection, &format!("_search_{}", table.name)).await?;
    let key = table
        .columns
        .iter()
        .filter(|column| table.key.contains(&column.name));
    let fits = |column: &crate::schema::Column| {
        let kind = dialect.type_of(table, column);
        existing
            .iter()
            .any(|there| there.name == column.name && there.sql_type.eq_ignore_ascii_case(&kind))
    };
    if !existing.is_empty() && !key.clone().all(fits) {
        run(connection, &format!("DROP TABLE {postings}")).await?;
    }
    run(connection, &create).await.map(drop)
}

/// Adds the words of rows to the dictionary. `first` is the place of the first words among the values of a row.
pub(super) async fn add_words(
    connection: &mut MySqlConnection,
    dataset: &str,
    rows: &[&Row],
    first: usize,
) -> Result<()> {
    let mut words = BTreeSet::new();
    for value in rows.iter().flat_map(|row| row.values.iter().skip(first)) {
        if let Value::Text(text) = value {
            words.extend(text.split_whitespace());
        }
    }
    words::add(connection, dataset, &words).await
}

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
        index(connection, table, fields, &range).await?;
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
    let added = index(connection, table, &entry.registered.search, &range).await?;
    indexing.advance(added, range.next);
    entry.walks.indexing = Some(indexing);
    Ok(())
}

/// Adds the words of the rows of a range that have none, and returns the number of these rows.
async fn index(
    connection: &mut MySqlConnection,
    table: &Table,
    fields: &[String],
    range: &Range,
) -> Result<u64> {
    let target = quote(&table.name);
    let key = Key::new(table)?;
    let selected = key.selected("t");
    let mut number = 0;
    for field in fields {
        let (text, words) = (quote(field), quote(words_column(field).name));
        let select = format!(
            "SELECT t.{text}, {selected} FROM {target} t \
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
            let mut literals = Vec::new();
            for row in batch {
                let text: String = row.try_get_unchecked(0).map_err(error)?;
                let values = (1..=table.key.len()).map(|place| row.try_get_unchecked(place));
                let values: Vec<String> = values.collect::<Result<_, _>>().map_err(error)?;
                let is_key = key.is(&values)?;
                cases.push(format!(" WHEN {is_key} THEN ?"));
                keys.push(is_key);
                literals.push(key.literals(&values)?);
                stored.push(searched_words(&text));
            }
            let update = format!(
                "UPDATE {target} t SET t.{words} = CASE{} ELSE t.{words} END WHERE {}",
                cases.concat(),
                keys.join(" OR ")
            );
            let mut update = sqlx::query(AssertSqlSafe(update)).persistent(false);
            for words in &stored {
                update = update.bind(words);
            }
            update.execute(&mut *connection).await.map_err(error)?;
            let all = stored.iter().flat_map(|words| words.split_whitespace());
            words::add(connection, &table.name, &all.collect()).await?;
            let rows = literals.into_iter().zip(&stored);
            postings::add_rows(connection, &table.name, rows).await?;
        }
    }
    Ok(number)
}

/// Statements that insert rows of literals, each of a limited size.
struct Inserts {
    begin: String,
    current: String,
    full: Vec<String>,
}

impl Inserts {
    /// `begin` ends with `VALUES`.
    fn new(begin: &str) -> Self {
        Self {
            begin: begin.to_owned(),
            current: String::new(),
            full: Vec::new(),
        }
    }

    fn push(&mut self, row: &str) {
        let separator = if self.current.is_empty() {
            self.begin.as_str()
        } else {
            ","
        };
        for part in [separator, "(", row, ")"] {
            self.current.push_str(part);
        }
        if self.current.len() >= INSERT_BYTES {
            self.full.push(mem::take(&mut self.current));
        }
    }

    async fn run(self, connection: &mut MySqlConnection) -> Result<()> {
        let last = (!self.current.is_empty()).then_some(self.current);
        for statement in self.full.into_iter().chain(last) {
            run(connection, &statement).await?;
        }
        Ok(())
    }
}
