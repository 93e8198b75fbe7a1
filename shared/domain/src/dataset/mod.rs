//! Datasets: what a file contains.

mod child;
mod field;
mod name;
mod options;
mod place;
mod total;

use serde::{Deserialize, Serialize};

use crate::encoding::Encoding;

pub(crate) use child::count_table;
pub use child::{Child, FamilyError, MAX_GENERATIONS, check_family, is_total_name};
pub use field::Field;
pub use name::{NAME_RULE, is_name};
pub(crate) use name::{check_table_name, is_system_column};
pub use options::{
    CsvOptions, Format, JsonOptions, Limits, Mode, Operation, Quote, RejectLimits, UnknownColumns,
};
pub use total::{Measure, Total, TotalColumn};

/// The maximum number of fields of a dataset.
pub(crate) const MAX_FIELDS: usize = 500;
/// The maximum number of indexed fields. Each index makes every write more expensive.
pub(crate) const MAX_INDEXES: usize = 16;
/// The maximum position of a field.
pub(crate) const MAX_POSITION: u32 = 4096;
/// The maximum number of bytes in all key values of a row together, which every store can index.
pub const MAX_KEY_BYTES: usize = 512;
/// Bytes of an index entry of MySQL (`InnoDB`, dynamic rows), less what key columns of other types take.
const KEY_INDEX_BYTES: usize = 3072 - 8 * 32;

/// Returns the maximum number of bytes in each text of a key with so many texts, which every store can index.
pub fn key_text_bytes(texts: usize) -> usize {
    (KEY_INDEX_BYTES / texts.max(1)).min(MAX_KEY_BYTES)
}

/// What a file contains: key, typed fields, and how they are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Name of the dataset: the first segment of object keys, and the name of its table and collection.
    pub name: String,
    /// Format of the files, unless it is detected from name and content.
    pub format: Option<Format>,
    /// Encoding of files without a byte order mark.
    pub encoding: Encoding,
    /// What happens to columns that belong to no field.
    pub unknown_columns: UnknownColumns,
    /// How CSV and TSV files are written.
    pub csv: CsvOptions,
    /// Where the rows are in a JSON document.
    pub json: JsonOptions,
    /// Limits on records and rejects.
    pub limits: Limits,
    /// How the rows of a file relate to those of the table.
    pub mode: Mode,
    /// The share of the table, from 0 to 1, that a snapshot may delete without a confirmation.
    pub max_delete_share: f64,
    /// How a row says that its key is deleted, if rows can.
    pub operation: Option<Operation>,
    /// Tables of totals, kept beside the rows in SQL.
    pub totals: Vec<Total>,
    /// The name under which the API shows the token of a new row to its creator, if rows have tokens.
    pub token: Option<String>,
    /// How rows are numbered within those of another dataset, if they are.
    pub child: Option<Child>,
    /// The fields, in the order of the definition.
    pub fields: Vec<Field>,
    /// Indexes of the key fields, in the order of the key.
    pub(crate) key: Vec<usize>,
    /// Index of the field whose value decides which of two rows of a key is newer.
    pub(crate) order: Option<usize>,
    /// Indexes of the fields that are searched, in the order of the definition's list.
    pub(crate) search: Vec<usize>,
    /// Whether the key is the place of the record, which the last two fields contain.
    pub(crate) by_place: bool,
}

impl Dataset {
    /// Returns the indexes of the key fields, in the order of the key.
    pub fn key_indexes(&self) -> &[usize] {
        &self.key
    }

    /// Returns the indexes of the fields that are searched.
    pub fn search_indexes(&self) -> &[usize] {
        &self.search
    }

    /// Returns the field whose value decides which of two rows of a key is newer, before the time of their objects.
    pub fn order(&self) -> Option<&Field> {
        self.fields.get(self.order?)
    }

    /// Returns whether a row that deletes its key has a value of the field with this index.
    pub fn is_in_deletes(&self, field: usize) -> bool {
        self.order == Some(field) || self.key.contains(&field)
    }

    /// Returns whether the field with this index keeps its stored value if a file lacks its column.
    pub fn may_lack(&self, field: usize) -> bool {
        self.mode == Mode::Merge && !self.is_in_deletes(field)
    }

    /// Returns whether rows can be sorted by the field with this index, because an index has its order.
    pub fn can_sort_by(&self, field: usize) -> bool {
        self.key.first() == Some(&field)
            || self.fields.get(field).is_some_and(|field| field.indexed)
    }

    /// Returns the fields that have an index beside that of the key, in the order of the definition.
    pub fn indexed_fields(&self) -> impl Iterator<Item = &Field> {
        let fields = self.fields.iter().enumerate();
        let indexed =
            fields.filter(|(index, field)| field.indexed && self.key.first() != Some(index));
        indexed.map(|(_, field)| field)
    }

    /// Returns the greatest position of a field, or of the operation; `None` if everything has only a name.
    pub fn last_position(&self) -> Option<u32> {
        let operation = self.operation.as_ref();
        let operation = operation.and_then(|operation| operation.position);
        let fields = self.fields.iter().filter_map(|field| field.position);
        fields.chain(operation).max()
    }

    /// Returns whether the records of an object are the same with another definition, whatever their values become.
    pub fn has_records_of(&self, other: &Self) -> bool {
        let rules = |dataset: &Self| {
            (
                dataset.format,
                dataset.encoding,
                dataset.limits.record_bytes,
                dataset.last_position().is_some(),
            )
        };
        rules(self) == rules(other) && self.csv == other.csv && self.json == other.json
    }

    /// Returns the key fields, in the order of the key.
    pub fn key_fields(&self) -> impl Iterator<Item = &Field> {
        self.key.iter().map(|index| &self.fields[*index])
    }
}

/// The definition that a job was planned with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DatasetRef {
    /// Name of the dataset.
    pub name: String,
    /// Version id of its object in the configuration bucket; `None` in a bucket without versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
