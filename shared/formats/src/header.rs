//! Columns of CSV and TSV, and whose field each is.

use std::collections::HashMap;

use landfall_domain::{Dataset, Format, Problem, ProblemCode, UnknownColumns, excerpt};

use crate::decode_csv::Records;
use crate::scan::BOM;

/// The columns of an object, mapped to the fields of its dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Names, in the order of the file.
    pub(crate) columns: Vec<String>,
    /// For each field of the dataset, its column.
    pub(crate) fields: Vec<Option<usize>>,
    /// The column that says which rows delete their keys.
    pub(crate) operation: Option<usize>,
    /// The kept columns that are no field's, in the order of their names.
    pub(crate) unknown: Vec<UnknownColumn>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownColumn {
    pub(crate) index: usize,
    /// Its name as a JSON string.
    pub(crate) json_name: String,
}

impl Header {
    /// Reads the header record, with or without a byte order mark before it and a terminator after.
    ///
    /// # Errors
    /// `HeaderMismatch` where it is not UTF-8, names a column twice, lacks the column of a required
    /// field without a default, or has columns that the dataset rejects.
    pub fn parse(bytes: &[u8], dataset: &Dataset, format: Format) -> Result<Self, Problem> {
        let bytes = bytes.strip_prefix(&BOM).unwrap_or(bytes);
        let mut records = Records::new(bytes, dataset.csv.delimiter_for(format), dataset.csv.quote);
        let block = records.next_block();
        let Some((block, record)) = block
            .as_ref()
            .and_then(|block| Some((block, block.records.first()?)))
        else {
            return Err(mismatch("the header record is blank".to_owned()));
        };
        if record.unclosed {
            return Err(mismatch(
                "a quote in the header record is never closed".to_owned(),
            ));
        }
        let Some(cells) = block.cells(record) else {
            return Err(mismatch(
                "the header record is not UTF-8: save the file as UTF-8".to_owned(),
            ));
        };
        let columns: Vec<String> = cells.iter().map(str::to_owned).collect();
        Self::of_columns(columns, dataset)
    }

    /// The columns of an object without a header record: the fields in order, then the operation.
    pub fn without(dataset: &Dataset) -> Self {
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

    fn of_columns(columns: Vec<String>, dataset: &Dataset) -> Result<Self, Problem> {
        let mut indexes = HashMap::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            if column.contains('\0') {
                let message = format!("the name of column {} holds U+0000", index + 1);
                return Err(mismatch(message));
            }
            if let Some(first) = indexes.insert(column.as_str(), index) {
                let message = format!(
                    "columns {} and {} are both named {:?}",
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
                    "the header has {}, which no field of the dataset takes",
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

fn mismatch(message: String) -> Problem {
    Problem::new(ProblemCode::HeaderMismatch, message)
}

/// What to do about a header that looks like one column because it is cut at another delimiter.
fn delimiter_hint(columns: &[String]) -> String {
    let [only] = columns else {
        return String::new();
    };
    [',', ';', '\t', '|']
        .into_iter()
        .find(|delimiter| only.contains(*delimiter))
        .map(|delimiter| format!("; if {delimiter:?} is the delimiter, set csv.delimiter"))
        .unwrap_or_default()
}

/// A few names for a message.
fn list<T: AsRef<str>>(names: &[T]) -> String {
    const MOST: usize = 20;
    let mut quoted: Vec<String> = names
        .iter()
        .take(MOST)
        .map(|name| format!("{:?}", excerpt(name.as_ref())))
        .collect();
    if names.len() > MOST {
        quoted.push(format!("and {} more", names.len() - MOST));
    }
    quoted.join(", ")
}
