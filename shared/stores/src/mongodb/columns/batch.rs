//! One batch: what is stored, what its rows do to it, and the writes.

use std::collections::HashMap;

use futures::stream::TryStreamExt;
use landfall_domain::{Merged, Row, RowVersion, StoreCounts, StoredKey};
use mongodb::bson::raw::RawDocument;
use mongodb::bson::{
    Bson, Document, RawArrayBuf, RawBson, RawBsonRef, RawDocumentBuf, cstr, doc, rawdoc,
};

use super::super::command::{delete, update};
use super::super::document::{Encoder, MAX_BYTES, binary, id_bytes, id_of, merged_fields};
use super::super::error::{STORE, contended, refused, unavailable};
use super::super::json::to_bson;
use super::super::upserts::insert;
use super::Merge;
use crate::columns::{self, Planned};
use crate::error::{Result, StoreError};
use crate::registry::tombstones_of;
use crate::schema::{VERSION, VERSIONS};

/// What has become of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Inserted,
    Updated,
    Unchanged,
    Stale,
    Deleted,
}

/// Rows that are written together.
pub(super) struct Batch<'m, 'a> {
    merge: &'m Merge<'a>,
    encoder: &'m Encoder<'a>,
    rows: &'m [Row],
    /// The key of each row, as a document.
    ids: Vec<RawDocumentBuf>,
    places: HashMap<Vec<u8>, usize>,
    /// None for a row that is pending.
    outcomes: Vec<Option<Outcome>>,
    /// What a row did in an earlier round.
    before: Vec<Option<Outcome>>,
    /// Whether the key of a row had a document when it was last decided.
    has_row: Vec<bool>,
    /// Key and version of a document that another worker had written.
    pub(super) found_written: Option<(RawDocumentBuf, Vec<u8>)>,
}

/// Writes of one round.
#[derive(Default)]
struct Writes {
    inserts: Vec<(usize, RawDocumentBuf)>,
    updates: Vec<(usize, RawDocumentBuf, Outcome)>,
    /// Filters of documents to delete.
    deletes: Vec<(usize, RawDocumentBuf)>,
}

impl<'m, 'a> Batch<'m, 'a> {
    pub(super) fn new(merge: &'m Merge<'a>, encoder: &'m Encoder<'a>, rows: &'m [Row]) -> Self {
        let id = |row| {
            let mut id = RawDocumentBuf::new();
            encoder.append_id(&mut id, row);
            id
        };
        let ids: Vec<_> = rows.iter().map(id).collect();
        let bytes = ids.iter().map(|id| id.as_bytes().to_vec());
        Self {
            merge,
            encoder,
            rows,
            places: bytes.zip(0..).collect(),
            ids,
            outcomes: vec![None; rows.len()],
            before: vec![None; rows.len()],
            has_row: vec![false; rows.len()],
            found_written: None,
        }
    }

    /// Returns the counts of the rows that are not pending.
    pub(super) fn counts(&self) -> StoreCounts {
        let mut counts = StoreCounts::default();
        for outcome in self.outcomes.iter().flatten() {
            *match outcome {
                Outcome::Inserted => &mut counts.inserted,
                Outcome::Updated => &mut counts.updated,
                Outcome::Unchanged => &mut counts.unchanged,
                Outcome::Stale => &mut counts.stale,
                Outcome::Deleted => &mut counts.deleted,
            } += 1;
        }
        counts
    }

    pub(super) fn pending(&self) -> Vec<usize> {
        let outcomes = self.outcomes.iter().enumerate();
        let pending = outcomes.filter(|(_, outcome)| outcome.is_none());
        pending.map(|(place, _)| place).collect()
    }

    /// Returns the keys of all rows.
    pub(super) fn ids(&self) -> impl Iterator<Item = RawBsonRef<'_>> {
        (0..self.rows.len()).map(|place| self.id(place))
    }

    fn id(&self, place: usize) -> RawBsonRef<'_> {
        id_of(&self.ids[place]).unwrap_or(RawBsonRef::Null)
    }

    fn version(&self, place: usize) -> RowVersion {
        self.merge.versions.of(&self.rows[place])
    }

    /// Records what has become of a row. What it did in an earlier round counts, unless it was undone since.
    fn finish(&mut self, place: usize, outcome: Outcome) {
        let before = self.before[place].filter(|_| outcome == Outcome::Unchanged);
        self.outcomes[place] = before.or(Some(outcome));
    }

    /// Calls `each` with the document of each of these rows' keys that is in a collection.
    async fn find(
        &self,
        name: &str,
        places: &[usize],
        fields: Document,
        mut each: impl FnMut(usize, &RawDocument) -> Result<()>,
    ) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let ids: RawArrayBuf = places.iter().map(|place| self.id(*place)).collect();
        let ids = Bson::try_from(RawBson::Array(ids));
        let ids = ids.map_err(|_| refused("a key cannot be encoded"))?;
        let mut documents = self
            .merge
            .database
            .collection::<RawDocumentBuf>(name)
            .find(doc! { "_id": { "$in": ids } })
            .projection(fields)
            .batch_size(u32::try_from(places.len() + 1).unwrap_or(u32::MAX))
            .await?;
        while let Some(document) = documents.try_next().await? {
            let id = id_of(&document).map(id_bytes);
            let place = id.and_then(|id| self.places.get(&id));
            let place = place.ok_or_else(|| unavailable("a document has an unknown key"))?;
            each(*place, &document)?;
        }
        Ok(())
    }

    /// Returns the versions of the tombstones of these rows' keys.
    pub(super) async fn tombstones(&self, places: &[usize]) -> Result<HashMap<usize, Vec<u8>>> {
        let mut tombstones = HashMap::new();
        let name = tombstones_of(&self.merge.dataset.name);
        self.find(&name, places, doc! { VERSION: 1 }, |place, document| {
            tombstones.insert(place, bytes(document, VERSION).ok_or_else(unreadable)?);
            Ok(())
        })
        .await?;
        Ok(tombstones)
    }

    /// Decides pending rows, and writes what they change.
    pub(super) async fn look_and_write(
        &mut self,
        pending: &[usize],
        tombstones: &HashMap<usize, Vec<u8>>,
    ) -> Result<()> {
        let mut writes = Writes::default();
        let mut is_open: Vec<bool> = vec![false; self.rows.len()];
        for place in pending {
            is_open[*place] = true;
            self.has_row[*place] = false;
        }
        let mut decided = Vec::new();
        self.find(
            &self.merge.dataset.name,
            pending,
            self.fields(),
            |place, document| {
                is_open[place] = false;
                decided.push(self.decide(place, Some(document), tombstones, &mut writes)?);
                Ok(())
            },
        )
        .await?;
        for place in pending.iter().copied().filter(|place| is_open[*place]) {
            decided.push(self.decide(place, None, tombstones, &mut writes)?);
        }
        for Decided {
            place,
            row,
            outcome,
        } in decided
        {
            self.has_row[place] = row.is_some();
            if let Some(outcome) = outcome {
                self.finish(place, outcome);
                if let Some(version) = row {
                    self.found_written = Some((self.ids[place].clone(), version));
                }
            }
        }
        self.insert(writes.inserts).await?;
        self.update(writes.updates).await?;
        self.delete(writes.deletes).await
    }

    /// Returns the projection of the versions, and of the values that rows may replace.
    fn fields(&self) -> Document {
        let mut fields = doc! { VERSION: 1, VERSIONS: 1 };
        let any_deletes = self.rows.iter().any(|row| row.deleted);
        for (column, name) in self.merge.names.iter().enumerate() {
            if any_deletes || self.merge.columns.place(column).is_some() {
                fields.insert(name.as_str(), 1);
            }
        }
        fields
    }

    /// Decides a row with the document of its key, and adds what it writes.
    fn decide(
        &self,
        place: usize,
        document: Option<&RawDocument>,
        tombstones: &HashMap<usize, Vec<u8>>,
        writes: &mut Writes,
    ) -> Result<Decided> {
        let (row, version) = (&self.rows[place], self.version(place));
        let stored = document.map(|document| {
            let version = bytes(document, VERSION).ok_or_else(unreadable)?;
            Ok::<_, StoreError>((version, bytes(document, VERSIONS)))
        });
        let stored = StoredKey {
            row: stored.transpose()?,
            tombstone: tombstones.get(&place).cloned(),
        };
        let decided = |outcome| Decided {
            place,
            row: stored.row.as_ref().map(|(version, _)| version.clone()),
            outcome,
        };
        let columns = &self.merge.columns;
        let merged = columns.merge(row, &version, &stored);
        let update = match merged.map_err(|error| columns::unreadable(STORE, error))? {
            Merged::Unchanged => return Ok(decided(Some(Outcome::Unchanged))),
            Merged::Stale => return Ok(decided(Some(Outcome::Stale))),
            Merged::Delete(_) => {
                let filter = stored.row.as_ref().map(|row| self.as_read(place, row));
                // Without a document, the tombstone is all there is to write, and it is written.
                let outcome = filter.is_none().then_some(Outcome::Unchanged);
                writes.deletes.extend(filter.map(|filter| (place, filter)));
                return Ok(decided(outcome));
            }
            Merged::Write(update) => update,
        };
        let planned = Planned {
            row,
            update,
            is_new: document.is_none(),
        };
        let (Some(document), Some(as_read)) = (document, &stored.row) else {
            let encode = |json| Some(self.encoder.merged_document(&planned, columns, json));
            writes.inserts.push((place, within_limit(encode)?));
            return Ok(decided(None));
        };
        let names = &self.merge.names;
        let encode = |json| merged_fields(&planned, columns, names, json);
        let mut fields = within_limit(encode)?;
        let outcome = if is_same(document, &fields) {
            Outcome::Unchanged
        } else {
            Outcome::Updated
        };
        if outcome == Outcome::Updated {
            self.encoder.append_changed(&mut fields);
        }
        fields.append(cstr!("_version"), binary(&planned.update.version));
        fields.append(cstr!("_versions"), binary(&planned.update.versions));
        let mut update = RawDocumentBuf::new();
        update.append(cstr!("q"), self.as_read(place, as_read));
        let mut change = rawdoc! { "$unset": { "_digest": "" } };
        change.append(cstr!("$set"), fields);
        update.append(cstr!("u"), change);
        writes.updates.push((place, update, outcome));
        Ok(decided(None))
    }

    /// Returns the filter of a document whose versions are as they were read.
    fn as_read(
        &self,
        place: usize,
        (version, versions): &(Vec<u8>, Option<Vec<u8>>),
    ) -> RawDocumentBuf {
        let versions = versions.as_deref().map_or(RawBsonRef::Null, binary);
        rawdoc! { "_id": self.id(place), "_version": binary(version), "_versions": versions }
    }

    async fn insert(&mut self, inserts: Vec<(usize, RawDocumentBuf)>) -> Result<()> {
        if inserts.is_empty() {
            return Ok(());
        }
        let (places, documents): (Vec<usize>, Vec<_>) = inserts.into_iter().unzip();
        let (database, name) = (self.merge.database, &self.merge.dataset.name);
        let existing = insert(database, name, documents.iter(), &places).await?;
        for place in places {
            if !existing.contains(&place) {
                self.finish(place, Outcome::Inserted);
                self.has_row[place] = true;
            }
        }
        Ok(())
    }

    /// Updates documents. The reply has the number of matches, but not which: if one is missing, all are looked up.
    async fn update(&mut self, updates: Vec<(usize, RawDocumentBuf, Outcome)>) -> Result<()> {
        let (database, name) = (self.merge.database, &self.merge.dataset.name);
        let mut commands = RawArrayBuf::new();
        for (_, command, _) in &updates {
            commands.push(command.clone());
        }
        let matched = update(database, name, commands).await?.all()?;
        let all_matched = matched == updates.len() as u64;
        for (place, _, outcome) in updates {
            if all_matched {
                self.finish(place, outcome);
            } else {
                // Counted as unchanged once it is found written, unless this is remembered.
                self.before[place] = self.before[place].or(Some(outcome));
            }
        }
        Ok(())
    }

    /// Deletes documents whose versions are as they were read.
    async fn delete(&mut self, deletes: Vec<(usize, RawDocumentBuf)>) -> Result<()> {
        let (places, filters): (Vec<usize>, Vec<_>) = deletes.into_iter().unzip();
        let (database, name) = (self.merge.database, &self.merge.dataset.name);
        let all_deleted = delete(database, name, filters).await? == places.len() as u64;
        for place in places {
            let outcome = if self.rows[place].deleted {
                Outcome::Deleted
            } else {
                Outcome::Stale
            };
            if all_deleted {
                self.finish(place, outcome);
                self.has_row[place] = false;
            } else {
                self.before[place] = Some(outcome);
            }
        }
        Ok(())
    }

    /// Makes rows pending again whose keys have another tombstone than the one that was merged. Deletes the tombstones
    /// that are merged into rows.
    pub(super) async fn check_tombstones(
        &mut self,
        places: &[usize],
        merged: &HashMap<usize, Vec<u8>>,
    ) -> Result<()> {
        let done = places.iter().copied();
        let done: Vec<usize> = done
            .filter(|place| self.outcomes[*place].is_some())
            .collect();
        let found = self.tombstones(&done).await?;
        let mut guarded = Vec::new();
        for (place, version) in found {
            if merged.get(&place) != Some(&version) {
                self.before[place] = self.outcomes[place].take();
            } else if self.has_row[place] {
                let version = binary(&version);
                guarded.push(rawdoc! { "_id": self.id(place), "_version": version });
            }
        }
        let tombstones = tombstones_of(&self.merge.dataset.name);
        delete(self.merge.database, &tombstones, guarded)
            .await
            .map(drop)
    }
}

/// What was decided for a row.
struct Decided {
    place: usize,
    /// The version of its key's document, if there is one.
    row: Option<Vec<u8>>,
    /// None if it has to be written.
    outcome: Option<Outcome>,
}

/// Encodes a document with JSON as BSON, or as text if it would be too large.
fn within_limit(
    encode: impl Fn(fn(&str) -> RawBson) -> Option<RawDocumentBuf>,
) -> Result<RawDocumentBuf> {
    let grown = || contended("another definition has added a field since");
    let document = encode(to_bson).ok_or_else(grown)?;
    if document.as_bytes().len() <= MAX_BYTES {
        return Ok(document);
    }
    let document = encode(|text| text.into()).ok_or_else(grown)?;
    if document.as_bytes().len() > MAX_BYTES {
        return Err(refused("a row exceeds a document of 16 MiB"));
    }
    Ok(document)
}

/// Returns whether a document has these fields already. A missing field is null.
fn is_same(document: &RawDocument, fields: &RawDocument) -> bool {
    fields.iter().all(|field| {
        let Ok((name, value)) = field else {
            return false;
        };
        let stored = document.get(name.as_str()).ok().flatten();
        stored.unwrap_or(RawBsonRef::Null) == value
    })
}

fn bytes(document: &RawDocument, name: &str) -> Option<Vec<u8>> {
    let binary = document.get_binary(name).ok()?;
    Some(binary.bytes.to_vec())
}

fn unreadable() -> StoreError {
    unavailable("a document has no readable version")
}
