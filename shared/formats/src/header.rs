//! The header of CSV and TSV, which maps columns to fields.

use std::collections::HashMap;

use landfall_domain::{Dataset, Format, Problem, ProblemCode, UnknownColumns, excerpt};

use crate::csv_records::Records;
use crate::syntax::BOM;

/// The columns of an object, mapped to the fields of its dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Names of the columns, in the order of the file.
    pub(crate) columns: Vec<String>,
    /// Index of the column for each field of the dataset.
    pub(crate) fields: Vec<Option<usize>>,
    /// Index of the column that contains the operation.
    pub(crate) operation: Option<usize>,
    /// The columns to keep that belong to no field, sorted by name.
    pub(crate) unknown: Vec<UnknownColumn>,
}

/// A column that belongs to no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownColumn {
    pub(crate) index: usize,
    /// Name of the column as a JSON string.
    pub(crate) json_name: String,
}

impl Header {
    /// Parses the header record, with or without byte order mark and terminator.
    ///
    /// # Errors
    /// `HeaderMismatch` if the header is not UTF-8, names a column twice, lacks the column of a required
    /// field without a default, or has columns that the dataset rejects.
    pub fn parse(bytes: &[u8], dataset: &Dataset, format: Format) -> Result<Self, Problem> {
        let bytes = bytes.strip_prefix(&BOM).unwrap_or(bytes);
        let mut records = Records::new(bytes, dataset.csv.delimiter_for(format), dataset.csv.quote);
        let columns = match records.next_block() {
            None => Err("the header record is blank: add a header, or set csv.header = false"),
            Some(block) if block.records[0].unclosed => {
                Err("a quote in the header record is never closed: close or remove it")
            }
            Some(block) => match block.cells(&block.records[0]) {
                None => Err("the header record is not UTF-8: save the file as UTF-8"),
                Some(cells) => Ok(cells.iter().map(str::to_owned).collect()),
            },
        };
        Self::from_columns(columns.map_err(mismatch)?, dataset)
    }

    /// Returns the columns of an object without a header record: the fields in order, then the operation.
    pub(crate) fn without(dataset: &Dataset) -> Self {
        let fields = dataset.fields.len();
        let operation = dataset.operation.as_ref();
        let names = dataset.fields.iter().map(|field| &field.column);
        let names = names.chain(operation.map(|operation| &operation.column));
        Self {
            columns: names.cloned().collect(),
            fields: (0..fields).map(Some).collect(),
            operation: operation.map(|_| fields),
            unknown: Vec::new(),
        }
    }

    fn from_columns(columns: Vec<String>, dataset: &Dataset) -> Result<Self, Problem> {
        let mut indexes = HashMap::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            if column.contains('\0') {
                let number = index + 1;
                let message = format!("the name of column {number} contains U+0000: remove it");
                return Err(mismatch(message));
            }
            if let Some(first) = indexes.insert(column.as_str(), index) {
                let message = format!(
                    "columns {} and {} are both named {:?}: rename one",
                    first + 1,
                    index + 1,
                    excerpt(column)
                );
                return Err(mismatch(message));
            }
        }
        let fields: Vec<Option<usize>> = dataset
            .fields
            .iter()
            .map(|field| indexes.remove(field.column.as_str()))
            .collect();
        let operation = dataset
            .operation
            .as_ref()
            .and_then(|operation| indexes.remove(operation.column.as_str()));
        let missing: Vec<&str> = dataset
            .fields
            .iter()
            .zip(&fields)
            .filter(|(field, index)| index.is_none() && field.required && field.default.is_none())
            .map(|(field, _)| field.column.as_str())
            .collect();
        if !missing.is_empty() {
            let hint = delimiter_hint(&columns);
            let (missing, columns) = (list(&missing), list(&columns));
            let message = format!("the header lacks {missing}; it has {columns}{hint}");
            return Err(mismatch(message));
        }
        let mut unknown: Vec<(&str, usize)> = indexes.into_iter().collect();
        unknown.sort_unstable();
        match dataset.unknown_columns {
            UnknownColumns::Reject if !unknown.is_empty() => {
                let names: Vec<&str> = unknown.iter().map(|(name, _)| *name).collect();
                let message = format!(
                    "the header has {}, which belong to no field of the dataset: remove them, or add fields to the definition",
                    list(&names)
                );
                return Err(mismatch(message));
            }
            UnknownColumns::Keep => {}
            UnknownColumns::Drop | UnknownColumns::Reject => unknown.clear(),
        }
        let unknown = unknown
            .into_iter()
            .map(|(name, index)| UnknownColumn {
                index,
                json_name: serde_json::Value::from(name).to_string(),
            })
            .collect();
        Ok(Self {
            columns,
            fields,
            operation,
            unknown,
        })
    }
}

fn mismatch(message: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::HeaderMismatch, message)
}

/// Returns what to do about a header that has one column because the delimiter is another one.
fn delimiter_hint(columns: &[String]) -> String {
    let delimiter = match columns {
        [only] => [',', ';', '\t', '|']
            .iter()
            .find(|byte| only.contains(**byte)),
        _ => None,
    };
    delimiter
        .map(|delimiter| {
            format!("; if {delimiter:?} is the delimiter, set csv.delimiter in the definition")
        })
        .unwrap_or_default()
}

/// Lists names for a message, at most 20 of them.
fn list<T: AsRef<str>>(names: &[T]) -> String {
    const MAX_NAMES: usize = 20;
    let mut quoted: Vec<String> = names
        .iter()
        .take(MAX_NAMES)
        .map(|name| format!("{:?}", excerpt(name.as_ref())))
        .collect();
    if names.len() > MAX_NAMES {
        quoted.push(format!("and {} more", names.len() - MAX_NAMES));
    }
    quoted.join(", ")
}
