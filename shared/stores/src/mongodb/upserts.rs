//! Writing the rows of one batch.

use std::cmp::Ordering;

use landfall_domain::StoreCounts;
use mongodb::Database;
use mongodb::bson::{RawArrayBuf, RawDocumentBuf, cstr, rawdoc};
use mongodb::error::ErrorKind;

use super::command::{self, look_up, older};
use super::document::{Entry, binary};
use super::error::{contended, from_code, from_mongodb, is_duplicate_key, unavailable};
use crate::StoreError;

/// How often rows are looked at again that other writers changed in between.
const ROUNDS: usize = 8;

/// What the rows of a batch are taken for, by what those of the one before were. It costs time where
/// it is wrong, and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Guess {
    /// Anything: they are looked up first.
    #[default]
    Any,
    /// Absent, most of them: they are inserted, and those looked up that are there.
    Absent,
    /// Older with other values, most of them: they are replaced, and those looked up that are not so.
    Changed,
    /// Older with the same values, all of them: their versions move on.
    Same,
}

/// What became of a batch.
pub(super) struct Settled {
    pub(super) counts: StoreCounts,
    /// For each entry, whether it was inserted.
    pub(super) inserted: Vec<bool>,
    /// What the next batch is to be taken for.
    pub(super) guess: Guess,
}

/// A batch on its way.
struct Batch<'a> {
    database: &'a Database,
    name: &'a str,
    entries: &'a [&'a Entry],
    inserted: Vec<bool>,
    counts: StoreCounts,
    /// Of the unchanged ones, those whose version moved on.
    advanced: u64,
    /// An entry that another writer has settled.
    settled_by_another: Option<usize>,
}

/// Writes the entries of one batch.
pub(super) async fn settle(
    database: &Database,
    name: &str,
    entries: &[&Entry],
    guess: Guess,
) -> Result<Settled, StoreError> {
    let mut batch = Batch {
        database,
        name,
        entries,
        inserted: vec![false; entries.len()],
        counts: StoreCounts::default(),
        advanced: 0,
        settled_by_another: None,
    };
    let all = (0..entries.len()).collect();
    let mut pending = match guess {
        Guess::Any => all,
        Guess::Absent => batch.insert(all).await?,
        Guess::Changed => batch.replace(all).await?,
        Guess::Same => batch.advance(all).await?,
    };
    for _ in 0..ROUNDS {
        if pending.is_empty() {
            break;
        }
        pending = batch.look_and_write(pending).await?;
    }
    if !pending.is_empty() {
        return Err(contended(
            "rows went on changing, or another unique index holds their values",
        ));
    }
    if let Some(index) = batch.settled_by_another {
        batch.confirm(entries[index]).await?;
    }
    let rows = entries.len() as u64;
    let guess = if rows == 0 {
        guess
    } else if batch.counts.inserted * 2 > rows {
        Guess::Absent
    } else if batch.counts.updated * 2 > rows {
        Guess::Changed
    } else if batch.advanced == rows {
        Guess::Same
    } else {
        Guess::Any
    };
    Ok(Settled {
        counts: batch.counts,
        inserted: batch.inserted,
        guess,
    })
}

impl Batch<'_> {
    fn entries(&self, indexes: &[usize]) -> Vec<&Entry> {
        indexes.iter().map(|index| self.entries[*index]).collect()
    }

    /// Looks entries up and writes what is absent or older; gives those to be looked at again.
    async fn look_and_write(&mut self, pending: Vec<usize>) -> Result<Vec<usize>, StoreError> {
        let mut found = look_up(self.database, self.name, &self.entries(&pending)).await?;
        let (mut absent, mut changed, mut same) = (Vec::new(), Vec::new(), Vec::new());
        for index in pending {
            let entry = self.entries[index];
            match found.remove(&entry.id_bytes()) {
                None => absent.push(index),
                Some(found) => match found.version_to(entry.version) {
                    Ordering::Less if found.digest.as_deref() == Some(&entry.digest) => {
                        same.push(index);
                    }
                    Ordering::Less => changed.push(index),
                    Ordering::Equal => {
                        self.counts.unchanged += 1;
                        self.settled_by_another = Some(index);
                    }
                    Ordering::Greater => {
                        self.counts.stale += 1;
                        self.settled_by_another = Some(index);
                    }
                },
            }
        }
        let mut again = self.insert(absent).await?;
        again.extend(self.replace(changed).await?);
        again.extend(self.advance(same).await?);
        Ok(again)
    }

    /// Inserts documents; gives those whose key is there.
    async fn insert(&mut self, indexes: Vec<usize>) -> Result<Vec<usize>, StoreError> {
        let mut there = Vec::new();
        if indexes.is_empty() {
            return Ok(there);
        }
        let documents = indexes.iter().map(|index| &self.entries[*index].document);
        let collection = self.database.collection::<RawDocumentBuf>(self.name);
        if let Err(error) = collection.insert_many(documents).ordered(false).await {
            let ErrorKind::InsertMany(errors) = error.kind.as_ref() else {
                return Err(from_mongodb(&error));
            };
            if let Some(concern) = &errors.write_concern_error {
                return Err(unavailable(&format!("{} write concern", concern.code)));
            }
            for error in errors.write_errors.iter().flatten() {
                match indexes.get(error.index) {
                    Some(index) if is_duplicate_key(error.code) => there.push(*index),
                    _ => return Err(from_code(error.code, "write error")),
                }
            }
        }
        self.counts.inserted += (indexes.len() - there.len()) as u64;
        for index in indexes {
            self.inserted[index] = true;
        }
        for index in &there {
            self.inserted[*index] = false;
        }
        Ok(there)
    }

    /// Replaces documents that are older and have other values; gives those that are to be looked at.
    ///
    /// As an upsert, an update without a match tells so: it inserts, or fails as the key is there.
    async fn replace(&mut self, indexes: Vec<usize>) -> Result<Vec<usize>, StoreError> {
        let mut updates = RawArrayBuf::new();
        for index in &indexes {
            let entry = self.entries[*index];
            let mut filter = older(entry);
            filter.append(cstr!("_digest"), rawdoc! { "$ne": binary(&entry.digest) });
            let mut update = rawdoc! { "q": filter, "upsert": true };
            update.append(cstr!("u"), &*entry.document);
            updates.push(update);
        }
        let done = command::update(self.database, self.name, updates).await?;
        let mut there = Vec::with_capacity(done.errors.len());
        for (position, code) in &done.errors {
            match indexes.get(*position) {
                Some(index) if is_duplicate_key(*code) => there.push(*index),
                _ => return Err(from_code(*code, "write error")),
            }
        }
        if done.matched + there.len() as u64 != indexes.len() as u64 {
            return Err(unavailable("the answer to an update does not add up"));
        }
        self.counts.updated += done.matched - done.upserted.len() as u64;
        self.counts.inserted += done.upserted.len() as u64;
        for position in done.upserted {
            let index = indexes.get(position);
            let index = index.ok_or_else(|| unavailable("an answer tells of no update"))?;
            self.inserted[*index] = true;
        }
        Ok(there)
    }

    /// Moves the versions of documents on that are older and have the same values; gives those that are to
    /// be looked at.
    ///
    /// The answer says how many documents matched, not which.
    async fn advance(&mut self, indexes: Vec<usize>) -> Result<Vec<usize>, StoreError> {
        let mut updates = RawArrayBuf::new();
        for index in &indexes {
            let entry = self.entries[*index];
            let mut filter = older(entry);
            filter.append(cstr!("_digest"), rawdoc! { "$eq": binary(&entry.digest) });
            let version = binary(entry.version.as_bytes());
            updates.push(rawdoc! { "q": filter, "u": { "$set": { "_version": version } } });
        }
        let done = command::update(self.database, self.name, updates);
        let matched = done.await?.all()?;
        let (mut newer, mut again) = (0, Vec::new());
        if matched < indexes.len() as u64 {
            let found = look_up(self.database, self.name, &self.entries(&indexes)).await?;
            for index in &indexes {
                let entry = self.entries[*index];
                let found = found.get(&entry.id_bytes());
                match found.map(|found| found.version_to(entry.version)) {
                    Some(Ordering::Greater) => newer += 1,
                    Some(Ordering::Equal) => {}
                    Some(Ordering::Less) | None => again.push(*index),
                }
            }
        }
        let settled = (indexes.len() - again.len()) as u64;
        // What matched may since have been deleted, and is then among those of `again`.
        let done = matched.min(settled);
        self.counts.unchanged += done;
        self.advanced += done;
        if settled > done {
            let stale = newer.min(settled - done);
            self.counts.stale += stale;
            self.counts.unchanged += settled - done - stale;
            self.settled_by_another = indexes.into_iter().find(|index| !again.contains(index));
        }
        Ok(again)
    }

    /// Waits until a majority has what was found there: the writer of it may not have waited to its end, and
    /// what only the primary has can be rolled back. An update that changes nothing waits for all before it.
    async fn confirm(&self, entry: &Entry) -> Result<(), StoreError> {
        let version = binary(entry.version.as_bytes());
        let mut updates = RawArrayBuf::new();
        updates.push(rawdoc! {
            "q": { "_id": entry.id() },
            "u": { "$setOnInsert": { "_version": version } },
        });
        let done = command::update(self.database, self.name, updates);
        done.await?.all().map(drop)
    }
}
