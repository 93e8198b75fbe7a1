//! What a database knows of a dataset, whatever definition a chunk is taken by.
//!
//! Jobs pin their definitions, so chunks of an older one may come after the table was made for a newer
//! one. The registry has what every writer must keep to: types, key, and all totals.

use std::collections::{BTreeMap, BTreeSet};

use landfall_domain::{Dataset, FieldType, RowVersion, StoreKind, Total};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::lanes::LaneBy;

/// Name of the registry's table or collection. No dataset can have it.
pub(crate) const REGISTRY: &str = "_landfall";
/// How long tombstones are kept: they outlive any message that could bring an older row, as queues keep
/// those for 14 days.
pub(crate) const TOMBSTONE_DAYS: u32 = 30;
/// The most old tombstones that one transaction sweeps.
pub(crate) const SWEPT_AT_ONCE: u32 = 10_000;

/// Name of the table or collection of a dataset's tombstones. No dataset can have it.
pub(crate) fn tombstones_of(dataset: &str) -> String {
    format!("_deleted_{dataset}")
}

/// What an SQL database's registry has of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) registered: Registered,
    /// Whether there may be tombstones.
    pub(crate) tombstones: bool,
    /// First version of the newest snapshot that has pruned: what is below it is stale.
    pub(crate) floor: Option<Vec<u8>>,
    /// Rows that were pruned when the floor was set.
    pub(crate) pruned: u64,
}

impl Entry {
    /// The entry of a dataset without rows.
    pub(crate) fn new(registered: Registered) -> Self {
        Self {
            registered,
            tombstones: false,
            floor: None,
            pruned: 0,
        }
    }

    /// Whether rows of an object whose first version this is come after a newer snapshot has pruned.
    pub(crate) fn has_floor_above(&self, first: RowVersion) -> bool {
        self.floor.as_deref() > Some(first.as_bytes().as_slice())
    }

    /// What a prune by the snapshot of this first version gives, where there is nothing left to prune: its
    /// own count again, and 0 after a newer one.
    pub(crate) fn pruned_by(&self, first: RowVersion) -> Option<u64> {
        let is_same = self.floor.as_deref() == Some(first.as_bytes().as_slice());
        if is_same {
            Some(self.pruned)
        } else {
            self.has_floor_above(first).then_some(0)
        }
    }
}

/// What is registered of a dataset; JSON in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registered {
    /// Every field that a definition ever had.
    pub(crate) fields: BTreeMap<String, FieldType>,
    /// Names of the key fields, in the order of the key.
    pub(crate) key: Vec<String>,
    /// Tables of totals.
    #[serde(default)]
    pub(crate) totals: Vec<Total>,
    /// Names of the fields that have an index.
    #[serde(default)]
    pub(crate) indexes: BTreeSet<String>,
    /// What of a key says its lane, once a chunk has gone by lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lane_by: Option<LaneBy>,
}

impl Registered {
    /// What a dataset's first definition registers.
    pub(crate) fn of(dataset: &Dataset) -> Self {
        let fields = dataset.fields.iter();
        Self {
            fields: fields
                .map(|field| (field.name.clone(), field.kind))
                .collect(),
            key: dataset
                .key_fields()
                .map(|field| field.name.clone())
                .collect(),
            totals: dataset.totals.clone(),
            indexes: dataset
                .indexed_fields()
                .map(|field| field.name.clone())
                .collect(),
            lane_by: None,
        }
    }

    /// What a definition registers beside its totals and indexes, which are registered once they are made.
    pub(crate) fn columns_of(dataset: &Dataset) -> Self {
        Self {
            totals: Vec::new(),
            indexes: BTreeSet::new(),
            ..Self::of(dataset)
        }
    }

    /// Type of a field that totals are of; such fields are registered with them.
    pub(crate) fn kind_of(&self, field: &str) -> FieldType {
        self.fields.get(field).copied().unwrap_or(FieldType::Text)
    }

    /// As the registry keeps it.
    pub(crate) fn to_json(&self, store: StoreKind) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(|_| {
            StoreError::unavailable(store, "the registry's definition can't be written")
        })
    }

    /// Reads what [`Self::to_json`] wrote.
    pub(crate) fn from_json(store: StoreKind, json: &str) -> Result<Self, StoreError> {
        serde_json::from_str(json)
            .map_err(|_| StoreError::unavailable(store, "the registry's definition can't be read"))
    }

    /// With what another definition of the dataset adds. It takes nothing away, and can't change what is
    /// there.
    pub(crate) fn with(
        &self,
        new: Self,
        dataset: &str,
        store: StoreKind,
    ) -> Result<Self, StoreError> {
        let misfit = |reason: String| {
            Err(StoreError::Schema {
                store,
                table: dataset.to_owned(),
                reason,
            })
        };
        if self.key != new.key {
            let (is, was) = (new.key.join(", "), self.key.join(", "));
            return misfit(format!(
                "the dataset's key is ({is}) and the table's ({was}): take the old key, or another dataset name"
            ));
        }
        let mut all = self.clone();
        for (name, kind) in new.fields {
            let known = *all.fields.entry(name.clone()).or_insert(kind);
            if known != kind {
                let (is, was) = (kind.as_str(), known.as_str());
                return misfit(format!(
                    "field {name} is {is} and its column {was}: take the old type, or a new field of another name"
                ));
            }
        }
        all.indexes.extend(new.indexes);
        for total in new.totals {
            match all.totals.iter().find(|known| known.name == total.name) {
                None => all.totals.push(total),
                Some(known) if *known == total => {}
                Some(_) => {
                    let total = &total.name;
                    return misfit(format!(
                        "totals {total} are defined otherwise than their table: run `landfall totals rebuild {dataset}`"
                    ));
                }
            }
        }
        Ok(all)
    }
}
