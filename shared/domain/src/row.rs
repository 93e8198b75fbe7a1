//! Rows: records whose values have been checked against their dataset.

use std::cmp::Ordering;

use crate::{Dataset, Value};

/// One record, typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Byte offset of the record in its object; with the object's order it is the row's version.
    pub offset: u64,
    /// Whether it says that its key is to be deleted; it then has the values of the key alone.
    pub deleted: bool,
    /// One value for each field of the dataset, in its order.
    pub values: Vec<Value>,
    /// The columns that the dataset does not name, where it keeps them: text of a JSON object.
    pub extra: Option<String>,
}

impl Row {
    /// Order by key.
    pub fn cmp_key(&self, other: &Self, dataset: &Dataset) -> Ordering {
        dataset
            .key_indexes()
            .iter()
            .map(|index| self.values[*index].cmp_key(&other.values[*index]))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// The last row of each key, sorted by key, and how many rows another one of the same rows superseded.
///
/// Stores rely on both: a key stands once in a batch, and all writers touch keys in one order.
pub fn latest_by_key(mut rows: Vec<Row>, dataset: &Dataset) -> (Vec<Row>, u64) {
    let before = rows.len();
    rows.sort_unstable_by(|a, b| a.cmp_key(b, dataset).then_with(|| b.offset.cmp(&a.offset)));
    rows.dedup_by(|later, kept| later.cmp_key(kept, dataset).is_eq());
    let superseded = before - rows.len();
    (rows, superseded as u64)
}
