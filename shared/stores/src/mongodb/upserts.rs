//! Writes the rows of one batch.
//!
//! Each batch is assumed to resemble the previous one. In a first load, rows are inserted; after that, they are
//! updated, guarded by version and digest, without reading what exists. Only rows for which this fails are looked
//! up by key. A wrong guess costs time, not correctness.
//!
//! The guarded updates are upserts. One that finds no match inserts or fails, and thereby identifies its row.

use std::cmp::Ordering;

use landfall_domain::StoreCounts;
use mongodb::Database;
use mongodb::bson::{RawArrayBuf, RawBsonRef, RawDocumentBuf, cstr, rawdoc};
use mongodb::error::ErrorKind;

use super::command::{self, duplicates, look_up, older};
use super::document::{Entry, binary};
use super::error::{contended, unavailable};
use crate::error::Result;

/// How many times rows are looked up again that other writers change meanwhile.
const ROUNDS: usize = 8;

/// The assumption about the rows of a batch, by the outcome of the previous one. A wrong guess only costs time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Guess {
    /// None: they are looked up first.
    #[default]
    Any,
    /// Most are absent: they are inserted, and those that exist are looked up.
    Absent,
    /// Most are older with other values: they are replaced, and the others are looked up.
    Changed,
    /// All are older with the same values: their versions are advanced.
    Same,
}

pub(super) struct BatchOutcome {
    pub(super) counts: StoreCounts,
    pub(super) inserted: Vec<bool>,
    pub(super) guess: Guess,
}

struct Batch<'a> {
    database: &'a Database,
    name: &'a str,
    entries: &'a [&'a Entry],
    inserted: Vec<bool>,
    counts: StoreCounts,
    /// Of the unchanged rows, those whose version was advanced.
    advanced: u64,
    /// The index of an entry that another writer had written, or had superseded.
    found_written: Option<usize>,
}

pub(super) async fn write_batch(
    database: &Database,
    name: &str,
    entries: &[&Entry],
    guess: Guess,
) -> Result<BatchOutcome> {
    let mut batch = Batch {
        database,
        name,
        entries,
        inserted: vec![false; entries.len()],
        counts: StoreCounts::default(),
        advanced: 0,
        found_written: None,
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
            "rows kept changing, or another unique index has their values",
        ));
    }
    if let Some(index) = batch.found_written {
        let entry = entries[index];
        confirm(database, name, entry.id(), entry.version.as_bytes()).await?;
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
    Ok(BatchOutcome {
        counts: batch.counts,
        inserted: batch.inserted,
        guess,
    })
}

impl Batch<'_> {
    fn entries(&self, indexes: &[usize]) -> Vec<&Entry> {
        indexes.iter().map(|index| self.entries[*index]).collect()
    }

    /// Looks entries up, and writes what is absent or older. Returns those to look up again.
    async fn look_and_write(&mut self, pending: Vec<usize>) -> Result<Vec<usize>> {
        let found = look_up(self.database, self.name, &self.entries(&pending)).await?;
        let (mut absent, mut changed, mut same) = (Vec::new(), Vec::new(), Vec::new());
        for index in pending {
            let entry = self.entries[index];
            match found.compare(entry) {
                None => absent.push(index),
                Some(Ordering::Less) if found.is_same(entry) => same.push(index),
                Some(Ordering::Less) => changed.push(index),
                Some(Ordering::Equal) => {
                    self.counts.unchanged += 1;
                    self.found_written = Some(index);
                }
                Some(Ordering::Greater) => {
                    self.counts.stale += 1;
                    self.found_written = Some(index);
                }
            }
        }
        let mut again = self.insert(absent).await?;
        again.extend(self.replace(changed).await?);
        again.extend(self.advance(same).await?);
        Ok(again)
    }

    /// Inserts documents, and returns those whose key exists.
    async fn insert(&mut self, indexes: Vec<usize>) -> Result<Vec<usize>> {
        if indexes.is_empty() {
            return Ok(Vec::new());
        }
        let documents = indexes.iter().map(|index| &self.entries[*index].document);
        let existing = insert(self.database, self.name, documents, &indexes).await?;
        self.counts.inserted += (indexes.len() - existing.len()) as u64;
        for index in indexes {
            self.inserted[index] = true;
        }
        for index in &existing {
            self.inserted[*index] = false;
        }
        Ok(existing)
    }

    /// Replaces documents that are older and have other values. Returns those to look up.
    ///
    /// The updates are upserts: one without a match inserts, or fails if the key exists, and so identifies its row.
    async fn replace(&mut self, indexes: Vec<usize>) -> Result<Vec<usize>> {
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
        let existing = duplicates(&indexes, done.errors)?;
        if done.matched + existing.len() as u64 != indexes.len() as u64 {
            return Err(unavailable("the counts of an update do not add up"));
        }
        self.counts.updated += done.matched - done.upserted.len() as u64;
        self.counts.inserted += done.upserted.len() as u64;
        for position in done.upserted {
            let index = indexes.get(position);
            let index = index.ok_or_else(|| unavailable("the response names an unknown update"))?;
            self.inserted[*index] = true;
        }
        Ok(existing)
    }

    /// Advances the versions of documents that are older and have the same values. Returns those to look up again.
    ///
    /// The reply has the number of matches, but not which.
    async fn advance(&mut self, indexes: Vec<usize>) -> Result<Vec<usize>> {
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
                match found.compare(self.entries[*index]) {
                    Some(Ordering::Greater) => newer += 1,
                    Some(Ordering::Equal) => {}
                    Some(Ordering::Less) | None => again.push(*index),
                }
            }
        }
        let resolved = (indexes.len() - again.len()) as u64;
        // A match may have been deleted since, and is then in `again`.
        let done = matched.min(resolved);
        self.counts.unchanged += done;
        self.advanced += done;
        if resolved > done {
            let stale = newer.min(resolved - done);
            self.counts.stale += stale;
            self.counts.unchanged += resolved - done - stale;
            self.found_written = indexes.into_iter().find(|index| !again.contains(index));
        }
        Ok(again)
    }
}

/// Inserts documents, which have these indexes. Returns the indexes of those whose key exists.
pub(super) async fn insert(
    database: &Database,
    name: &str,
    documents: impl Iterator<Item = &RawDocumentBuf>,
    indexes: &[usize],
) -> Result<Vec<usize>> {
    let collection = database.collection::<RawDocumentBuf>(name);
    let Err(error) = collection.insert_many(documents).ordered(false).await else {
        return Ok(Vec::new());
    };
    let ErrorKind::InsertMany(errors) = error.kind.as_ref() else {
        return Err(error.into());
    };
    if let Some(concern) = &errors.write_concern_error {
        return Err(unavailable(&format!("{} write concern", concern.code)));
    }
    let failed = errors.write_errors.iter().flatten();
    duplicates(indexes, failed.map(|error| (error.index, error.code)))
}

/// Waits until a majority has what was found. Its writer may have died before that, and what only the primary has can
/// be rolled back. An update that changes nothing waits for all earlier writes.
pub(super) async fn confirm(
    database: &Database,
    name: &str,
    id: RawBsonRef<'_>,
    version: &[u8],
) -> Result<()> {
    let mut updates = RawArrayBuf::new();
    updates.push(rawdoc! {
        "q": { "_id": id },
        "u": { "$setOnInsert": { "_version": binary(version) } },
    });
    let done = command::update(database, name, updates);
    done.await?.all().map(drop)
}
