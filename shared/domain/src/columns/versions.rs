//! The versions of a row's columns, and their stored form.

use std::collections::BTreeMap;

use super::ColumnSet;

/// The stored versions of columns cannot be decoded. Something else has changed them.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the versions of a row's columns cannot be decoded")]
pub struct VersionsError;

/// The state of a key: its version, and those of its columns.
///
/// A column that has never been set has the empty version, which is less than every other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The greatest version of a record that has not deleted the key.
    pub(super) row: Vec<u8>,
    /// The greatest version of a delete. No column has a lower one.
    pub(super) floor: Vec<u8>,
    pub(super) columns: Vec<Vec<u8>>,
}

impl State {
    /// Returns the state of a key without a row. `floor` is the version of its tombstone, or empty.
    pub(super) fn absent(floor: &[u8], count: usize) -> Self {
        Self {
            row: Vec::new(),
            floor: floor.to_vec(),
            columns: vec![floor.to_vec(); count],
        }
    }

    /// Decodes the state of a row. Without `versions`, all columns have the row's version.
    pub(super) fn of_row(
        row: &[u8],
        versions: Option<&[u8]>,
        count: usize,
    ) -> Result<Self, VersionsError> {
        let Some(mut bytes) = versions else {
            return Ok(Self {
                row: row.to_vec(),
                floor: Vec::new(),
                columns: vec![row.to_vec(); count],
            });
        };
        let known = usize::from(split_number(&mut bytes)?);
        let mut floor = None;
        let mut columns = vec![row.to_vec(); known];
        while floor.is_none() || !bytes.is_empty() {
            let length = split_number(&mut bytes)?;
            let version = bytes.split_off(..length.into()).ok_or(VersionsError)?;
            let mask = bytes.split_off(..known.div_ceil(8)).ok_or(VersionsError)?;
            for column in ColumnSet::from_mask(mask).iter() {
                *columns.get_mut(column).ok_or(VersionsError)? = version.to_vec();
            }
            floor.get_or_insert(version);
        }
        let floor = floor.unwrap_or_default();
        // Columns that were added after the row was written.
        columns.resize(count.max(known), floor.to_vec());
        Ok(Self {
            row: row.to_vec(),
            floor: floor.to_vec(),
            columns,
        })
    }

    /// Encodes the versions of the columns: their number, then the columns of the floor, then those of each version
    /// between it and the row's. Versions that share a group are stored once.
    pub(super) fn versions(&self) -> Vec<u8> {
        let count = self.columns.len();
        let mut bytes = Vec::new();
        put_number(&mut bytes, count);
        let mut versions: Vec<&[u8]> = self.columns.iter().map(Vec::as_slice).collect();
        versions.retain(|version| *version != self.row && *version != self.floor);
        versions.sort_unstable();
        versions.dedup();
        for version in std::iter::once(self.floor.as_slice()).chain(versions) {
            put_number(&mut bytes, version.len());
            bytes.extend_from_slice(version);
            let has = |column: &usize| self.columns[*column] == version;
            let columns: ColumnSet = (0..count).filter(has).collect();
            bytes.extend_from_slice(&columns.to_mask(count));
        }
        bytes
    }
}

/// Returns the columns of a row by the version of the record that they are from, the newest first: its columns have
/// their numbers in the registry, of which there are `count`. A column that no record has set is in none.
///
/// `versions` are the stored versions of the columns. The columns of the newest delete are those that it made null.
///
/// # Errors
/// [`VersionsError`] if these cannot be decoded.
pub fn columns_by_version(
    row: &[u8],
    versions: &[u8],
    count: usize,
) -> Result<Vec<(Vec<u8>, ColumnSet)>, VersionsError> {
    let state = State::of_row(row, Some(versions), count)?;
    let mut groups: BTreeMap<Vec<u8>, ColumnSet> = BTreeMap::new();
    for (column, version) in state.columns.into_iter().enumerate() {
        if !version.is_empty() {
            groups.entry(version).or_default().insert(column);
        }
    }
    Ok(groups.into_iter().rev().collect())
}

/// Splits a number of 16 bits off.
fn split_number(bytes: &mut &[u8]) -> Result<u16, VersionsError> {
    let number = bytes.split_off(..2).and_then(|bytes| bytes.try_into().ok());
    number.map(u16::from_be_bytes).ok_or(VersionsError)
}

/// Appends a number of 16 bits. Datasets have far fewer columns, and versions far fewer bytes.
fn put_number(bytes: &mut Vec<u8>, number: usize) {
    let number = u16::try_from(number);
    debug_assert!(number.is_ok(), "more columns than a registry can have");
    bytes.extend_from_slice(&number.unwrap_or(u16::MAX).to_be_bytes());
}
