//! Rows that are merged by column, on their way into a table. `landfall_domain::merge` decides; every store reads the
//! versions of the keys, lets it decide, and writes the result while nothing else can change the rows.

use landfall_domain::{
    ColumnSet, Dataset, Merged, Row, RowUpdate, RowVersion, StoreCounts, StoreKind, StoredKey,
    UnknownColumns, VersionsError, merge,
};

use crate::error::StoreError;
use crate::registry::Registered;
use crate::schema::{EXTRA, searched};

/// The columns of a dataset among those that its registry has.
pub(crate) struct Columns {
    /// For each field of the dataset, and then for unknown columns, the number of its column; none for the key.
    numbers: Vec<Option<usize>>,
    /// For each registered column, and then for the words of each searched field, where its value is in a row, if the
    /// dataset has the column.
    places: Vec<Option<Place>>,
    /// For each searched field, the number of its column. Its words have no version of their own.
    searched: Vec<usize>,
}

/// Where the value of a column is in a row.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// In the field with this index.
    Field(usize),
    /// In the unknown columns.
    Extra,
}

impl Columns {
    pub(crate) fn new(dataset: &Dataset, registered: &Registered) -> Self {
        let number_of = |name: &str| registered.merged.iter().position(|column| column == name);
        let fields = dataset.fields.iter();
        let fields = fields.map(|field| number_of(&field.name));
        let keeps = dataset.unknown_columns == UnknownColumns::Keep;
        let extra = number_of(EXTRA).filter(|_| keeps);
        let place_of = |name: &String| {
            if name == EXTRA {
                return keeps.then_some(Place::Extra);
            }
            let field = dataset.fields.iter().position(|field| field.name == *name);
            field.map(Place::Field)
        };
        let words = registered.search.iter().map(|name| {
            let mut searched = searched(dataset, &registered.search);
            let place = searched.position(|(_, field)| field == name);
            place.map(|place| Place::Field(dataset.fields.len() + place))
        });
        let searched = registered.search.iter();
        Self {
            numbers: fields.chain([extra]).collect(),
            places: registered
                .merged
                .iter()
                .map(place_of)
                .chain(words)
                .collect(),
            searched: searched.filter_map(|name| number_of(name)).collect(),
        }
    }

    /// Returns the number of registered columns and of columns with words.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// Decides what a row does to its key.
    pub(crate) fn merge(
        &self,
        row: &Row,
        version: &RowVersion,
        stored: &StoredKey,
    ) -> Result<Merged, VersionsError> {
        let change = row.change(version, &self.numbers);
        let count = self.count() - self.searched.len();
        let mut merged = merge(stored, &change, count)?;
        if let Merged::Write(update) = &mut merged {
            for (words, field) in self.searched.iter().enumerate() {
                for columns in [&mut update.taken, &mut update.nulls] {
                    if columns.contains(*field) {
                        columns.insert(count + words);
                    }
                }
            }
        }
        Ok(merged)
    }

    /// Returns the number of the column of a field, unless it belongs to the key.
    pub(crate) fn number(&self, field: usize) -> Option<usize> {
        self.numbers.get(field).copied().flatten()
    }

    /// Returns where the value of a registered column is in a row, if the dataset has the column.
    pub(crate) fn place(&self, column: usize) -> Option<Place> {
        self.places.get(column).copied().flatten()
    }
}

/// What a chunk of rows does to a table whose keys are locked.
#[derive(Default)]
pub(crate) struct Plan<'r> {
    pub(crate) updates: Vec<Planned<'r>>,
    /// Number of rows that delete their keys, also where there is no row.
    pub(crate) deletes: u64,
    /// The counts of all rows but the updates of existing rows.
    pub(crate) counts: StoreCounts,
}

/// A row to write.
pub(crate) struct Planned<'r> {
    pub(crate) row: &'r Row,
    pub(crate) update: RowUpdate,
    /// Whether its key has no row.
    pub(crate) is_new: bool,
}

impl Planned<'_> {
    /// Returns where the new value of a registered column is; none if it is null or keeps its stored value.
    pub(crate) fn place(&self, columns: &Columns, column: usize) -> Option<Place> {
        let place = columns.place(column);
        place.filter(|_| self.update.taken.contains(column))
    }

    /// Returns the mask of the columns that keep their stored values, the first in the least bit.
    pub(crate) fn kept(&self, columns: &Columns) -> Vec<u8> {
        let RowUpdate { taken, nulls, .. } = &self.update;
        let keeps =
            |column: &usize| !self.is_new && !taken.contains(*column) && !nulls.contains(*column);
        let kept: ColumnSet = (0..columns.count()).filter(keeps).collect();
        kept.to_mask(columns.count())
    }
}

impl<'r> Plan<'r> {
    /// Plans rows, with what is stored for the key of each.
    pub(crate) fn new(
        store: StoreKind,
        columns: &Columns,
        rows: impl IntoIterator<Item = (&'r Row, RowVersion, StoredKey)>,
    ) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        for (row, version, stored) in rows {
            let merged = columns.merge(row, &version, &stored);
            let merged = merged.map_err(|error| unreadable(store, error))?;
            plan.add(row, stored.row.is_none(), merged);
        }
        Ok(plan)
    }

    fn add(&mut self, row: &'r Row, is_new: bool, merged: Merged) {
        let counts = &mut self.counts;
        match merged {
            Merged::Unchanged => counts.unchanged += 1,
            Merged::Stale => counts.stale += 1,
            Merged::Delete(_) => {
                self.deletes += 1;
                counts.unchanged += u64::from(is_new);
                counts.deleted += u64::from(!is_new);
            }
            Merged::Write(update) => {
                counts.inserted += u64::from(is_new);
                self.updates.push(Planned {
                    row,
                    update,
                    is_new,
                });
            }
        }
    }
}

pub(crate) fn unreadable(store: StoreKind, error: VersionsError) -> StoreError {
    StoreError::unavailable(store, error.to_string())
}
