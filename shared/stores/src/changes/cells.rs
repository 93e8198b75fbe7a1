//! Reads what the statements select.

use landfall_domain::{RowVersion, StoreKind, Value};

use super::sequence::ChangeTransaction;
use super::statements::table_of_numbers;
use crate::error::{Result, StoreError};
use crate::read::StoredRow;
use crate::read::page::PageBuilder;
use crate::read::statement::{ReadTable, Statement};

pub(super) async fn all<T: ChangeTransaction>(
    tx: &mut T,
    table: &ReadTable,
    statement: Statement,
) -> Result<Vec<StoredRow>> {
    let page = PageBuilder::new(u32::MAX, usize::MAX);
    Ok(tx.fetch(table, statement, page).await?.into_rows())
}

pub(super) async fn numbers<T: ChangeTransaction>(
    tx: &mut T,
    statement: Statement,
) -> Result<Vec<i64>> {
    let rows = all(tx, &table_of_numbers(), statement).await?;
    let number = |row: StoredRow| Cells::new(T::STORE, row.values).integer();
    rows.into_iter().map(number).collect()
}

/// Splits a row into the number of its key, its version, and the row itself.
pub(super) fn numbered(
    store: StoreKind,
    mut row: StoredRow,
) -> Result<(i64, RowVersion, StoredRow)> {
    let last = row.values.split_off(row.values.len().saturating_sub(2));
    let mut cells = Cells::new(store, last);
    let version = cells.version()?.ok_or_else(|| unreadable(store))?;
    Ok((cells.integer()?, version, row))
}

/// The values of a row, one after the other.
pub(super) struct Cells {
    values: std::vec::IntoIter<Value>,
    store: StoreKind,
}

impl Cells {
    pub(super) fn new(store: StoreKind, values: Vec<Value>) -> Self {
        Self {
            values: values.into_iter(),
            store,
        }
    }

    pub(super) fn maybe_integer(&mut self) -> Result<Option<i64>> {
        match self.values.next() {
            Some(Value::Integer(number)) => Ok(Some(number)),
            Some(Value::Null) => Ok(None),
            _ => Err(unreadable(self.store)),
        }
    }

    pub(super) fn integer(&mut self) -> Result<i64> {
        self.maybe_integer()?.ok_or_else(|| unreadable(self.store))
    }

    pub(super) fn text(&mut self) -> Result<Option<String>> {
        match self.values.next() {
            Some(Value::Text(text)) => Ok(Some(text.to_string())),
            Some(Value::Null) => Ok(None),
            _ => Err(unreadable(self.store)),
        }
    }

    pub(super) fn version(&mut self) -> Result<Option<RowVersion>> {
        let Some(hex) = self.text()? else {
            return Ok(None);
        };
        let (digits, _) = hex.as_bytes().as_chunks::<2>();
        let byte = |digits: &[u8; 2]| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        let bytes: Option<Vec<u8>> = digits.iter().map(byte).collect();
        let version = bytes.and_then(|bytes| RowVersion::from_bytes(&bytes));
        version.map(Some).ok_or_else(|| unreadable(self.store))
    }
}

pub(super) fn unreadable(store: StoreKind) -> StoreError {
    StoreError::unavailable(store, "what is recorded about a key cannot be read")
}
