//! Which columns rows have, in datasets that are merged by column.

use std::sync::Arc;

use landfall_domain::{ColumnSet, Parts, Row};

/// The columns of rows that have the same fields. They share their memory.
pub(super) struct RowColumns {
    pub(super) fields: ColumnSet,
    without_extra: Arc<Parts>,
    with_extra: Arc<Parts>,
}

impl RowColumns {
    /// `extra` is the index of the column of unknown columns.
    pub(super) fn new(fields: ColumnSet, extra: usize) -> Self {
        let mut all = fields.clone();
        all.insert(extra);
        let of_one_record = |own| {
            let older = Parts::default();
            Arc::new(Parts { own, ..older })
        };
        Self {
            without_extra: of_one_record(fields.clone()),
            with_extra: of_one_record(all),
            fields,
        }
    }

    /// Returns the columns of a row with these fields.
    pub(super) fn parts(&self, row: &Row) -> Arc<Parts> {
        Arc::clone(if row.extra.is_some() {
            &self.with_extra
        } else {
            &self.without_extra
        })
    }
}
