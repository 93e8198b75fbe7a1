//! Leases keys, and reads what they have.

use std::collections::HashMap;

use futures::stream::TryStreamExt;
use landfall_domain::{Dataset, RowVersion, Value};
use mongodb::Collection;
use mongodb::bson::{Bson, RawDocumentBuf, doc};

use super::super::Mongodb;
use super::super::document::{id_bytes, id_of};
use super::super::read::stored;
use super::state::{State, version_of};
use super::{unreadable, until};
use crate::changes::{Lease, milliseconds};
use crate::error::Result;
use crate::read::StoredRow;
use crate::registry::tombstones_of;
use crate::schema::VERSION;

impl Mongodb {
    /// Returns the versions of the tombstones of these keys.
    pub(super) async fn tombstones_of(
        &self,
        name: &str,
        ids: &[Bson],
    ) -> Result<HashMap<Vec<u8>, RowVersion>> {
        let tombstones: Collection<RawDocumentBuf> = self.database.collection(&tombstones_of(name));
        let filter = doc! { "_id": { "$in": ids } };
        let mut found = tombstones
            .find(filter)
            .projection(doc! { VERSION: 1 })
            .await?;
        let mut versions = HashMap::new();
        while let Some(document) = found.try_next().await? {
            let id = id_of(&document).map(id_bytes).ok_or_else(unreadable)?;
            versions.insert(id, version_of(&document)?);
        }
        Ok(versions)
    }

    /// Returns the rows of these keys, with their versions.
    pub(super) async fn rows_of(
        &self,
        dataset: &Dataset,
        ids: &[Bson],
    ) -> Result<HashMap<Vec<u8>, (RowVersion, StoredRow)>> {
        let rows: Collection<RawDocumentBuf> = self.database.collection(&dataset.name);
        let mut found = rows.find(doc! { "_id": { "$in": ids } }).await?;
        let mut all = HashMap::new();
        while let Some(document) = found.try_next().await? {
            let id = id_of(&document).map(id_bytes).ok_or_else(unreadable)?;
            let row = stored(dataset, &document).ok_or_else(unreadable)?;
            all.insert(id, (version_of(&document)?, row));
        }
        Ok(all)
    }

    /// Leases keys that are due, and returns those of them that this call has got.
    pub(super) async fn claim(
        &self,
        dataset: &Dataset,
        destination: &str,
        lease: &Lease,
        limit: usize,
    ) -> Result<Vec<State>> {
        let keys = self.keys(&dataset.name);
        let due = doc! {
            "destination": destination,
            "state": "waiting",
            "due_at": until(milliseconds(lease.now)),
        };
        let mut found = keys
            .find(due.clone())
            .sort(doc! { "due_at": 1, "_id": 1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .await?;
        let mut states = Vec::new();
        while let Some(document) = found.try_next().await? {
            states.push(State::read(dataset, &document)?);
        }
        if states.is_empty() {
            return Ok(states);
        }
        let ids: Vec<&str> = states.iter().map(|state| state.id.as_str()).collect();
        let mut claim = due;
        claim.insert("_id", doc! { "$in": ids.clone() });
        let pipeline = vec![doc! { "$set": {
            "uncertain": { "$or": ["$uncertain", { "$ne": ["$lease", null] }] },
            "lease": lease.id.as_str(),
            "due_at": milliseconds(lease.until),
            "leased": "$wanted",
            "gone": false,
        } }];
        keys.update_many(claim, pipeline).await?;
        let mut found = keys
            .find(doc! { "_id": { "$in": ids }, "lease": lease.id.as_str() })
            .await?;
        let mut claimed = HashMap::new();
        while let Some(document) = found.try_next().await? {
            let state = State::read(dataset, &document)?;
            claimed.insert(state.id.clone(), state);
        }
        // In the order in which they were due.
        let claimed = states.iter().filter_map(|state| claimed.remove(&state.id));
        Ok(claimed.collect())
    }
}

/// Returns the approximate number of bytes of a row.
pub(super) fn bytes_of(row: &StoredRow) -> usize {
    let text = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Json(text) => text.len(),
        _ => size_of::<Value>(),
    };
    row.values.iter().map(text).sum::<usize>() + row.extra.as_ref().map_or(0, String::len)
}
