//! The registry: what a database records about a dataset, independent of the definition that a chunk uses.
//!
//! Jobs pin the version of their definition, so chunks of an older definition may arrive after the table was
//! changed for a newer one. Everything that all writers must respect is therefore stored in the database itself:
//! one row per dataset in the table (in MongoDB, collection) `_landfall`. It contains every field that any
//! definition had, with its type, the key, all tables of totals, and the field that decides which row is newer.
//!
//! Preparing a table only adds to the registry. A changed type, key or `order` is refused with a remedy, before any
//! store is changed: the chunk is marked dead and the job fails with `schema_mismatch`, because a retry could not
//! succeed. A merge updates all registered totals, not just those of its definition.
//!
//! A dataset has one owner, the first stack that prepares it. Another stack is refused in the same way, because each
//! would prune the rows of the other. A table that somebody drops has no owner any more, except in MongoDB.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use landfall_domain::{
    Dataset, EXTRA_COLUMN, FieldType, Mode, RowVersion, StoreCounts, StoreKind, Total,
    UnknownColumns,
};
use serde::{Deserialize, Serialize};

use crate::changes::Tracking;
use crate::error::{Result, StoreError};
use crate::schema::{Column, ColumnKind, Table, words_column};
use crate::walk::{Prune, Step, Walks};

/// Name of the registry's table or collection. No dataset can have this name.
pub(crate) const REGISTRY: &str = "_landfall";
/// The maximum number of expired tombstones that a chunk with deletes sweeps.
pub(crate) const SWEPT_BY_CHUNK: u64 = 10_000;

/// Returns the name of the table or collection of a dataset's tombstones. No dataset can have this name.
pub(crate) fn tombstones_of(dataset: &str) -> String {
    format!("_deleted_{dataset}")
}

/// The columns of a registry entry as SQL databases return them: definition, tombstones, floor, pruned, walks.
pub(crate) type EntryColumns = (String, bool, Option<Vec<u8>>, i64, Option<String>);

/// A registry entry of an SQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) registered: Registered,
    pub(crate) tombstones: bool,
    /// First version of the newest snapshot that has pruned, or has begun to. Rows below it are stale.
    pub(crate) floor: Option<Vec<u8>>,
    /// Number of rows that this prune has deleted so far.
    pub(crate) pruned: u64,
    pub(crate) walks: Walks,
}

impl Entry {
    pub(crate) fn new(registered: Registered) -> Self {
        Self {
            registered,
            tombstones: false,
            floor: None,
            pruned: 0,
            walks: Walks::default(),
        }
    }

    pub(crate) fn from_columns(
        store: StoreKind,
        (definition, tombstones, floor, pruned, walks): EntryColumns,
    ) -> Result<Self> {
        let walks = walks.map(|json| serde_json::from_str(&json)).transpose();
        let walks =
            walks.map_err(|_| StoreError::unavailable(store, "the walks cannot be decoded"))?;
        Ok(Self {
            registered: Registered::from_json(store, &definition)?,
            tombstones,
            floor,
            pruned: unsigned(store, pruned)?,
            walks: walks.unwrap_or_default(),
        })
    }

    /// Returns the column of the walks.
    pub(crate) fn walks_json(&self, store: StoreKind) -> Result<Option<String>> {
        if self.walks == Walks::default() {
            return Ok(None);
        }
        let json = serde_json::to_string(&self.walks).map(Some);
        json.map_err(|_| StoreError::unavailable(store, "the walks cannot be encoded"))
    }

    /// Returns whether a newer snapshot than this first version has pruned.
    pub(crate) fn has_floor_above(&self, first: RowVersion) -> bool {
        self.floor.as_deref() > Some(first.as_bytes())
    }

    /// Returns the number of rows that the snapshot of this first version has pruned, or none if the prune has not
    /// ended. It is 0 after a newer snapshot.
    pub(crate) fn pruned_by(&self, first: RowVersion) -> Option<u64> {
        if self.walks.prune.is_some() {
            return None;
        }
        let is_same = self.floor.as_deref() == Some(first.as_bytes());
        if is_same {
            Some(self.pruned)
        } else {
            self.has_floor_above(first).then_some(0)
        }
    }
}

impl Entry {
    /// Raises the floor to this first version, unless a newer snapshot has, and starts its prune. Returns how far the
    /// prune of the floor is, which has not ended.
    pub(crate) fn begin_prune(&mut self, first: RowVersion) -> Prune {
        let is_raised = self.floor.as_deref() >= Some(first.as_bytes());
        if !is_raised {
            self.floor = Some(first.as_bytes().to_vec());
            self.pruned = 0;
            self.walks.begin_prune(first);
        }
        self.walks.prune.clone().unwrap_or_default()
    }

    /// Adds a range of the prune, which ends at `next`.
    pub(crate) fn advance_prune(&mut self, prune: Prune, deleted: u64, next: Option<String>) {
        if !prune.is_in_tombstones {
            self.pruned += deleted;
        }
        self.walks.prune = prune.after(next, self.tombstones);
    }

    /// Returns the step of the prune of this first version that ends here.
    pub(crate) fn prune_step(&self, first: RowVersion) -> Step<u64> {
        self.pruned_by(first).map_or(Step::Continues, Step::Done)
    }

    /// Returns the floor in hexadecimal, empty if there is none.
    pub(crate) fn floor_hex(&self) -> String {
        let mut hex = String::new();
        for byte in self.floor.iter().flatten() {
            // Writing to a text cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

/// Converts a count to what SQL databases store.
pub(crate) fn signed(store: StoreKind, count: u64) -> Result<i64> {
    let signed = i64::try_from(count);
    signed.map_err(|_| StoreError::unavailable(store, "a count is beyond 64 bits"))
}

pub(crate) fn unsigned(store: StoreKind, count: i64) -> Result<u64> {
    let unsigned = u64::try_from(count);
    unsigned.map_err(|_| StoreError::unavailable(store, "a count is negative"))
}

/// Returns the rest of `total` rows after what a database has counted.
pub(crate) fn uncounted<const N: usize>(
    store: StoreKind,
    total: u64,
    counted: [u64; N],
) -> Result<u64> {
    let rest = total.checked_sub(counted.iter().sum());
    rest.ok_or_else(|| StoreError::unavailable(store, "its counts exceed the rows of the chunk"))
}

/// Returns the counts of rows that are all stale, as a newer snapshot has pruned.
pub(crate) fn all_stale(rows: usize) -> StoreCounts {
    StoreCounts {
        stale: rows as u64,
        ..StoreCounts::default()
    }
}

/// The definition of a dataset as registered; JSON in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registered {
    /// Every field that a definition ever had.
    pub(crate) fields: BTreeMap<String, FieldType>,
    pub(crate) key: Vec<String>,
    #[serde(default)]
    pub(crate) totals: Vec<Total>,
    #[serde(default)]
    pub(crate) indexes: BTreeSet<String>,
    /// The field whose value decides which row is newer. Without it in the versions of some rows, none of these would
    /// ever be newer, so it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<String>,
    /// The columns outside the key, if any definition merges by column. Their numbers are in `_versions` of rows, so
    /// others are only appended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) merged: Vec<String>,
    /// Whether any definition keeps unknown columns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) extra: bool,
    /// The stack that owns the dataset. Others would prune its rows, and order theirs by other objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// The fields that are searched, if any definition searches. Every writer stores the words of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) search: Vec<String>,
    /// Whether any definition is that of snapshots.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) snapshots: bool,
    /// The destinations that follow the rows. No definition of the dataset has them.
    #[serde(default, skip_serializing_if = "Tracking::is_empty")]
    pub(crate) tracking: Tracking,
}

impl Registered {
    /// Returns what a dataset's first definition registers.
    pub(crate) fn new(dataset: &Dataset, table: &Table) -> Self {
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
            order: dataset.order().map(|field| field.name.clone()),
            merged: if dataset.mode == Mode::Merge {
                value_columns(dataset)
            } else {
                Vec::new()
            },
            extra: dataset.unknown_columns == UnknownColumns::Keep,
            owner: table.owner.clone(),
            search: table.search.clone(),
            snapshots: dataset.mode == Mode::Snapshot,
            tracking: Tracking::default(),
        }
    }

    /// Returns whether rows are merged by column, whatever the definition of a job is.
    ///
    /// Once a definition merges, the rows of all do: those of an older one may come late, and a later one may not
    /// overwrite the newer columns of a row that is older as a whole.
    pub(crate) fn is_merged(&self) -> bool {
        !self.merged.is_empty()
    }

    /// Returns the columns that are merged, and those of the words of searched fields, which follow these fields.
    pub(crate) fn merged_columns(&self) -> impl Iterator<Item = Column> {
        let merged = self.merged.iter().map(|name| Column {
            name: name.clone(),
            kind: if name == EXTRA_COLUMN {
                ColumnKind::Extra
            } else {
                ColumnKind::Field(self.kind_of(name))
            },
        });
        merged.chain(self.search.iter().map(|field| words_column(field)))
    }

    /// Returns what a definition registers except its totals, indexes and search, which are registered once they are
    /// created or begun.
    pub(crate) fn columns_of(dataset: &Dataset, table: &Table) -> Self {
        Self {
            totals: Vec::new(),
            indexes: BTreeSet::new(),
            search: Vec::new(),
            ..Self::new(dataset, table)
        }
    }

    /// Returns what is registered, with the indexes and totals that `other` has: maintenance creates the rest.
    pub(crate) fn with_structures_of(self, other: &Self) -> Self {
        Self {
            indexes: other.indexes.clone(),
            totals: other.totals.clone(),
            ..self
        }
    }

    /// Adds columns to those that are merged. If there are any, all columns outside the key are.
    fn add_merged(&mut self, columns: Vec<String>) {
        let mut missing = columns;
        if self.is_merged() || !missing.is_empty() {
            let extra = self.extra.then(|| EXTRA_COLUMN.to_owned());
            missing.extend(self.fields.keys().cloned().chain(extra));
        }
        for column in missing {
            if !self.key.contains(&column) && !self.merged.contains(&column) {
                self.merged.push(column);
            }
        }
    }

    /// Returns the type of a field that totals use. A field that is not registered has no column, so its type does not
    /// matter: statements about it fail.
    pub(crate) fn kind_of(&self, field: &str) -> FieldType {
        self.fields.get(field).copied().unwrap_or(FieldType::Text)
    }

    pub(crate) fn to_json(&self, store: StoreKind) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|_| StoreError::unavailable(store, "the registry entry cannot be encoded"))
    }

    pub(crate) fn from_json(store: StoreKind, json: &str) -> Result<Self> {
        serde_json::from_str(json)
            .map_err(|_| StoreError::unavailable(store, "the registry entry cannot be decoded"))
    }

    /// Fails if another stack owns the dataset.
    pub(crate) fn check_owner(
        &self,
        other: Option<&str>,
        dataset: &str,
        store: StoreKind,
    ) -> Result<()> {
        match (&self.owner, other) {
            (Some(owner), Some(other)) if owner != other => {
                let reason = format!(
                    "it belongs to the stack {owner}, and this is {other}: use another database or another dataset \
                     name; if that stack no longer exists, deploy this one with the parameter DatabaseOwner={owner}"
                );
                Err(StoreError::schema(store, dataset, reason))
            }
            _ => Ok(()),
        }
    }

    /// Adds what another definition of the dataset has. Fails if that would change what is registered.
    pub(crate) fn merged_with(&self, new: Self, dataset: &str, store: StoreKind) -> Result<Self> {
        let mismatch = |reason: String| Err(StoreError::schema(store, dataset, reason));
        self.check_owner(new.owner.as_deref(), dataset, store)?;
        if self.key != new.key {
            let (is, was) = (new.key.join(", "), self.key.join(", "));
            return mismatch(format!(
                "the dataset's key is ({is}) and that of the table ({was}): keep the old key, or use another dataset \
                name"
            ));
        }
        if let Some(order) = &self.order
            && new.order != self.order
        {
            let is = match &new.order {
                Some(other) => format!("is {other} in the dataset"),
                None => "is missing in the dataset".to_owned(),
            };
            return mismatch(format!(
                "order {is} and {order} in the table, whose rows newer ones would never replace: \
                 keep order = \"{order}\", or use another dataset name"
            ));
        }
        let mut all = self.clone();
        all.order = new.order;
        all.owner = all.owner.or(new.owner);
        for (name, kind) in new.fields {
            let known = *all.fields.entry(name.clone()).or_insert(kind);
            if known != kind {
                let (is, was) = (kind.as_str(), known.as_str());
                return mismatch(format!(
                    "field {name} is {is} and its column {was}: keep the old type, or use a new field name"
                ));
            }
        }
        if all.search.is_empty() {
            all.search = new.search;
        } else if !new.search.is_empty() && all.search != new.search {
            let (is, was) = (new.search.join(", "), all.search.join(", "));
            return mismatch(format!(
                "the dataset searches ({is}) and the table ({was}): keep the old fields, or use another dataset name"
            ));
        }
        all.extra |= new.extra;
        all.snapshots |= new.snapshots;
        all.add_merged(new.merged);
        if all.snapshots && all.is_merged() {
            return mismatch(
                "a dataset cannot have mode = \"merge\" and, at another time, mode = \"snapshot\", because a snapshot \
                 deletes rows, not columns: keep the old mode, or use another dataset name"
                    .to_owned(),
            );
        }
        all.indexes.extend(new.indexes);
        for total in new.totals {
            match all.totals.iter().find(|known| known.name == total.name) {
                None => all.totals.push(total),
                Some(known) if *known == total => {}
                Some(_) => {
                    let total = &total.name;
                    return mismatch(format!(
                        "the table of totals {total} has another definition: run `landfall totals rebuild {dataset}`"
                    ));
                }
            }
        }
        Ok(all)
    }
}

/// Returns the names of the columns outside the key that a definition has.
fn value_columns(dataset: &Dataset) -> Vec<String> {
    let fields = dataset.fields.iter().enumerate();
    let fields = fields.filter(|(index, _)| !dataset.key_indexes().contains(index));
    let fields = fields.map(|(_, field)| field.name.as_str());
    let keeps = dataset.unknown_columns == UnknownColumns::Keep;
    let extra = keeps.then_some(EXTRA_COLUMN);
    fields.chain(extra).map(str::to_owned).collect()
}
