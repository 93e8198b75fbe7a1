//! The words of searched fields, which SQL stores keep beside the rows.
//!
//! Each searched field has a column `_search_<field>` with its words, as `landfall_domain` defines them. It is written
//! by the statement that writes the field, so a row is found once it is stored, and is gone with it. A query is a
//! condition on these columns, the same for every database. An index only finds candidates:
//!
//! | | index |
//! |---|---|
//! | PostgreSQL | GIN of trigrams, by the extension `pg_trgm`; without it, none |
//! | MySQL, MariaDB | two tables of the words, which the writer keeps: `mysql::search` |
//! | SQLite | FTS5 of trigrams, which triggers keep |
//!
//! The registry has the searched fields. Every chunk stores their words, whatever its definition is: under its lock, it
//! compares the fields that it has words of with the registered ones.
//!
//! If a dataset gains search, writers store words from then on. Those of existing rows are added at once in a small
//! table, and by maintenance in a big one: in steps, before the index is created. Until then, queries fail with
//! [`StoreError::Indexing`](crate::StoreError::Indexing).
//!
//! # Tried and given up
//!
//! In MariaDB, a `FULLTEXT` index of the trigrams as words found candidates within milliseconds. But the server
//! (10.11.19) crashed when connections searched while others wrote: an assertion failed where a query reads the list of
//! an entry (`row0sel.cc`, *Failing assertion: data*).

use landfall_domain::{Dataset, Row, StoreKind, Value, searched_words};

use crate::schema::searched;

/// Returns whether a store can be searched.
pub(crate) fn can_search(store: StoreKind) -> bool {
    store != StoreKind::Mongodb
}

/// Returns rows with the words of these fields after their values.
pub(crate) fn with_words(dataset: &Dataset, search: &[String], rows: &[Row]) -> Vec<Row> {
    let with_words = |row: &Row| {
        let mut row = row.clone();
        for (field, _) in searched(dataset, search) {
            let words = match &row.values[field] {
                Value::Text(text) => Value::Text(searched_words(text).as_str().into()),
                _ => Value::Null,
            };
            row.values.push(words);
        }
        row
    };
    rows.iter().map(with_words).collect()
}
