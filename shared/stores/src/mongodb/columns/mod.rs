//! Writes rows that are merged by column.
//!
//! The versions of a batch's documents are looked up, and `landfall_domain::merge` decides what each row does. New
//! documents are inserted. Existing ones are changed by updates that match only the versions that were read; if
//! another worker was faster, the row is decided again. The values that an update replaces are read too, only to count
//! whether they change.
//!
//! Deletes keep the protocol of [`deletes`](super::deletes): who deletes writes the tombstone first and then looks for
//! the row, and who writes a row looks for a tombstone afterwards. Either finds the other. A tombstone is merged into a
//! row like any change, so that the columns that are older than it become null. It is removed once the row has it.

mod batch;

use std::collections::HashMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use landfall_domain::{Dataset, Row, RowVersions, StoreCounts, Value};
use mongodb::Database;
use mongodb::bson::RawBsonRef;
use mongodb::bson::raw::CString;

use super::changes::mark;
use super::deletes::ensure_tombstones;
use super::document::{Encoder, Entry, id_of};
use super::error::{contended, refused};
use super::registry::Registry;
use super::upserts::confirm;
use super::{BATCH_BYTES, BATCH_ROWS};
use crate::changes::Tracking;
use crate::columns::Columns;
use crate::error::Result;
use crate::registry::{Registered, all_stale, tombstones_of};
use crate::retry::with_retries;
use crate::store::Load;
use batch::Batch;

/// How many times rows are decided again that other writers change meanwhile.
const ROUNDS: usize = 16;

/// Rows of one object on their way into a collection whose rows are merged by column.
pub(super) struct Merge<'a> {
    database: &'a Database,
    dataset: &'a Dataset,
    versions: RowVersions,
    rows: &'a [Row],
    columns: Columns,
    tracking: Tracking,
    /// Names of the registered columns.
    names: Vec<CString>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(
        database: &'a Database,
        load: Load<'a>,
        registered: &Registered,
    ) -> Result<Self> {
        let names = registered.merged.iter();
        let names = names.map(|name| CString::try_from(name.as_str()));
        let names = names.collect::<Result<_, _>>();
        Ok(Self {
            database,
            dataset: load.dataset,
            versions: load.versions,
            rows: load.rows,
            columns: Columns::new(load.dataset, registered),
            tracking: registered.tracking.clone(),
            names: names.map_err(|_| refused("a field's name cannot be encoded"))?,
        })
    }

    pub(super) async fn apply(&self, connections: u32) -> Result<StoreCounts> {
        let mut start = 0;
        let batches = std::iter::from_fn(|| {
            let end = start + batch_length(&self.rows[start..]);
            Some(std::mem::replace(&mut start, end)..end).filter(|batch| !batch.is_empty())
        });
        stream::iter(batches.collect::<Vec<_>>())
            .map(|batch| with_retries(move || self.apply_batch(&self.rows[batch.clone()])))
            .buffer_unordered(connections.max(1) as usize)
            .try_fold(StoreCounts::default(), async |mut sum, counts| {
                sum += counts;
                Ok(sum)
            })
            .await
    }

    async fn apply_batch(&self, rows: &[Row]) -> Result<StoreCounts> {
        let name = self.dataset.name.as_str();
        let registry = Registry::new(self.database, name);
        let mut registration = registry.get().await?;
        if registration.has_floor_above(self.versions.first()) {
            return Ok(all_stale(rows.len()));
        }
        let mut encoder = Encoder::new(self.dataset)?.with_changes(&self.tracking);
        let deletes = rows.iter().filter(|row| row.deleted);
        let deletes = deletes.map(|row| encoder.entry(row, self.versions.of(row)));
        let deletes: Vec<Entry> = deletes.collect::<Result<_>>()?;
        let tombstones = tombstones_of(name);
        ensure_tombstones(self.database, &tombstones, deletes.iter().collect()).await?;
        let mut batch = Batch::new(self, &encoder, rows);
        for _ in 0..ROUNDS {
            let pending = batch.pending();
            if pending.is_empty() {
                break;
            }
            let known = if registration.tombstones {
                batch.tombstones(&pending).await?
            } else {
                HashMap::new()
            };
            batch.look_and_write(&pending, &known).await?;
            registration = registry.get().await?;
            if registration.tombstones {
                batch.check_tombstones(&pending, &known).await?;
            }
        }
        if !batch.pending().is_empty() {
            return Err(contended(
                "rows kept changing, or another unique index has their values",
            ));
        }
        if !self.tracking.is_on() && registration.registered()?.tracking.is_on() {
            // The destinations are new.
            mark(self.database, name, batch.ids()).await?;
        }
        if let Some((id, version)) = &batch.found_written {
            let id = id_of(id).unwrap_or(RawBsonRef::Null);
            confirm(self.database, name, id, version).await?;
        }
        Ok(batch.counts())
    }
}

/// Returns the number of rows of the next batch.
fn batch_length(rows: &[Row]) -> usize {
    let size = |value: &Value| match value {
        Value::Text(text) => text.len(),
        // In BSON, small numbers take several times their text.
        Value::Json(text) => 8 * text.len(),
        _ => 16,
    };
    let mut bytes = 0;
    let fits = rows.iter().take(BATCH_ROWS).take_while(|row| {
        bytes += row.values.iter().map(size).sum::<usize>();
        bytes += row.extra.as_ref().map_or(0, String::len);
        bytes <= BATCH_BYTES
    });
    fits.count().max(1).min(rows.len())
}
