//! The dictionary: the words that rows have or had, by their beginnings and parts.
//!
//! A word has an entry with a space before it, and one for each of its ends of three characters and more. So the words
//! that begin with a text are in a range of the primary key, and those that contain it in another one. Entries are only
//! added. They are committed before the rows that need them, each for itself, so that writers do not wait for words of
//! each other's rows.

use std::collections::{BTreeSet, HashSet};

use landfall_domain::parts_of_word;
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection, Row as _};

use super::super::statement::error;
use super::{Inserts, WordId, dictionary_of, id_of};
use crate::error::Result;

/// The maximum number of bytes of a part in an entry. The rest of a longer part is compared with the words of the rows.
pub(super) const PART_BYTES: usize = 24;
/// The maximum number of bytes of an entry's part, which may be followed by the id of a word.
pub(super) const ENTRY_BYTES: usize = PART_BYTES + size_of::<WordId>();

/// The maximum number of words that are looked up with one statement: MariaDB makes a table of 1,000 values.
const LOOKED_UP: usize = 900;

/// Returns the beginning of a text that entries have.
pub(super) fn cut(text: &str) -> &[u8] {
    let bytes = text.as_bytes();
    &bytes[..bytes.len().min(PART_BYTES)]
}

/// Returns the text whose range has the words that begin with this one.
pub(super) fn beginning(word: &str) -> String {
    format!(" {word}")
}

/// Returns the entry of the beginning of a word, which no other word has.
fn own_entry(word: &str) -> Vec<u8> {
    let text = beginning(word);
    let mut entry = cut(&text).to_vec();
    if text.len() > PART_BYTES {
        entry.extend(id_of(word));
    }
    entry
}

/// Adds the words that the dictionary of a dataset lacks.
pub(in super::super) async fn add(
    connection: &mut MySqlConnection,
    dataset: &str,
    words: &BTreeSet<&str>,
) -> Result<()> {
    let words: Vec<(Vec<u8>, &str)> = words.iter().map(|word| (own_entry(word), *word)).collect();
    let mut missing = Vec::new();
    for some in words.chunks(LOOKED_UP) {
        let known = known(connection, dataset, some).await?;
        missing.extend(some.iter().filter(|(entry, _)| !known.contains(entry)));
    }
    let mut parts = BTreeSet::new();
    for (_, word) in &missing {
        let id = id_of(word);
        // The entry of the beginning has the whole word.
        let rest = parts_of_word(word).skip(1);
        parts.extend(rest.map(|part| (cut(part), id)));
    }
    // A word is known once it has all its entries, so that of its beginning comes last.
    let begin = format!("INSERT IGNORE INTO {} VALUES ", dictionary_of(dataset));
    let mut inserts = Inserts::new(&begin);
    for (part, id) in parts {
        inserts.push(&format!("x'{}',x'{}'", hex::encode(part), hex::encode(id)));
    }
    inserts.run(connection).await?;
    let mut inserts = Inserts::new(&begin);
    for (entry, word) in missing {
        let id = hex::encode(id_of(word));
        inserts.push(&format!("x'{}',x'{id}'", hex::encode(entry)));
    }
    inserts.run(connection).await
}

/// Returns which of these entries there are.
async fn known(
    connection: &mut MySqlConnection,
    dataset: &str,
    words: &[(Vec<u8>, &str)],
) -> Result<HashSet<Vec<u8>>> {
    let entries = crate::schema::list(words, ",", |(entry, _)| {
        format!("x'{}'", hex::encode(entry))
    });
    let select = format!(
        "SELECT part FROM {} WHERE part IN ({entries})",
        dictionary_of(dataset)
    );
    let found = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(select)));
    let found = found.await.map_err(error)?;
    let entry = |row: &sqlx::mysql::MySqlRow| row.try_get_unchecked(0);
    found
        .iter()
        .map(entry)
        .collect::<Result<_, _>>()
        .map_err(error)
}
