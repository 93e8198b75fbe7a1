//! The versions of the rows of one object.

use crate::dataset::Dataset;
use crate::row::Row;
use crate::version::{ObjectOrder, RowVersion};

/// The versions of the rows of one object.
#[derive(Clone, Copy, Debug)]
pub struct RowVersions {
    object: ObjectOrder,
    /// Index of the field whose value comes first.
    field: Option<usize>,
}

impl Dataset {
    /// Returns the versions of the rows of an object.
    pub fn versions(&self, object: ObjectOrder) -> RowVersions {
        let field = self.order;
        RowVersions { object, field }
    }
}

impl RowVersions {
    /// Returns the version of a row of the object.
    pub fn of(&self, row: &Row) -> RowVersion {
        match self.field {
            None => self.object.at(row.offset),
            Some(field) => self.object.ranked_at(row.rank(Some(field)), row.offset),
        }
    }

    /// Returns the least version that a row of the object can have.
    pub fn first(&self) -> RowVersion {
        match self.field {
            None => self.object.at(0),
            Some(_) => self.object.ranked_at(0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::JobId;
    use crate::value::Value;

    fn order(time: i64) -> ObjectOrder {
        ObjectOrder::new(time, "0A", JobId::for_object("inbox", "k", "1")).unwrap()
    }

    fn with_value(offset: u64, value: i64) -> Row {
        Row {
            offset,
            deleted: false,
            values: vec![Value::Integer(value)].into(),
            extra: None,
            parts: None,
        }
    }

    prop_compose! {
        /// Values, objects and offsets of which two are often the same.
        fn place()(
            value in prop_oneof![any::<i64>(), -2_i64..2],
            time in prop_oneof![0i64..1 << 47, 0_i64..2],
            offset in prop_oneof![0_u64..1 << 48, 0_u64..2],
        ) -> (i64, i64, u64) {
            (value, time, offset)
        }
    }

    proptest! {
        #[test]
        fn the_bytes_of_a_version_are_ordered_by_value_then_object_then_offset(a in place(), b in place()) {
            let version = |field, (value, time, offset): (i64, i64, u64)| {
                let versions = RowVersions { object: order(time), field };
                let version = versions.of(&with_value(offset, value));
                assert!(versions.first() <= version);
                version
            };
            let (with, without) = (|place| version(Some(0), place), |place| version(None, place));
            prop_assert_eq!(with(a).cmp(&with(b)), a.cmp(&b));
            prop_assert_eq!(with(a).as_bytes().cmp(with(b).as_bytes()), a.cmp(&b));
            prop_assert_eq!(without(a).cmp(&without(b)), (a.1, a.2).cmp(&(b.1, b.2)));
            prop_assert!(without(a) < with(b));
            prop_assert!(without(a).as_bytes() < with(b).as_bytes());
        }
    }
}
