//! The words of searched fields, which SQL stores keep beside the rows.
//!
//! Each searched field has a column `_search_<field>` with its words, in a form that `landfall_domain` creates. It is
//! written by the statement that writes the field, so a row is found once it is stored, and is gone with it. A query is
//! a condition on these columns, the same for every database. An index only finds candidates:
//!
//! | | form | index |
//! |---|---|---|
//! | PostgreSQL | words | GIN of trigrams, by the extension `pg_trgm`; without it, none |
//! | MySQL, MariaDB | parts of words | `FULLTEXT` in boolean mode |
//! | SQLite | words | FTS5 of trigrams, which triggers keep |
//!
//! The registry has the searched fields. Every chunk stores their words, whatever its definition is: under its lock, it
//! compares the fields that it has words of with the registered ones.
//!
//! If a dataset gains search, writers store words from then on. Those of existing rows are added at once in a small
//! table, and by maintenance in a big one: in steps, before the index is created. Until then, queries fail with
//! [`StoreError::Indexing`](crate::StoreError::Indexing).

use landfall_domain::{Dataset, Row, SearchForm, StoreKind, Value};

use crate::schema::searched;

/// Returns the form in which a store keeps words, if it can be searched.
pub(crate) fn search_form(store: StoreKind) -> Option<SearchForm> {
    match store {
        StoreKind::Postgres | StoreKind::Sqlite => Some(SearchForm::Words),
        StoreKind::Mysql => Some(SearchForm::Parts),
        StoreKind::Mongodb => None,
    }
}

/// Returns rows with the words of these fields after their values.
pub(crate) fn with_words(
    dataset: &Dataset,
    search: &[String],
    form: SearchForm,
    rows: &[Row],
) -> Vec<Row> {
    let with_words = |row: &Row| {
        let mut row = row.clone();
        for (field, _) in searched(dataset, search) {
            let words = match &row.values[field] {
                Value::Text(text) => Value::Text(form.stored(text).as_str().into()),
                _ => Value::Null,
            };
            row.values.push(words);
        }
        row
    };
    rows.iter().map(with_words).collect()
}
