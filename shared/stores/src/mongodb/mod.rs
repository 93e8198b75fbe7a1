//! `MongoDB`: rows are written in batches, under a guard of their version.
//!
//! A document is `_id` (the key's value), the dataset's fields, `_extra` as JSON text, `_digest` of all values,
//! `_version`. Where the key has several fields, `_id` is a text of them ([`key_text`]), and `_key` a document of
//! them. Dates are BSON dates, which hold milliseconds; in `_id` and `_key` they are ISO 8601 text. The digest is of
//! the full values. JSON is BSON where that says the same; a value with a name that is empty, has a dot or
//! starts with `$`, with a number that neither a long nor a double holds, or nested
//! deeper than 90 stays text, and so does all JSON of a document beyond 16 MiB.
//!
//! A batch is taken for what the one before was: rows of a first load are inserted, changed ones
//! updated, without a look at what is there. Only what that does not settle is looked up by key.
//!
//! Batches are written one by one: after an error some are there, and applying the chunk again
//! counts their rows as unchanged. How deleted keys stay deleted says [`deletes`].

mod command;
mod deletes;
mod document;
mod error;
mod key_text;
mod read;
mod registry;
mod upserts;

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use landfall_domain::{Dataset, ObjectOrder, Row, StoreCounts, StoreKind};
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{
    ClientOptions, DatabaseOptions, IndexOptions, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::results::CollectionType;
use mongodb::{Client, Collection, Database, IndexModel};

use crate::registry::{TOMBSTONE_DAYS, tombstones_of};
use crate::retry::{bounded, retried};
use crate::schema::{Prepared, Table};
use crate::{Store, StoreError, StoreOptions};
use deletes::{all_stale, keep_deleted, remove_below};
use document::{Encoder, Entry, binary_value};
use error::from_mongodb;
pub(crate) use read::ReadMongodb;
use registry::{Registration, Registry};
use upserts::{Guess, settle};

/// Rows of one batch, and the bytes of its documents (but for one larger document alone): a
/// command is one document of at most 16 MiB.
const BATCH_ROWS: usize = 2000;
const BATCH_BYTES: usize = 8 << 20;

/// A `MongoDB` database.
pub(crate) struct Mongodb {
    database: Database,
    options: StoreOptions,
    prepared: Prepared,
    guess: Mutex<Guess>,
}

impl Mongodb {
    /// Connects when first used.
    pub(crate) async fn new(uri: &str, options: StoreOptions) -> Result<Self, StoreError> {
        Ok(Self {
            database: database(uri, options.connections, options.timeout / 2).await?,
            options,
            prepared: Prepared::default(),
            guess: Mutex::default(),
        })
    }

    async fn make(&self, dataset: &Dataset) -> Result<(), StoreError> {
        let name = dataset.name.as_str();
        let misfit = |reason: &str| StoreError::Schema {
            store: StoreKind::Mongodb,
            table: name.to_owned(),
            reason: reason.to_owned(),
        };
        if let Err(error) = self.database.create_collection(name).await {
            const NAMESPACE_EXISTS: i32 = 48;
            if !matches!(error.kind.as_ref(), ErrorKind::Command(command) if command.code == NAMESPACE_EXISTS)
            {
                return Err(from_mongodb(&error));
            }
        }
        let found = self
            .database
            .list_collections()
            .filter(doc! { "name": name })
            .await;
        let mut found = found.map_err(|error| from_mongodb(&error))?;
        while let Some(there) = found
            .try_next()
            .await
            .map_err(|error| from_mongodb(&error))?
        {
            if !matches!(there.collection_type, CollectionType::Collection) {
                return Err(misfit("it is a view or a time series; rename it"));
            }
            if there.options.collation.is_some() {
                return Err(misfit(
                    "it has a collation, and keys must differ by their bytes; rename it",
                ));
            }
        }
        // The server sweeps them.
        let options = IndexOptions::builder()
            .expire_after(Duration::from_hours(u64::from(TOMBSTONE_DAYS) * 24))
            .build();
        let sweep = IndexModel::builder()
            .keys(doc! { "_deleted_at": 1 })
            .options(options)
            .build();
        self.tombstones(name)
            .create_index(sweep)
            .await
            .map_err(|error| from_mongodb(&error))?;
        for field in dataset.indexed_fields() {
            let by = IndexModel::builder()
                .keys(doc! { document::path(dataset, &field.name): 1, "_id": 1 })
                .build();
            self.database
                .collection::<Document>(name)
                .create_index(by)
                .await
                .map_err(|error| from_mongodb(&error))?;
        }
        Registry::new(&self.database, name).register(dataset).await
    }

    fn tombstones(&self, name: &str) -> Collection<Document> {
        self.database.collection(&tombstones_of(name))
    }

    /// Applies one batch.
    async fn apply_batch(
        &self,
        name: &str,
        order: &ObjectOrder,
        known: &Registration,
        batch: &Batch,
    ) -> Result<StoreCounts, StoreError> {
        let (database, entries) = (&self.database, batch.entries.as_slice());
        if let Some(floor) = known.floor()
            && known.has_floor_above(order.at(0))
        {
            // A crashed attempt may have written them.
            remove_below(database, name, entries, floor).await?;
            return Ok(all_stale(entries));
        }
        if batch.deletes {
            return deletes::bury(database, name, entries).await;
        }
        let stale = if known.tombstones {
            let tombstones = deletes::tombstones(database, name, entries).await?;
            let is_newer = |tombstone| tombstone == Some(Ordering::Greater);
            tombstones.into_iter().map(is_newer).collect()
        } else {
            vec![false; entries.len()]
        };
        let open = entries.iter().zip(&stale).filter(|(_, stale)| !**stale);
        let open: Vec<&Entry> = open.map(|(entry, _)| entry).collect();
        let guess = *self.guess.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = settle(database, name, &open, guess).await?;
        *self.guess.lock().unwrap_or_else(PoisonError::into_inner) = settled.guess;
        keep_deleted(database, name, order, entries, &stale, settled).await
    }

    async fn apply_all(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &[Row],
    ) -> Result<StoreCounts, StoreError> {
        let name = dataset.name.as_str();
        let registry = Registry::new(&self.database, name);
        let known = registry.get().await?;
        if !known.tombstones && rows.iter().any(|row| row.deleted) {
            registry.expect_tombstones().await?;
        }
        let batches = |deletes| -> Result<_, StoreError> {
            Ok(Batches {
                encoder: Encoder::new(dataset)?,
                order,
                rows,
                deletes,
                waiting: None,
            })
        };
        let known = &known;
        stream::iter(batches(false)?.chain(batches(true)?))
            .map(|batch| async move {
                let batch = batch?;
                retried(|| self.apply_batch(name, order, known, &batch)).await
            })
            .buffer_unordered(self.options.connections.max(1) as usize)
            .try_fold(StoreCounts::default(), async |mut sum, counts| {
                sum += counts;
                Ok(sum)
            })
            .await
    }

    async fn prune_all(&self, name: &str, order: &ObjectOrder) -> Result<u64, StoreError> {
        let error = |error| from_mongodb(&error);
        let registry = Registry::new(&self.database, name);
        let floor = order.at(0);
        let mut known = registry.raise_floor(floor).await?;
        if known.has_floor_above(floor) {
            return Ok(0);
        }
        let rows = self.database.collection::<Document>(name);
        let below = doc! { "_version": { "$lt": binary_value(floor.as_bytes()) } };
        if known.pruned.is_none() {
            // Before any goes, so that whoever repeats this tells the same.
            let pruned = rows.count_documents(below.clone()).await.map_err(error)?;
            registry.count_pruned(floor.as_bytes(), pruned).await?;
            known = registry.get().await?;
        }
        rows.delete_many(below.clone()).await.map_err(error)?;
        self.tombstones(name)
            .delete_many(below)
            .await
            .map_err(error)?;
        Ok(known.pruned.unwrap_or_default())
    }
}

#[async_trait]
impl Store for Mongodb {
    fn kind(&self) -> StoreKind {
        StoreKind::Mongodb
    }

    async fn prepare(&self, dataset: &Dataset) -> Result<(), StoreError> {
        let table = Table::of(dataset, StoreKind::Mongodb)?;
        self.prepared
            .once(&table, self.options.timeout, || self.make(dataset))
            .await
    }

    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<Vec<Row>>,
    ) -> Result<StoreCounts, StoreError> {
        let name = Table::of(dataset, StoreKind::Mongodb)?.name;
        let all = self.apply_all(dataset, order, rows);
        bounded(StoreKind::Mongodb, self.options.timeout, all)
            .await
            .inspect_err(|_| self.prepared.forget(&name))
    }

    async fn prune(&self, dataset: &Dataset, order: &ObjectOrder) -> Result<u64, StoreError> {
        let name = Table::of(dataset, StoreKind::Mongodb)?.name;
        let all = retried(|| self.prune_all(&name, order));
        bounded(StoreKind::Mongodb, self.options.timeout, all)
            .await
            .inspect_err(|_| self.prepared.forget(&name))
    }

    async fn rebuild_totals(&self, _: &Dataset) -> Result<Vec<(String, u64)>, StoreError> {
        Ok(Vec::new())
    }
}

/// The database of a URI.
async fn database(
    uri: &str,
    connections: u32,
    server_selection: Duration,
) -> Result<Database, StoreError> {
    let wrong =
        |_| StoreError::Config("the MongoDB URI can't be read or its name not be found".to_owned());
    let mut client = ClientOptions::parse(uri).await.map_err(wrong)?;
    client.app_name.get_or_insert_with(|| "landfall".to_owned());
    client.max_pool_size = Some(connections);
    client
        .server_selection_timeout
        .get_or_insert(server_selection);
    client.connect_timeout.get_or_insert(Duration::from_secs(5));
    let name = client
        .default_database
        .clone()
        .unwrap_or_else(|| "landfall".to_owned());
    let client = Client::with_options(client).map_err(wrong)?;
    // What was acknowledged must outlive a change of the primary: the ledger counts on it.
    let safe = DatabaseOptions::builder()
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .write_concern(WriteConcern::majority())
        .build();
    Ok(client.database_with_options(&name, safe))
}

/// Rows that are written together.
struct Batch {
    /// Whether all of them delete their keys; else none does.
    deletes: bool,
    entries: Vec<Entry>,
}

/// Cuts rows into batches.
struct Batches<'a> {
    encoder: Encoder<'a>,
    order: &'a ObjectOrder,
    rows: &'a [Row],
    deletes: bool,
    /// An entry that the batch before had no room for.
    waiting: Option<Entry>,
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut entries: Vec<Entry> = self.waiting.take().into_iter().collect();
        let size = |entry: &Entry| entry.document.as_bytes().len();
        let mut bytes: usize = entries.iter().map(size).sum();
        while entries.len() < BATCH_ROWS
            && let Some((row, rest)) = self.rows.split_first()
        {
            self.rows = rest;
            if row.deleted != self.deletes {
                continue;
            }
            let entry = match self.encoder.entry(row, self.order.at(row.offset)) {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            bytes += size(&entry);
            if !entries.is_empty() && bytes > BATCH_BYTES {
                self.waiting = Some(entry);
                break;
            }
            entries.push(entry);
        }
        let deletes = self.deletes;
        (!entries.is_empty()).then_some(Ok(Batch { deletes, entries }))
    }
}
