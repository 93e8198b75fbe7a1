//! Definitions of datasets: what a file holds.

use serde::{Deserialize, Serialize};

use crate::{Value, raw_dataset};

/// The most fields of a dataset.
pub const MAX_FIELDS: usize = 500;
/// The most fields with an index of their own; each makes every write dearer.
pub const MAX_INDEXES: usize = 16;
/// The most bytes of all key values of a row together; what every store can index.
pub const MAX_KEY_BYTES: usize = 512;
/// The most bytes of the name of a dataset or field; leaves room for what stores add, below the 63 of `PostgreSQL`.
pub const MAX_NAME_BYTES: usize = 48;

/// Whether a name can be a dataset's or field's: a lower-case letter, then letters, digits and `_`.
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Whether a field's name is that of a system column of `PostgreSQL`.
pub(crate) fn is_system_column(name: &str) -> bool {
    matches!(
        name,
        "cmax" | "cmin" | "ctid" | "tableoid" | "xmax" | "xmin"
    )
}

/// What a file holds: key, typed fields, and how it is written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Name: of the first segment of object keys, of tables, and of collections.
    pub name: String,
    /// Format, where it is not to be found by name and content.
    pub format: Option<Format>,
    /// What becomes of columns that are no field's.
    pub unknown_columns: UnknownColumns,
    /// How CSV and TSV are written.
    pub csv: CsvOptions,
    /// Where rows are in a JSON document.
    pub json: JsonOptions,
    /// Bounds.
    pub limits: Limits,
    /// What a file is of the table.
    pub mode: Mode,
    /// Which rows delete their keys.
    pub operation: Option<Operation>,
    /// Tables of totals, kept beside the rows in SQL.
    pub totals: Vec<Total>,
    /// The fields, in the order of the definition.
    pub fields: Vec<Field>,
    pub(crate) key: Vec<usize>,
}

impl Dataset {
    /// Reads a definition. `file` is the name that errors give.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, DatasetError> {
        raw_dataset::parse(file, text)
    }

    /// Indexes of the key fields, in the order of the key.
    pub fn key_indexes(&self) -> &[usize] {
        &self.key
    }

    /// Whether rows can be sorted by the field of this index: there is an index that has them in its order.
    pub fn can_sort_by(&self, field: usize) -> bool {
        self.key.first() == Some(&field)
            || self.fields.get(field).is_some_and(|field| field.indexed)
    }

    /// The fields that have an index beside the key's, in the order of the definition.
    pub fn indexed_fields(&self) -> impl Iterator<Item = &Field> {
        let fields = self.fields.iter().enumerate();
        let indexed =
            fields.filter(|(index, field)| field.indexed && self.key.first() != Some(index));
        indexed.map(|(_, field)| field)
    }

    /// The key fields, in the order of the key.
    pub fn key_fields(&self) -> impl Iterator<Item = &Field> {
        self.key.iter().map(|index| &self.fields[*index])
    }
}

/// Which definition a job was planned with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DatasetRef {
    /// Name of the dataset.
    pub name: String,
    /// Version id of its object in the configuration bucket; none where that has no versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Name: of the column in tables and of the key in documents.
    pub name: String,
    /// Type.
    pub kind: FieldType,
    /// Whether a row without it is rejected. Key fields always are.
    pub required: bool,
    /// What a row without it gets.
    pub default: Option<Value>,
    /// Name of its column or property in the file.
    pub column: String,
    /// Texts that mean null.
    pub nulls: Vec<String>,
    /// `strptime` pattern of dates and timestamps, where they are not ISO 8601.
    pub pattern: Option<String>,
    /// Whether rows are to be found and sorted by it.
    pub indexed: bool,
}

impl Field {
    /// An optional field whose column has its name and whose null is the empty text.
    pub fn new(name: &str, kind: FieldType) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            required: false,
            default: None,
            column: name.to_owned(),
            nulls: vec![String::new()],
            pattern: None,
            indexed: false,
        }
    }

    /// Whether this text means null.
    pub fn is_null(&self, text: &str) -> bool {
        self.nulls.iter().any(|null| null == text)
    }
}

/// Type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FieldType {
    /// Unicode text.
    Text,
    /// 64 bits, signed.
    Integer,
    /// Exact, at most 28 significant digits.
    Decimal,
    /// 64 bits, finite.
    Float,
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// An instant.
    Timestamp,
    /// Any JSON value.
    Json,
}

impl FieldType {
    /// The word used in definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
        }
    }

    /// Whether its values have an order that every store keeps.
    pub fn is_ordered(self) -> bool {
        self != Self::Json
    }

    /// Whether every store can index it exactly.
    pub fn can_be_key(self) -> bool {
        !matches!(self, Self::Float | Self::Json)
    }
}

/// Format of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values, or as the dataset's CSV options say.
    Csv,
    /// Tab-separated values, quoted as CSV is.
    Tsv,
    /// One JSON object a line.
    Ndjson,
    /// A JSON array, or one at a path of a JSON document.
    Json,
}

impl Format {
    /// The word used in definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Ndjson => "ndjson",
            Self::Json => "json",
        }
    }
}

/// What becomes of columns that are no field's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownColumns {
    /// Kept together in one JSON column, `_extra`.
    #[default]
    Keep,
    /// Left out.
    Drop,
    /// Rows that have them are rejected.
    Reject,
}

/// What a file is of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Mode {
    /// Some rows of it: keys that a file does not have stay.
    #[default]
    Upsert,
    /// All of it: keys that a complete file no longer has are deleted once its job succeeds.
    Snapshot,
}

/// Which rows delete their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The column or property that says so.
    pub column: String,
    /// The texts that it then has.
    pub deletes: Vec<String>,
}

impl Operation {
    /// Whether this text means that the key is to be deleted.
    pub fn is_delete(&self, text: &str) -> bool {
        self.deletes.iter().any(|delete| delete == text)
    }
}

/// A table of totals: one row for each group of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// Name of the table.
    pub name: String,
    /// Names of the fields whose values make a group. Neither floats nor JSON; a null is a value too.
    pub by: Vec<String>,
    /// What is kept of a group, in the order of the definition.
    pub columns: Vec<TotalColumn>,
}

/// A column of a table of totals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalColumn {
    /// Its name.
    pub name: String,
    /// What it tells of the rows of a group.
    pub measure: Measure,
}

/// What a column of a table of totals tells of the rows of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// How many there are.
    Count,
    /// The sum of an integer or decimal field; 0 where no row has a value.
    Sum(String),
    /// The least value of an integer, decimal, date or timestamp field; null where no row has one.
    Min(String),
    /// The greatest value of such a field; null where no row has one.
    Max(String),
}

impl Measure {
    /// The field that it is of.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Count => None,
            Self::Sum(field) | Self::Min(field) | Self::Max(field) => Some(field),
        }
    }
}

/// How CSV and TSV are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// Byte between cells; a comma, or a tab for TSV, unless given.
    pub delimiter: Option<u8>,
    /// Byte around cells that hold delimiters, quotes or newlines; doubled inside.
    pub quote: u8,
    /// Whether the first record names the columns. Without it, columns are the fields in order.
    pub header: bool,
}

impl CsvOptions {
    /// The delimiter for a format.
    pub fn delimiter_for(&self, format: Format) -> u8 {
        self.delimiter
            .unwrap_or(if format == Format::Tsv { b'\t' } else { b',' })
    }
}

/// Where rows are in a JSON document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonOptions {
    /// Names of the properties that lead from the root to the array; empty for a root array.
    pub path: Vec<String>,
}

/// Bounds of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The most bytes of a record; longer ones are rejects. 16 bytes to 8 MiB, 1 MiB unless given.
    pub record_bytes: u64,
    /// With how many rejects a job can succeed.
    pub rejects: RejectLimits,
}

/// With how many rejects a job can succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RejectLimits {
    /// The most rejects.
    pub count: Option<u64>,
    /// The largest share of rows (0 to 1) that may be rejects; all but one row unless given.
    pub share: Option<f64>,
}

impl RejectLimits {
    /// Whether so many rejects of so many rows are too many.
    pub fn exceeded(&self, rows: u64, rejected: u64) -> bool {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share needs no more than 53 bits"
        )]
        let share = || rejected as f64 / rows.max(1) as f64;
        self.count.is_some_and(|most| rejected > most)
            || match self.share {
                Some(most) => share() > most,
                // A file of which nothing is left is hardly what it should have been.
                None => rejected > 0 && rejected == rows,
            }
    }
}

/// What is wrong with a definition, and where.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{file}:{line}: {field}: {message}")]
pub struct DatasetError {
    /// Name of the file.
    pub file: String,
    /// Line in it, from 1.
    pub line: usize,
    /// What the error is about: a field's name, a setting's path, or `syntax`.
    pub field: String,
    /// What is wrong and what is right.
    pub message: String,
}
