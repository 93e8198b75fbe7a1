//! Prepared statements whose parameters are bound by reference.

use landfall_domain::Row;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Transaction};

use super::values::Values;
use crate::error::Result;

pub(super) struct Prepared<'t>(pub(super) CachedStatement<'t>);

impl<'t> Prepared<'t> {
    pub(super) fn new(transaction: &'t Transaction<'_>, sql: &str) -> rusqlite::Result<Self> {
        transaction.prepare_cached(sql).map(Self)
    }

    /// Executes it with these parameters, and returns the number of changed rows.
    pub(super) fn execute<'v>(
        &mut self,
        values: impl IntoIterator<Item = ValueRef<'v>>,
    ) -> Result<usize> {
        for (value, place) in values.into_iter().zip(1..) {
            self.bind(place, value)?;
        }
        Ok(self.0.raw_execute()?)
    }

    pub(super) fn bind_key(&mut self, key: &[usize], values: &Values, row: &Row) -> Result<()> {
        for (index, place) in key.iter().zip(1..) {
            self.bind(place, values.get(row, *index))?;
        }
        Ok(())
    }

    fn bind(&mut self, place: usize, value: ValueRef<'_>) -> Result<()> {
        Ok(self
            .0
            .raw_bind_parameter(place, ToSqlOutput::Borrowed(value))?)
    }
}

/// Returns the value of the column `_extra`.
pub(super) fn extra(row: &Row) -> ValueRef<'_> {
    let text = row.extra.as_deref();
    text.map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()))
}
