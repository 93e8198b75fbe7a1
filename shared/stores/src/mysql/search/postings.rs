//! Which rows have a word: what a write changes of it, before it writes.
//!
//! The words that a row loses and gains are computed here from the stored words and the new ones. Stored words are read
//! in parts of bounded size, and nothing is written for rows whose words stay the same.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use landfall_domain::Value;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection, Row as _};

use super::super::columns::Updates;
use super::super::dialect::{BY_KEY, Dialect, name_for, quote, same_key};
use super::super::ranges::Key;
use super::super::statement::{error, run, unavailable};
use super::super::write::Chunk;
use super::{Inserts, WordId, id_of, postings_of};
use crate::error::Result;
use crate::schema::{Table, VERSION, list, searched, words_column};
use crate::sql::Below;

/// The size of what is computed before it is written.
const PENDING_BYTES: usize = 8 << 20;

/// The words of a row after a write.
enum After<'a> {
    /// Those of the row of the chunk whose index follows the stored words, except if that key was deleted by a newer
    /// row.
    Chunk(&'a Chunk<'a>, &'a [bool]),
    /// Those that follow the stored words.
    Selected,
    Gone,
}

/// The statements that keep the postings of a dataset.
pub(in super::super) struct Postings {
    table: Table,
    fields: Vec<String>,
    pub(in super::super) create_removed: String,
    removed: String,
    remove: String,
}

impl Postings {
    /// `fields` are the registered searched fields.
    pub(in super::super) fn new(table: &Table, fields: &[String], dialect: Dialect) -> Self {
        let definition = format!(
            "(word binary({}) NOT NULL, {}, PRIMARY KEY (word, {})) {}",
            size_of::<WordId>(),
            dialect.key_columns(table),
            list(&table.key, ", ", quote),
            dialect.options()
        );
        let removed = quote(name_for("_removed", &definition));
        Self {
            create_removed: format!("CREATE TEMPORARY TABLE IF NOT EXISTS {removed} {definition}"),
            remove: format!(
                "DELETE p FROM {removed} r STRAIGHT_JOIN {} p {BY_KEY} ON p.word = r.word AND {}",
                postings_of(&table.name),
                same_key(table, "p", "r")
            ),
            removed,
            table: table.clone(),
            fields: fields.to_vec(),
        }
    }

    /// Before the staged rows of a chunk are upserted. `has_deleted_key` says of each row whether it is left out.
    pub(in super::super) async fn upsert(
        &self,
        connection: &mut MySqlConnection,
        chunk: &Chunk<'_>,
        has_deleted_key: &[bool],
    ) -> Result<()> {
        let select = format!(
            "SELECT {}, k._row FROM {} k LEFT JOIN {} t {BY_KEY} ON {} \
             WHERE NOT k._deletes AND (t.{VERSION} IS NULL OR t.{VERSION} < k.{VERSION}) ORDER BY k._row",
            self.selected("k")?,
            chunk.statements.keys.name,
            quote(&self.table.name),
            same_key(&self.table, "t", "k"),
        );
        let after = After::Chunk(chunk, has_deleted_key);
        self.replace(connection, &select, &after).await
    }

    /// Before the staged updates of columns are written.
    pub(in super::super) async fn update(
        &self,
        connection: &mut MySqlConnection,
        updates: &Updates,
    ) -> Result<()> {
        let select = format!(
            "SELECT {}, {} FROM {} ORDER BY {}",
            self.selected("u")?,
            updates.words.join(", "),
            updates.rows,
            list(&self.table.key, ", ", |name| format!("u.{}", quote(name)))
        );
        self.replace(connection, &select, &After::Selected).await
    }

    /// Before the staged keys are deleted.
    pub(in super::super) async fn delete(
        &self,
        connection: &mut MySqlConnection,
        chunk: &Chunk<'_>,
    ) -> Result<()> {
        let select = format!(
            "SELECT {} FROM {} k STRAIGHT_JOIN {} t {BY_KEY} ON {} \
             WHERE k._deletes AND t.{VERSION} < k.{VERSION} ORDER BY k._row",
            self.selected("k")?,
            chunk.statements.keys.name,
            quote(&self.table.name),
            same_key(&self.table, "t", "k"),
        );
        self.replace(connection, &select, &After::Gone).await
    }

    /// Before the rows of a range that are below a floor are deleted.
    pub(in super::super) async fn prune(
        &self,
        connection: &mut MySqlConnection,
        below: &Below<'_>,
    ) -> Result<()> {
        let Below { floor, condition } = below;
        let select = format!(
            "SELECT {} FROM {} t {BY_KEY} WHERE t.{VERSION} < x'{floor}' AND {condition} ORDER BY {}",
            self.selected("t")?,
            quote(&self.table.name),
            list(&self.table.key, ", ", |name| format!("t.{}", quote(name)))
        );
        self.replace(connection, &select, &After::Gone).await
    }

    /// Returns the expressions of the key of an alias, and of the stored words.
    fn selected(&self, alias: &str) -> Result<String> {
        let words = list(&self.fields, ", ", |field| {
            format!("t.{}", quote(words_column(field).name))
        });
        Ok(format!(
            "{}, {words}",
            Key::new(&self.table)?.selected(alias)
        ))
    }

    async fn replace(
        &self,
        connection: &mut MySqlConnection,
        select: &str,
        after: &After<'_>,
    ) -> Result<()> {
        let mut done = 0;
        loop {
            let mut pending = Pending::default();
            let some = format!("{select} LIMIT {} OFFSET {done}", i64::MAX);
            let mut rows = connection.fetch(sqlx::raw_sql(AssertSqlSafe(some)));
            let mut is_last = true;
            while let Some(row) = rows.try_next().await.map_err(error)? {
                done += 1;
                self.note(&mut pending, &row, after)?;
                if pending.bytes >= PENDING_BYTES {
                    is_last = false;
                    break;
                }
            }
            drop(rows);
            self.write(connection, pending).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn note(&self, pending: &mut Pending, row: &MySqlRow, after: &After<'_>) -> Result<()> {
        let keys = self.table.key.len();
        let rest = keys + self.fields.len();
        let words = |place: usize| {
            row.try_get_unchecked::<Option<&str>, _>(place)
                .map_err(error)
        };
        let stored = (keys..rest).map(words).collect::<Result<Vec<_>>>()?;
        let new = match after {
            After::Gone => Vec::new(),
            After::Selected => {
                let places = rest..rest + self.fields.len();
                places.map(words).collect::<Result<_>>()?
            }
            After::Chunk(chunk, has_deleted_key) => {
                let place: u32 = row.try_get_unchecked(rest).map_err(error)?;
                let place = place as usize;
                if has_deleted_key.get(place) == Some(&true) {
                    return Ok(());
                }
                self.words_after(chunk, place, &stored)?
            }
        };
        if stored == new {
            return Ok(());
        }
        let (stored, new) = (ids(&stored), ids(&new));
        if stored == new {
            return Ok(());
        }
        let values = (0..keys).map(|place| row.try_get_unchecked(place));
        let values: Vec<String> = values.collect::<Result<_, _>>().map_err(error)?;
        let key = Key::new(&self.table)?.literals(&values)?;
        pending.add(key, stored.difference(&new), new.difference(&stored));
        Ok(())
    }

    /// Returns the words of a row once it is written. A definition may lack searched fields, whose words stay.
    fn words_after<'w>(
        &self,
        chunk: &Chunk<'w>,
        place: usize,
        stored: &[Option<&'w str>],
    ) -> Result<Vec<Option<&'w str>>> {
        let row = chunk.rows.get(place).copied();
        let row = row.ok_or_else(|| unavailable("an unknown row"))?;
        let mut new = stored.to_vec();
        let first = chunk.dataset.fields.len();
        for (at, (_, name)) in searched(chunk.dataset, &chunk.table.search).enumerate() {
            let words = match row.values.get(first + at) {
                Some(Value::Text(words)) => Some(words.as_str()),
                _ => None,
            };
            for (field, new) in self.fields.iter().zip(&mut new) {
                if field == name {
                    *new = words;
                }
            }
        }
        Ok(new)
    }

    async fn write(&self, connection: &mut MySqlConnection, mut pending: Pending) -> Result<()> {
        pending.removed.sort_unstable();
        pending.added.sort_unstable();
        if !pending.removed.is_empty() {
            run(connection, &format!("DELETE FROM {}", self.removed)).await?;
            let mut inserts = Inserts::new(&format!("INSERT INTO {} VALUES ", self.removed));
            pending.insert(&pending.removed, &mut inserts);
            inserts.run(connection).await?;
            run(connection, &self.remove).await?;
        }
        add(connection, &self.table.name, &pending).await
    }
}

async fn add(connection: &mut MySqlConnection, dataset: &str, pending: &Pending) -> Result<()> {
    let begin = format!("INSERT IGNORE INTO {} VALUES ", postings_of(dataset));
    let mut inserts = Inserts::new(&begin);
    pending.insert(&pending.added, &mut inserts);
    inserts.run(connection).await
}

fn ids(words: &[Option<&str>]) -> BTreeSet<WordId> {
    let words = words.iter().flatten();
    words
        .flat_map(|words| words.split_whitespace())
        .map(id_of)
        .collect()
}

/// What is to be written.
#[derive(Default)]
struct Pending {
    /// Literals of the keys of rows, in their order.
    keys: Vec<String>,
    removed: Vec<(WordId, usize)>,
    added: Vec<(WordId, usize)>,
    bytes: usize,
}

impl Pending {
    fn add<'w>(
        &mut self,
        key: String,
        removed: impl Iterator<Item = &'w WordId>,
        added: impl Iterator<Item = &'w WordId>,
    ) {
        let place = self.keys.len();
        let before = self.removed.len() + self.added.len();
        self.bytes += key.len() + size_of::<String>();
        self.keys.push(key);
        self.removed.extend(removed.map(|word| (*word, place)));
        self.added.extend(added.map(|word| (*word, place)));
        let words = self.removed.len() + self.added.len() - before;
        self.bytes += words * size_of::<(WordId, usize)>();
    }

    fn insert(&self, words: &[(WordId, usize)], inserts: &mut Inserts) {
        for (word, place) in words {
            inserts.push(&format!("x'{}',{}", hex::encode(word), self.keys[*place]));
        }
    }
}

/// Adds the words of rows, given by the literals of their keys, that have none yet.
pub(super) async fn add_rows(
    connection: &mut MySqlConnection,
    dataset: &str,
    rows: impl Iterator<Item = (String, &String)>,
) -> Result<()> {
    let mut pending = Pending::default();
    for (key, words) in rows {
        pending.add(key, [].iter(), ids(&[Some(words)]).iter());
    }
    pending.added.sort_unstable();
    add(connection, dataset, &pending).await
}
