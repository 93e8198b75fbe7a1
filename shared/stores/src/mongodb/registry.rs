//! The registry entry of a dataset.

use futures::stream::TryStreamExt;
use landfall_domain::{Dataset, RowVersion};
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::{Collection, Database};

use super::document::binary_value;
use super::error::{STORE, contended, is_duplicate_key, unavailable};
use super::key_text;
use super::walk::Walk;
use crate::changes::Tracking;
use crate::error::{Result, StoreError};
use crate::registry::{REGISTRY, Registered, tombstones_of};
use crate::schema::Table;

/// How many times a document is read again that others change meanwhile.
const ROUNDS: usize = 16;

const DEFINITION: &str = "definition";
/// Field of the definition if `_id` is the text of several fields. Earlier releases made it a document. They find no
/// definition in this field, so they cannot write a second document for a key.
const TEXT_KEY_DEFINITION: &str = "text_key_definition";

pub(super) struct Registration {
    definition: String,
    definition_field: &'static str,
    pub(super) tombstones: bool,
    /// Rows below it are pruned.
    floor: Option<Vec<u8>>,
    /// Number of rows that the floor's prune has counted, and deletes.
    pub(super) pruned: Option<u64>,
    /// How far this prune is.
    pub(super) walk: Walk,
    /// The counts of previews, by floor in hexadecimal.
    pub(super) counts: Document,
}

impl Registration {
    /// Returns whether a newer snapshot has pruned, or is doing so.
    pub(super) fn has_floor_above(&self, version: RowVersion) -> bool {
        self.floor().is_some_and(|floor| floor > version.as_bytes())
    }

    /// Returns the number of rows that the snapshot of this first version has pruned, or none if the prune has not
    /// ended. It is 0 after a newer snapshot.
    pub(super) fn pruned_by(&self, first: RowVersion) -> Option<u64> {
        if !self.walk.is_done() {
            return None;
        }
        if self.floor() == Some(first.as_bytes()) {
            return self.pruned;
        }
        self.has_floor_above(first).then_some(0)
    }

    pub(super) fn floor(&self) -> Option<&[u8]> {
        self.floor.as_deref()
    }

    /// Returns the registered definition.
    pub(super) fn registered(&self) -> Result<Registered> {
        Registered::from_json(STORE, &self.definition)
    }

    /// Fails if rows are merged by column by now. A row that was written as a whole is then merged again.
    pub(super) fn expect_whole_rows(&self) -> Result<()> {
        if self.registered()?.is_merged() {
            return Err(contended("another definition merges by column since"));
        }
        Ok(())
    }

    fn read(document: &Document) -> Option<Self> {
        let floor = match document.get("floor") {
            None | Some(Bson::Null) => None,
            Some(Bson::Binary(floor)) => Some(floor.bytes.clone()),
            Some(_) => return None,
        };
        let pruned = match document.get("pruned") {
            None | Some(Bson::Null) => None,
            Some(Bson::Int64(pruned)) => Some(u64::try_from(*pruned).ok()?),
            Some(_) => return None,
        };
        let tombstones = match document.get("tombstones") {
            None => false,
            Some(tombstones) => tombstones.as_bool()?,
        };
        let definition = |field| Some((field, document.get_str(field).ok()?));
        let (definition_field, definition) =
            definition(TEXT_KEY_DEFINITION).or_else(|| definition(DEFINITION))?;
        Some(Self {
            definition: definition.to_owned(),
            definition_field,
            tombstones,
            floor,
            pruned,
            walk: Walk::read(document.get("walk"))?,
            counts: document.get_document("counts").cloned().unwrap_or_default(),
        })
    }
}

pub(super) struct Registry<'a> {
    database: &'a Database,
    documents: Collection<Document>,
    dataset: &'a str,
}

impl<'a> Registry<'a> {
    pub(super) fn new(database: &'a Database, dataset: &'a str) -> Self {
        Self {
            database,
            documents: database.collection(REGISTRY),
            dataset,
        }
    }

    /// Returns the entries of datasets that changes are, or were, recorded of.
    pub(super) async fn tracked(database: &Database) -> Result<Vec<(String, Registered)>> {
        let documents: Collection<Document> = database.collection(REGISTRY);
        let mut found = documents.find(doc! {}).await?;
        let mut tracked = Vec::new();
        while let Some(document) = found.try_next().await? {
            let Ok(name) = document.get_str("_id") else {
                continue;
            };
            let registration = Registration::read(&document).ok_or_else(unreadable)?;
            let registered = registration.registered()?;
            if !registered.tracking.is_empty() {
                tracked.push((name.to_owned(), registered));
            }
        }
        Ok(tracked)
    }

    /// Returns the entry, if there is one.
    pub(super) async fn find(&self) -> Result<Option<Registration>> {
        let found = self
            .documents
            .find_one(doc! { "_id": self.dataset })
            .await?;
        found
            .map(|document| Registration::read(&document).ok_or_else(unreadable))
            .transpose()
    }

    pub(super) async fn get(&self) -> Result<Registration> {
        let found = self.find().await?;
        found.ok_or_else(|| unavailable("the dataset is not registered"))
    }

    /// Updates the entry if it matches the filter, and returns whether it did.
    pub(super) async fn update(&self, filter: Document, update: Document) -> Result<bool> {
        let mut all = doc! { "_id": self.dataset };
        all.extend(filter);
        let done = self.documents.update_one(all, update).await;
        Ok(done?.matched_count == 1)
    }

    /// Registers a definition. Fails if it does not fit the registered one.
    pub(super) async fn register(&self, dataset: &Dataset, table: &Table) -> Result<()> {
        // Only SQL stores have totals.
        let new = Registered {
            totals: Vec::new(),
            ..Registered::new(dataset, table)
        };
        let field = if key_text::is_used(dataset) {
            TEXT_KEY_DEFINITION
        } else {
            DEFINITION
        };
        for _ in 0..ROUNDS {
            let known = self.find().await?;
            let known_field = known.as_ref().map(|known| known.definition_field);
            if field == TEXT_KEY_DEFINITION && known_field != Some(field) {
                self.refuse_document_keys().await?;
            }
            let Some(known) = known else {
                let definition = new.to_json(STORE)?;
                let document = doc! { "_id": self.dataset, field: definition, "tombstones": false };
                match self.documents.insert_one(document).await {
                    Ok(_) => return Ok(()),
                    Err(error) if was_first(&error) => continue,
                    Err(error) => return Err(error.into()),
                }
            };
            let registered = Registered::from_json(STORE, &known.definition)?;
            let all = registered.merged_with(new.clone(), &dataset.name, STORE)?;
            let is_known = all == registered && field == known.definition_field;
            let as_read = doc! { known.definition_field: &known.definition };
            let mut update = doc! { "$set": { field: all.to_json(STORE)? } };
            if field != known.definition_field {
                update.insert("$unset", doc! { known.definition_field: "" });
            }
            if is_known || self.update(as_read, update).await? {
                return Ok(());
            }
        }
        Err(contended("the registry kept changing"))
    }

    /// Fails if rows or tombstones have documents as their `_id`, as an earlier release wrote them for keys of
    /// several fields. Each would stay beside the document that this release writes for its key.
    async fn refuse_document_keys(&self) -> Result<()> {
        let tombstones = tombstones_of(self.dataset);
        for name in [self.dataset, &tombstones] {
            let found = self
                .database
                .collection::<Document>(name)
                .find_one(doc! { "_id": { "$type": "object" } })
                .projection(doc! { "_id": 1 })
                .await?;
            if found.is_some() {
                return Err(StoreError::schema(
                    STORE,
                    self.dataset,
                    format!(
                        "{name} has documents of an earlier release, which made a document of a key of several \
                         fields where _id is a text now; rename or drop {} and {tombstones}, and upload the files \
                         again",
                        self.dataset
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Registers other destinations, unless the definition has changed since it was read. Returns whether it has not.
    pub(super) async fn set_tracking(
        &self,
        known: &Registration,
        tracking: Tracking,
    ) -> Result<bool> {
        let leaving = tracking.leaving.clone();
        let registered = Registered {
            tracking,
            ..known.registered()?
        };
        let (field, definition) = (known.definition_field, registered.to_json(STORE)?);
        let as_read = doc! { field: &known.definition };
        let mut update = doc! { "$set": { field: definition } };
        if !leaving.is_empty() {
            let syncs = leaving
                .iter()
                .map(|name| (format!("syncs.{name}"), Bson::from("")));
            update.insert("$unset", syncs.collect::<Document>());
        }
        self.update(as_read, update).await
    }

    /// Returns how far the first synchronisation of a destination is: the number of its last step, the key that it
    /// ended with, and the number of keys that were marked.
    pub(super) async fn sync(&self, destination: &str) -> Result<(i64, Option<Bson>, i64)> {
        let found = self
            .documents
            .find_one(doc! { "_id": self.dataset })
            .await?;
        let found = found.unwrap_or_default();
        let sync = found
            .get_document("syncs")
            .and_then(|syncs| syncs.get_document(destination));
        Ok(match sync {
            Ok(sync) => (
                sync.get_i64("step").unwrap_or(0),
                sync.get("place").cloned(),
                sync.get_i64("marked").unwrap_or(0),
            ),
            Err(_) => (0, None, 0),
        })
    }

    /// Makes every writer look for tombstones from now on.
    pub(super) async fn expect_tombstones(&self) -> Result<()> {
        let update = doc! { "$set": { "tombstones": true } };
        self.update(Document::new(), update).await.map(drop)
    }

    /// Raises the floor, and returns the entry, whose floor may be higher.
    pub(super) async fn raise_floor(&self, floor: RowVersion) -> Result<Registration> {
        let floor = floor.as_bytes();
        for _ in 0..ROUNDS {
            let known = self.get().await?;
            if known.floor().is_some_and(|known| known >= floor) {
                return Ok(known);
            }
            let as_read = doc! { "floor": known.floor().map_or(Bson::Null, binary_value) };
            let update = doc! {
                "$set": { "floor": binary_value(floor) },
                "$unset": { "pruned": 1, "walk": 1, "counts": 1 },
            };
            self.update(as_read, update).await?;
        }
        Err(contended("the registry kept changing"))
    }
}

fn unreadable() -> StoreError {
    unavailable("the registry entry cannot be read")
}

/// Returns whether another worker created the entry first.
fn was_first(error: &mongodb::error::Error) -> bool {
    matches!(
        error.kind.as_ref(),
        ErrorKind::Write(WriteFailure::WriteError(write)) if is_duplicate_key(write.code)
    )
}
