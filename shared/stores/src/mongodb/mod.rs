//! MongoDB: rows are written in batches, guarded by their version.
//!
//! A document has `_id` (the key's value), the dataset's fields, `_extra` as JSON text, `_digest` of all values,
//! and `_version`. If the key has several fields, `_id` is a text of them ([`key_text`]) and `_key` a document of
//! them. Dates are BSON dates, which hold milliseconds; in `_id` and `_key` they are ISO 8601 text. The digest
//! covers the full values. JSON is stored as BSON, whatever it contains ([`json`]). Only where a document of such BSON
//! would exceed 16 MiB, all of its JSON is text.
//!
//! A batch has up to 2,000 rows (8 MiB at most), encoded straight to BSON. Batches are written one by one. After an
//! error, some batches are written; applying the chunk again counts their rows as unchanged. [`upserts`] describes
//! how a batch is written, [`deletes`] how deleted keys stay deleted.
//!
//! Rows that are merged by column take another way ([`columns`]). Their documents have `_versions` and no digest.
//!
//! `bulkWrite` of server 8 was slower than `update` on the local server, and is not used.

mod changes;
mod columns;
mod command;
mod deletes;
mod destinations;
mod document;
mod error;
mod json;
mod key_text;
mod numbers;
mod prune;
mod read;
mod registry;
mod upserts;
mod versions;
mod walk;

use std::cmp::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use landfall_domain::{
    Dataset, Field, PrunePreview, Row, RowVersion, RowVersions, StoreCounts, StoreKind, Structure,
    TOMBSTONE_DAYS,
};
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{
    ClientOptions, DatabaseOptions, IndexOptions, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::results::CollectionType;
use mongodb::{Client, Collection, Database, IndexModel};
use tracing::info;

use crate::changes::Followed;
use crate::error::{Result, StoreError};
use crate::maintenance::{Current, Maintenance, Prepared};
use crate::registry::{all_stale, tombstones_of};
use crate::retry::with_retries;
use crate::schema::Table;
use crate::store::{Backend, Load, StoreOptions};
use crate::walk::Step;
use columns::Merge;
use deletes::{enforce_deletes, remove_below};
use document::{Encoder, Entry};
pub(crate) use read::ReadMongodb;
use registry::{Registration, Registry};
use upserts::{Guess, write_batch};

/// Limits of one batch: rows, and bytes of its documents (except a single larger one). A command is one document of
/// at most 16 MiB.
const BATCH_ROWS: usize = 2000;
const BATCH_BYTES: usize = 8 << 20;

pub(crate) struct Mongodb {
    database: Database,
    connections: u32,
    step_rows: u64,
    small_table_rows: u64,
    guess: Mutex<Guess>,
    followed: Followed,
}

impl Mongodb {
    pub(crate) async fn new(uri: &str, options: StoreOptions) -> Result<Self> {
        Ok(Self {
            database: database(uri, options.connections, options.timeout / 2).await?,
            connections: options.connections,
            step_rows: options.step_rows,
            small_table_rows: options.small_table_rows,
            guess: Mutex::default(),
            followed: Followed::default(),
        })
    }

    fn tombstones(&self, name: &str) -> Collection<Document> {
        self.database.collection(&tombstones_of(name))
    }

    /// Returns the fields whose indexes are missing.
    async fn missing_indexes<'d>(&self, dataset: &'d Dataset) -> Result<Vec<&'d Field>> {
        let rows = self.database.collection::<Document>(&dataset.name);
        let mut existing = Vec::new();
        let mut indexes = rows.list_indexes().await?;
        while let Some(index) = indexes.try_next().await? {
            existing.push(index.keys);
        }
        // By their fields: servers return the direction as numbers of any type.
        let is_there = |wanted: Document| {
            let mut existing = existing.iter();
            existing.any(|keys| keys.keys().eq(wanted.keys()))
        };
        let fields = dataset.indexed_fields();
        let missing = fields.filter(|field| !is_there(index_keys(dataset, field)));
        Ok(missing.collect())
    }

    async fn apply_batch(
        &self,
        name: &str,
        versions: RowVersions,
        known: &Registration,
        batch: &Batch,
    ) -> Result<StoreCounts> {
        let (database, entries) = (&self.database, batch.entries.as_slice());
        let tracking = &known.registered()?.tracking;
        if let Some(floor) = known.floor()
            && known.has_floor_above(versions.first())
        {
            // An attempt that crashed may have written them.
            remove_below(database, name, entries, floor, tracking).await?;
            return Ok(all_stale(entries.len()));
        }
        if batch.deletes {
            let counts = deletes::delete_keys(database, name, entries).await?;
            let registration = Registry::new(database, name).get().await?;
            registration.expect_whole_rows()?;
            if !tracking.is_on() && registration.registered()?.tracking.is_on() {
                // The destinations are new.
                changes::mark(database, name, entries.iter().map(Entry::id)).await?;
            }
            return Ok(counts);
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
        let outcome = write_batch(database, name, &open, guess).await?;
        *self.guess.lock().unwrap_or_else(PoisonError::into_inner) = outcome.guess;
        enforce_deletes(database, name, versions, entries, &stale, outcome, tracking).await
    }
}

#[async_trait]
impl Backend for Mongodb {
    const KIND: StoreKind = StoreKind::Mongodb;

    fn followed(&self) -> &Followed {
        &self.followed
    }

    async fn prepare(&self, dataset: &Dataset, table: &Table) -> Result<Prepared> {
        let name = dataset.name.as_str();
        let mismatch = |reason| StoreError::schema(StoreKind::Mongodb, name, reason);
        if let Err(error) = self.database.create_collection(name).await {
            const NAMESPACE_EXISTS: i32 = 48;
            if !matches!(error.kind.as_ref(), ErrorKind::Command(command) if command.code == NAMESPACE_EXISTS)
            {
                return Err(error.into());
            }
        }
        let found = self.database.list_collections();
        let mut found = found.filter(doc! { "name": name }).await?;
        while let Some(there) = found.try_next().await? {
            if !matches!(there.collection_type, CollectionType::Collection) {
                return Err(mismatch("it is a view or a time series; rename it"));
            }
            if there.options.collation.is_some() {
                return Err(mismatch(
                    "it has a collation, and keys must differ by their bytes; rename it",
                ));
            }
        }
        // The server deletes expired tombstones.
        let options = IndexOptions::builder()
            .expire_after(Duration::from_hours(u64::from(TOMBSTONE_DAYS) * 24))
            .build();
        let sweep = IndexModel::builder()
            .keys(doc! { "_deleted_at": 1 })
            .options(options)
            .build();
        self.tombstones(name).create_index(sweep).await?;
        let missing = self.missing_indexes(dataset).await?;
        let rows = self.database.collection::<Document>(name);
        let is_left_out = !missing.is_empty() && {
            let some = rows
                .count_documents(doc! {})
                .limit(self.small_table_rows + 1);
            some.await? > self.small_table_rows
        };
        if !is_left_out {
            for field in missing {
                let index = IndexModel::builder().keys(index_keys(dataset, field));
                rows.create_index(index.build()).await?;
            }
        }
        let registry = Registry::new(&self.database, name);
        registry.register(dataset, table).await?;
        Ok(Prepared::lacking(is_left_out))
    }

    /// The server joins a second request for an index that it creates, so no lock is needed.
    async fn maintain(
        &self,
        dataset: &Dataset,
        _: &Table,
        current: &Current,
    ) -> Result<Maintenance> {
        let missing = self.missing_indexes(dataset).await?;
        let Some(field) = missing.first().copied() else {
            return Ok(Maintenance::Done);
        };
        current.send_replace(Some(Structure::index(&field.name)));
        info!(table = %dataset.name, field = %field.name, "creating an index");
        let rows = self.database.collection::<Document>(&dataset.name);
        let index = IndexModel::builder().keys(index_keys(dataset, field));
        rows.create_index(index.build()).await?;
        Ok(Maintenance::Continues)
    }

    async fn apply(&self, load: Load<'_>) -> Result<StoreCounts> {
        let (versions, rows) = (load.versions, load.rows.as_slice());
        let name = load.dataset.name.as_str();
        let registry = Registry::new(&self.database, name);
        let known = registry.get().await?;
        if !known.tombstones && rows.iter().any(|row| row.deleted) {
            registry.expect_tombstones().await?;
        }
        let registered = known.registered()?;
        self.followed.note(name, &registered.tracking);
        if registered.is_merged() {
            let merge = Merge::new(&self.database, load, &registered)?;
            return merge.apply(self.connections).await;
        }
        let batches = |deletes| -> Result<_> {
            Ok(Batches {
                encoder: Encoder::new(load.dataset)?.with_changes(&registered.tracking),
                versions,
                rows,
                deletes,
                waiting: None,
            })
        };
        let known = &known;
        stream::iter(batches(false)?.chain(batches(true)?))
            .map(|batch| async move {
                let batch = batch?;
                with_retries(|| self.apply_batch(name, versions, known, &batch)).await
            })
            .buffer_unordered(self.connections.max(1) as usize)
            .try_fold(StoreCounts::default(), async |mut sum, counts| {
                sum += counts;
                Ok(sum)
            })
            .await
    }

    async fn preview_prune(&self, table: &Table, floor: RowVersion) -> Result<Step<PrunePreview>> {
        prune::preview(&self.database, &table.name, floor, self.step_rows).await
    }

    async fn prune(&self, table: &Table, floor: RowVersion) -> Result<Step<u64>> {
        let followed = &self.followed;
        prune::step(&self.database, &table.name, followed, floor, self.step_rows).await
    }

    async fn rebuild_totals(&self, _: &Dataset, _: &Table) -> Result<Vec<(String, u64)>> {
        Ok(Vec::new())
    }
}

/// Returns the keys of the index of a field.
fn index_keys(dataset: &Dataset, field: &Field) -> Document {
    doc! { document::path(dataset, &field.name): 1, "_id": 1 }
}

async fn database(uri: &str, connections: u32, server_selection: Duration) -> Result<Database> {
    let wrong = |_| {
        StoreError::Config("the MongoDB URI cannot be parsed, or its host not found".to_owned())
    };
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
    // Acknowledged writes must survive a change of the primary, as the ledger counts them.
    let safe = DatabaseOptions::builder()
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .write_concern(WriteConcern::majority())
        .build();
    Ok(client.database_with_options(&name, safe))
}

struct Batch {
    /// Whether all of them delete their keys; otherwise none does.
    deletes: bool,
    entries: Vec<Entry>,
}

struct Batches<'a> {
    encoder: Encoder<'a>,
    versions: RowVersions,
    rows: &'a [Row],
    deletes: bool,
    /// An entry that did not fit the previous batch.
    waiting: Option<Entry>,
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch>;

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
            let entry = match self.encoder.entry(row, self.versions.of(row)) {
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
