//! Merges by column: the rows of a dataset with `mode = "merge"` may lack columns, which keep their stored values.
//!
//! Each column of a key ends with the value of the greatest version that had the column, whatever the order in which
//! records arrive. A delete is a version of all columns at once. It makes older values null, and the key has a row
//! while a record is newer than its greatest delete. [`merge`] decides what a record changes, from versions alone: no
//! store has to send it values.
//!
//! A store keeps the version of the row (`_version`), which is the greatest of its records, and the versions of the
//! columns that are older (`_versions`). Most rows have few different versions, so each is stored once, with a mask of
//! its columns. The number of a column is its place in the database's registry, which only grows. The first group is
//! that of the newest delete; columns that are registered later start with its version. A row without `_versions` was
//! written as a whole, so all its columns have the row's version.
//!
//! States of a key form a semilattice: merging takes the greater version of each part. It is therefore commutative,
//! associative and idempotent, which makes order and repetition irrelevant.

mod set;
#[cfg(test)]
mod tests;
mod versions;

use std::cmp::Ordering;

pub use set::ColumnSet;
pub use versions::{VersionsError, columns_by_version};

use crate::version::RowVersion;
use versions::State;

/// Which columns a row has, if not all of them in one version: a row of a dataset that is merged by column.
///
/// The columns are the fields of the dataset, then the one of unknown columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The columns of the row's own record.
    pub own: ColumnSet,
    /// The columns of older records of the key, with their versions.
    pub older: Vec<(RowVersion, ColumnSet)>,
    /// The version of a delete of the key that is older than the row.
    pub deleted: Option<RowVersion>,
}

/// What a row brings to its key. Columns have their numbers in the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The version of its record, unless that deletes the key.
    pub row: Option<Vec<u8>>,
    /// The version of its delete.
    pub delete: Option<Vec<u8>>,
    /// The columns that it has, by version. No column is in two of these.
    pub columns: Vec<(Vec<u8>, ColumnSet)>,
}

/// What a store has for a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredKey {
    /// The row's version and `_versions`.
    pub row: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// The version of the tombstone. A key with a row has one only while another worker writes it.
    pub tombstone: Option<Vec<u8>>,
}

/// What a change does to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// Nothing, as the store has the change already.
    Unchanged,
    /// Nothing, as the store has something newer.
    Stale,
    /// The row, if there is one, is deleted. A tombstone of this version remains.
    Delete(Vec<u8>),
    /// The row is written.
    Write(RowUpdate),
}

/// How a row is written. Its other columns keep their values; those of a new row are null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowUpdate {
    /// The columns that get the value of the change.
    pub taken: ColumnSet,
    /// The columns of an existing row that a delete makes null.
    pub nulls: ColumnSet,
    /// The new version of the row.
    pub version: Vec<u8>,
    /// The new versions of its columns.
    pub versions: Vec<u8>,
}

/// Merges a change into what a store has for its key. `count` is the number of registered columns.
///
/// # Errors
/// [`VersionsError`] if the stored versions of the columns cannot be decoded.
pub fn merge(stored: &StoredKey, change: &Change, count: usize) -> Result<Merged, VersionsError> {
    let tombstone = stored.tombstone.as_deref().unwrap_or_default();
    let before = match &stored.row {
        Some((row, versions)) => State::of_row(row, versions.as_deref(), count)?,
        None => State::absent(tombstone, count),
    };
    let mut after = before.clone();
    raise(&mut after.floor, tombstone);
    raise(
        &mut after.floor,
        change.delete.as_deref().unwrap_or_default(),
    );
    raise(&mut after.row, change.row.as_deref().unwrap_or_default());
    let (mut taken, mut nulls) = (ColumnSet::default(), ColumnSet::default());
    let mut is_stored = false;
    for (version, columns) in &change.columns {
        for column in columns.iter() {
            let known = &mut after.columns[column];
            match version.cmp(known) {
                Ordering::Greater if *version > after.floor => {
                    known.clone_from(version);
                    taken.insert(column);
                }
                Ordering::Equal => is_stored = true,
                Ordering::Greater | Ordering::Less => {}
            }
        }
    }
    for (column, version) in after.columns.iter_mut().enumerate() {
        if *version < after.floor {
            version.clone_from(&after.floor);
            nulls.insert(column);
        }
    }
    let is_greatest =
        change.row.as_ref() == Some(&before.row) || change.delete.as_ref() == Some(&before.floor);
    let nothing = if is_stored || is_greatest {
        Merged::Unchanged
    } else {
        Merged::Stale
    };
    if after.row <= after.floor {
        let is_done = stored.row.is_none() && after.floor == tombstone;
        return Ok(if is_done {
            nothing
        } else {
            Merged::Delete(after.floor)
        });
    }
    if stored.row.is_some() && after == before {
        return Ok(nothing);
    }
    Ok(Merged::Write(RowUpdate {
        taken,
        nulls,
        versions: after.versions(),
        version: after.row,
    }))
}

/// Sets a version to another one if that is greater.
fn raise(version: &mut Vec<u8>, other: &[u8]) {
    if version.as_slice() < other {
        *version = other.to_vec();
    }
}
