//! `MongoDB`: the keys of a batch are looked up, absent ones inserted, older ones updated under guard.
//!
//! A document is `_id` (the key's value; a document of the key's fields where there are several), the
//! dataset's fields, `_extra` as JSON text, `_digest` of all values, `_version`. Dates are BSON
//! dates, which hold milliseconds; in `_id` they are ISO 8601 text. The digest is of the full
//! values. JSON is BSON where that says the same; a value with a name that is empty, has a dot or
//! starts with `$`, with a number that neither a long nor a double holds, or nested
//! deeper than 90 stays text, and so does all JSON of a document beyond 16 MiB.
//!
//! Batches are written one by one: after an error some are there, and applying the chunk again
//! counts their rows as unchanged.

mod batch;
mod document;
mod error;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use landfall_domain::{Dataset, ObjectOrder, Row, StoreCounts, StoreKind};
use mongodb::bson::doc;
use mongodb::error::ErrorKind;
use mongodb::options::{
    ClientOptions, DatabaseOptions, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::results::CollectionType;
use mongodb::{Client, Database};

use crate::retry::{bounded, retried};
use crate::schema::{Prepared, Table};
use crate::{Store, StoreError, StoreOptions};
use batch::settle;
use document::{Entry, MAX_BYTES, entry};
use error::{from_mongodb, refused};

/// Rows of one batch, and the bytes of its documents (but for one larger document alone): an
/// `update` command is one message of at most 16 MiB.
const BATCH_ROWS: usize = 1000;
const BATCH_BYTES: usize = 8 << 20;
/// A `MongoDB` database.
pub(crate) struct Mongodb {
    database: Database,
    options: StoreOptions,
    prepared: Prepared,
}

impl Mongodb {
    /// Connects when first used.
    pub(crate) async fn new(uri: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let wrong = |_| {
            StoreError::Config("the MongoDB URI can't be read or its name not be found".to_owned())
        };
        let mut client = ClientOptions::parse(uri).await.map_err(wrong)?;
        client.app_name.get_or_insert_with(|| "landfall".to_owned());
        client.max_pool_size = Some(options.connections);
        client
            .server_selection_timeout
            .get_or_insert(options.timeout / 2);
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
        Ok(Self {
            database: client.database_with_options(&name, safe),
            options,
            prepared: Prepared::default(),
        })
    }

    async fn make(&self, name: &str) -> Result<(), StoreError> {
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
        Ok(())
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
            .once(&table, self.options.timeout, || self.make(&table.name))
            .await
    }

    async fn apply(
        &self,
        dataset: &Dataset,
        order: &ObjectOrder,
        rows: &Arc<[Row]>,
    ) -> Result<StoreCounts, StoreError> {
        let name = Table::of(dataset, StoreKind::Mongodb)?.name;
        let batches = Batches {
            dataset,
            order,
            rows,
        };
        let name = name.as_str();
        let all = stream::iter(batches)
            .map(|entries| async move {
                let entries = entries?;
                retried(|| settle(&self.database, name, &entries)).await
            })
            .buffer_unordered(self.options.connections.max(1) as usize)
            .try_fold(StoreCounts::default(), async |mut sum, counts| {
                sum += counts;
                Ok(sum)
            });
        bounded(StoreKind::Mongodb, self.options.timeout, all)
            .await
            .inspect_err(|_| self.prepared.forget(name))
    }

    async fn prune(&self, _: &Dataset, _: &ObjectOrder) -> Result<u64, StoreError> {
        Err(StoreError::Config("not built yet".to_owned()))
    }

    async fn rebuild_totals(&self, _: &Dataset) -> Result<Vec<(String, u64)>, StoreError> {
        Err(StoreError::Config("not built yet".to_owned()))
    }
}

/// Cuts rows into batches of entries.
struct Batches<'a> {
    dataset: &'a Dataset,
    order: &'a ObjectOrder,
    rows: &'a [Row],
}

impl Iterator for Batches<'_> {
    type Item = Result<Vec<Entry>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < BATCH_ROWS
            && let Some((row, rest)) = self.rows.split_first()
        {
            let Ok(entry) = entry(self.dataset, row, self.order.at(row.offset)) else {
                return Some(Err(refused("a row can't be encoded")));
            };
            bytes += entry.document.as_bytes().len();
            if entry.document.as_bytes().len() > MAX_BYTES {
                return Some(Err(refused("a row is more than a document of 16 MiB")));
            }
            if !entries.is_empty() && bytes > BATCH_BYTES {
                break;
            }
            entries.push(entry);
            self.rows = rest;
        }
        (!entries.is_empty()).then_some(Ok(entries))
    }
}
