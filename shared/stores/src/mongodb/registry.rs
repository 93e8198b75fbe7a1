//! The registry's document of a dataset.

use landfall_domain::{Dataset, RowVersion, StoreKind};
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::{Collection, Database};

use super::document::binary_value;
use super::error::{contended, from_mongodb, is_duplicate_key, unavailable};
use super::key_text;
use crate::StoreError;
use crate::registry::{REGISTRY, Registered, tombstones_of};

const STORE: StoreKind = StoreKind::Mongodb;
/// How often a document is read again that others change meanwhile.
const ROUNDS: usize = 16;

/// Field of the definition.
const DEFINITION: &str = "definition";
/// Field of the definition where `_id` is the text of several fields. Earlier releases made it a document. They find
/// no definition in this field, and so cannot write a second document for a key.
const TEXT_KEY_DEFINITION: &str = "text_key_definition";

/// What the registry has of a dataset.
pub(super) struct Registration {
    definition: String,
    /// The field that has it.
    definition_field: &'static str,
    /// Whether there may be tombstones.
    pub(super) tombstones: bool,
    /// Rows below it are pruned.
    floor: Option<Vec<u8>>,
    /// Rows that the floor's prune deletes, once they are counted.
    pub(super) pruned: Option<u64>,
}

impl Registration {
    /// Whether a newer snapshot than this has pruned, or does.
    pub(super) fn has_floor_above(&self, version: RowVersion) -> bool {
        self.floor()
            .is_some_and(|floor| floor > version.as_bytes().as_slice())
    }

    pub(super) fn floor(&self) -> Option<&[u8]> {
        self.floor.as_deref()
    }

    fn read(document: &Document) -> Option<Self> {
        let floor = match document.get("floor") {
            None | Some(Bson::Null) => None,
            Some(Bson::Binary(floor)) => Some(floor.bytes.clone()),
            Some(_) => return None,
        };
        let pruned = document.get_i64("pruned").ok();
        let definition = |field| Some((field, document.get_str(field).ok()?));
        let (definition_field, definition) =
            definition(TEXT_KEY_DEFINITION).or_else(|| definition(DEFINITION))?;
        Some(Self {
            definition: definition.to_owned(),
            definition_field,
            tombstones: document.get_bool("tombstones").unwrap_or_default(),
            floor,
            pruned: pruned.and_then(|pruned| pruned.try_into().ok()),
        })
    }
}

/// The registry's document of one dataset.
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

    async fn find(&self) -> Result<Option<Registration>, StoreError> {
        let found = self.documents.find_one(doc! { "_id": self.dataset }).await;
        let unreadable = || unavailable("the registry's document can't be read");
        found
            .map_err(|error| from_mongodb(&error))?
            .map(|document| Registration::read(&document).ok_or_else(unreadable))
            .transpose()
    }

    /// What is registered of a dataset that was prepared.
    pub(super) async fn get(&self) -> Result<Registration, StoreError> {
        let found = self.find().await?;
        found.ok_or_else(|| unavailable("the dataset is not registered"))
    }

    /// Updates the document if it is as the filter says; gives whether it was.
    async fn update(&self, filter: Document, update: Document) -> Result<bool, StoreError> {
        let mut all = doc! { "_id": self.dataset };
        all.extend(filter);
        let done = self.documents.update_one(all, update).await;
        Ok(done.map_err(|error| from_mongodb(&error))?.matched_count == 1)
    }

    /// Registers what a definition adds. Fails where it does not fit what is there.
    pub(super) async fn register(&self, dataset: &Dataset) -> Result<(), StoreError> {
        // Totals are those of SQL.
        let new = Registered {
            totals: Vec::new(),
            ..Registered::of(dataset)
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
                    Err(error) => return Err(from_mongodb(&error)),
                }
            };
            let registered = Registered::from_json(STORE, &known.definition)?;
            let all = registered.with(new.clone(), &dataset.name, STORE)?;
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
        Err(contended("the registry goes on changing"))
    }

    /// Fails if rows or tombstones have documents as their `_id`, as an earlier release wrote them for keys of several
    /// fields: each would stand beside the document that this release writes for its key.
    async fn refuse_document_keys(&self) -> Result<(), StoreError> {
        let tombstones = tombstones_of(self.dataset);
        for name in [self.dataset, &tombstones] {
            let found = self
                .database
                .collection::<Document>(name)
                .find_one(doc! { "_id": { "$type": "object" } })
                .projection(doc! { "_id": 1 })
                .await;
            if found.map_err(|error| from_mongodb(&error))?.is_some() {
                return Err(StoreError::Schema {
                    store: STORE,
                    table: self.dataset.to_owned(),
                    reason: format!(
                        "{name} has documents of an earlier release, which made a document of a key of several \
                         fields where _id is a text now; rename or drop {} and {tombstones}, and upload the files again",
                        self.dataset
                    ),
                });
            }
        }
        Ok(())
    }

    /// From here on every writer looks for tombstones.
    pub(super) async fn expect_tombstones(&self) -> Result<(), StoreError> {
        let update = doc! { "$set": { "tombstones": true } };
        self.update(Document::new(), update).await.map(drop)
    }

    /// Raises the floor, and gives what is then registered: the floor may be a higher one.
    pub(super) async fn raise_floor(&self, floor: RowVersion) -> Result<Registration, StoreError> {
        let floor = floor.as_bytes().as_slice();
        for _ in 0..ROUNDS {
            let known = self.get().await?;
            if known.floor().is_some_and(|known| known >= floor) {
                return Ok(known);
            }
            let as_read = doc! { "floor": known.floor().map_or(Bson::Null, binary_value) };
            let update = doc! {
                "$set": { "floor": binary_value(floor) },
                "$unset": { "pruned": 1 },
            };
            self.update(as_read, update).await?;
        }
        Err(contended("the registry goes on changing"))
    }

    /// Says how many rows the prune with this floor deletes, unless that was said.
    pub(super) async fn count_pruned(&self, floor: &[u8], pruned: u64) -> Result<(), StoreError> {
        let pruned = i64::try_from(pruned).unwrap_or(i64::MAX);
        let uncounted = doc! { "floor": binary_value(floor), "pruned": null };
        let update = doc! { "$set": { "pruned": pruned } };
        self.update(uncounted, update).await.map(drop)
    }
}

/// Whether another one made the document first.
fn was_first(error: &mongodb::error::Error) -> bool {
    matches!(
        error.kind.as_ref(),
        ErrorKind::Write(WriteFailure::WriteError(write)) if is_duplicate_key(write.code)
    )
}
