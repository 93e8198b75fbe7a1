//! Datasets whose rows are identified by their place: the key of their object, and their byte offset in it.
//!
//! The same object again has the same keys, so it changes nothing. Two objects never share one. The place is stored in
//! two fields after those of the definition. Files do not have them, except those that the API has written.

use std::borrow::Cow;

use arcstr::ArcStr;

use super::{Dataset, Field};
use crate::row::Row;
use crate::value::{FieldType, Text, Value};

/// Name of the field with the key of the object.
pub(crate) const OBJECT_FIELD: &str = "_object";
/// Name of the field with the byte offset of the record.
pub(crate) const OFFSET_FIELD: &str = "_offset";

impl Dataset {
    /// Adds the fields of the place, which become the key.
    #[must_use]
    pub(crate) fn with_place(mut self) -> Self {
        let fields = [
            (OBJECT_FIELD, FieldType::Text),
            (OFFSET_FIELD, FieldType::Integer),
        ];
        let first = self.fields.len();
        self.fields.extend(fields.map(|(name, kind)| Field {
            required: true,
            ..Field::new(name, kind)
        }));
        self.key = vec![first, first + 1];
        self.by_place = true;
        self
    }

    /// Returns whether the key is the place of the record.
    pub fn is_keyed_by_place(&self) -> bool {
        self.by_place
    }

    /// Returns the dataset as files contain it, without the fields of the place. It has no key if that is the place.
    pub fn of_records(&self) -> Cow<'_, Self> {
        if !self.by_place {
            return Cow::Borrowed(self);
        }
        let mut dataset = self.clone();
        dataset.fields.truncate(self.fields.len() - self.key.len());
        dataset.key.clear();
        dataset.by_place = false;
        Cow::Owned(dataset)
    }

    /// Adds the place to the rows of an object with this key, if it identifies them and they lack it.
    pub fn place(&self, rows: &mut [Row], object: &str) {
        if !self.by_place {
            return;
        }
        // All rows share one text.
        let whole = ArcStr::from(object);
        let object = Text::part(&whole, &whole);
        for row in rows {
            if row.values.len() < self.fields.len() {
                let offset = i64::try_from(row.offset).unwrap_or(i64::MAX);
                row.values.push(Value::Text(object.clone()));
                row.values.push(Value::Integer(offset));
            }
        }
    }
}
