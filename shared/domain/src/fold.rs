//! Folds the rows of one key in a chunk into one row.

use std::sync::Arc;

use crate::columns::{ColumnSet, Parts};
use crate::dataset::{Dataset, Mode};
use crate::row::{Row, arrange, key_order, latest_by_key};
use crate::value::Value;
use crate::version::{ObjectOrder, RowVersion};

/// The rows of a chunk, with each key once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Folded {
    /// The rows, sorted by key.
    pub rows: Vec<Row>,
    /// Number of records of which something is in the row of a later record.
    pub merged: u64,
    /// Number of records of which nothing is left: later ones have all their columns, or delete the key.
    pub superseded: u64,
}

impl Folded {
    /// Returns the rows of a chunk as stores need them. All are of one object.
    pub fn of_chunk(rows: Vec<Row>, dataset: &Dataset, order: ObjectOrder) -> Self {
        if dataset.mode == Mode::Merge {
            let versions = dataset.versions(order);
            return fold_by_key(rows, dataset, |row| versions.of(row));
        }
        let (rows, superseded) = latest_by_key(rows, dataset);
        Self {
            rows,
            merged: 0,
            superseded,
        }
    }
}

/// Returns the rows of a chunk of a dataset that is merged by column. Each key has one row, whose columns are those of
/// the last records that have them.
///
/// The counterpart of [`latest_by_key`](crate::latest_by_key), for rows with [`Parts`].
pub fn fold_by_key(
    mut rows: Vec<Row>,
    dataset: &Dataset,
    version: impl Fn(&Row) -> RowVersion,
) -> Folded {
    let order = key_order(&rows, dataset);
    let (mut kept, mut dropped) = (Vec::with_capacity(order.len()), Vec::new());
    let mut merged = 0;
    let is_same_key = |a: &(u64, usize), b: &(u64, usize)| {
        a.0 == b.0 && rows[a.1].cmp_key(&rows[b.1], dataset).is_eq()
    };
    let groups: Vec<usize> = order.chunk_by(is_same_key).map(<[_]>::len).collect();
    let mut places = order.into_iter().map(|(_, place)| place);
    for length in groups {
        let same_key: Vec<usize> = places.by_ref().take(length).collect();
        let Some((newest, older)) = same_key.split_first() else {
            continue;
        };
        let parts = fold(&mut rows, *newest, older, &version);
        merged += parts.as_ref().map_or(0, |parts| parts.older.len());
        if let Some(parts) = parts {
            rows[*newest].parts = Some(Arc::new(parts));
        }
        kept.push(*newest);
        dropped.extend_from_slice(older);
    }
    let superseded = dropped.len() - merged;
    let length = kept.len();
    kept.append(&mut dropped);
    arrange(&mut rows, kept);
    rows.truncate(length);
    Folded {
        rows,
        merged: merged as u64,
        superseded: superseded as u64,
    }
}

/// Moves the values of older rows, from the newest to the oldest, that the newest row lacks into it. Returns its parts,
/// if there are older rows that matter.
fn fold(
    rows: &mut [Row],
    newest: usize,
    older: &[usize],
    version: impl Fn(&Row) -> RowVersion,
) -> Option<Parts> {
    if older.is_empty() || rows[newest].deleted {
        return None;
    }
    let fields = rows[newest].values.len();
    let mut known: ColumnSet = columns_of(&rows[newest]).collect();
    let mut parts = Parts {
        own: known.clone(),
        ..Parts::default()
    };
    for place in older {
        let version = version(&rows[*place]);
        if rows[*place].deleted {
            parts.deleted = Some(version);
            break;
        }
        let columns = columns_of(&rows[*place]);
        let columns: ColumnSet = columns.filter(|column| !known.contains(*column)).collect();
        for column in columns.iter() {
            known.insert(column);
            if column == fields {
                rows[newest].extra = rows[*place].extra.take();
            } else {
                let value = std::mem::replace(&mut rows[*place].values[column], Value::Null);
                rows[newest].values[column] = value;
            }
        }
        if !columns.is_empty() {
            parts.older.push((version, columns));
        }
    }
    Some(parts)
}

/// Returns the columns that a row has.
fn columns_of(row: &Row) -> impl Iterator<Item = usize> {
    (0..=row.values.len()).filter(|column| row.has(*column))
}
