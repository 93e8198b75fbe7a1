//! The header of CSV and TSV, which maps columns to fields.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use landfall_domain::{
    Dataset, Encoding, Field, Problem, ProblemCode, Reading, UnknownColumns, Warning, WarningCode,
    excerpt,
};

use unicode_normalization::UnicodeNormalization as _;

use super::dialect::Dialect;
use super::header_hint::{list, look_alikes, missing_hint, warnings};
use super::records::{Cells, Quotes, Records};
use crate::exported::in_file;
use crate::position::{index_of, name_at};
use crate::transcode::Transcoded;

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
    /// The records that name the columns. Those that repeat one of them are skipped.
    pub(crate) records: Vec<Vec<String>>,
    /// Whether a record may have more cells than there are columns.
    pub(crate) is_open: bool,
    warnings: Vec<Warning>,
}

/// A column that belongs to no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownColumn {
    pub(crate) index: usize,
    /// Name of the column as a JSON string.
    pub(crate) json_name: String,
    /// Whether the file names it. Empty cells of nameless columns are not kept.
    pub(crate) is_named: bool,
}

impl Header {
    /// Parses the records that name the columns, with or without byte order mark and terminator.
    ///
    /// Names match those of the definition after trimming and case folding, where that is unambiguous.
    ///
    /// # Errors
    /// `HeaderMismatch` if the header is not UTF-8, names the column of a field twice, lacks the column of a required
    /// field without a default (of the key, if the dataset is merged by column), or has columns that the dataset
    /// rejects.
    pub fn parse(bytes: &[u8], dataset: &Dataset, reading: &Reading) -> Result<Self, Problem> {
        let dataset = &*in_file(dataset, reading);
        let dialect = Dialect::new(&dataset.csv, reading);
        let transcoded = (reading.encoding != Encoding::UTF_8)
            .then(|| Transcoded::new(reading.encoding, bytes).text);
        let bytes = transcoded.as_deref().map_or(bytes, str::as_bytes);
        let mut header = Records::new(bytes, &dialect);
        let mut records = Vec::new();
        let mut columns: Vec<String> = Vec::new();
        while let Some(block) = header.next_block() {
            for record in block.records {
                match record.quotes {
                    Quotes::Unclosed => {
                        let message =
                            "a quote in the header record is never closed: close or remove it";
                        return Err(mismatch(message.to_owned()));
                    }
                    Quotes::TextAfter if !dialect.lenient => {
                        let message = "text follows a closing quote in the header record: remove it, or double the \
                             quote that is data";
                        return Err(mismatch(message.to_owned()));
                    }
                    Quotes::TextAfter | Quotes::Correct => {}
                }
                let Some(cells) = block.cells(record) else {
                    let message = "the header record is not UTF-8: set encoding in the definition, or save the \
                         file as UTF-8";
                    return Err(mismatch(message.to_owned()));
                };
                join_names(&mut columns, cells.iter());
                records.push(cells.iter().map(str::to_owned).collect());
            }
        }
        if columns.is_empty() {
            let message = "the header record is blank: add a header, or set csv.header = false";
            return Err(mismatch(message.to_owned()));
        }
        Self::from_columns(columns, records, dataset, &dialect)
    }

    /// Returns the columns of an object without a header record: those with a position, or the fields in order, then
    /// the operation.
    pub fn without(dataset: &Dataset) -> Self {
        if let Some(last) = dataset.last_position() {
            return Self::of_positions(dataset, index_of(last) + 1);
        }
        let fields = dataset.fields.len();
        let operation = dataset.operation.as_ref();
        let names = dataset.fields.iter().map(|field| &field.column);
        let names = names.chain(operation.map(|operation| &operation.column));
        let columns: Vec<String> = names.cloned().collect();
        // A file may have a header although the definition says otherwise.
        let records = if columns.len() > 1 {
            vec![columns.clone()]
        } else {
            Vec::new()
        };
        Self {
            columns,
            fields: (0..fields).map(Some).collect(),
            operation: operation.map(|_| fields),
            unknown: Vec::new(),
            records,
            is_open: false,
            warnings: Vec::new(),
        }
    }

    /// Returns the columns of records whose cells have a meaning by position. There may be others.
    fn of_positions(dataset: &Dataset, count: usize) -> Self {
        let operation = dataset.operation.as_ref();
        let operation = operation.and_then(|operation| operation.position.map(index_of));
        let fields = dataset.fields.iter();
        let fields: Vec<_> = fields.map(|field| field.position.map(index_of)).collect();
        let columns: Vec<String> = (0..count).map(|index| name_at(dataset, index)).collect();
        let is_used = |index| operation == Some(index) || fields.contains(&Some(index));
        let unknown = (0..count).filter(|index| !is_used(*index));
        let unknown = unknown.map(|index| UnknownColumn {
            index,
            json_name: serde_json::Value::from(columns[index].as_str()).to_string(),
            is_named: false,
        });
        Self {
            unknown: match dataset.unknown_columns {
                UnknownColumns::Drop => Vec::new(),
                UnknownColumns::Keep | UnknownColumns::Reject => unknown.collect(),
            },
            columns,
            fields,
            operation,
            records: Vec::new(),
            is_open: true,
            warnings: Vec::new(),
        }
    }

    /// Returns whether the object has a column for the field with this index.
    pub fn has(&self, field: usize) -> bool {
        self.fields.get(field).is_some_and(Option::is_some)
    }

    /// Returns whether a record repeats one of those that name the columns, apart from case and white space.
    pub(crate) fn is_repeated(&self, cells: Cells<'_>) -> bool {
        let mut records = self.records.iter();
        records.any(|names| {
            let count = names.len().max(cells.len());
            (0..count).all(|index| {
                let cell = cells.get_or_empty(index).trim();
                let name = names.get(index).map_or("", |name| name.trim());
                cell.eq_ignore_ascii_case(name)
                    || !cell.is_ascii() && !name.is_ascii() && fold(cell) == fold(name)
            })
        })
    }

    /// Returns what may be wrong with the columns.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn from_columns(
        columns: Vec<String>,
        records: Vec<Vec<String>>,
        dataset: &Dataset,
        dialect: &Dialect,
    ) -> Result<Self, Problem> {
        // Lines do not end in the others, although some programs think so.
        let is_foreign = |sign: char| {
            matches!(
                sign,
                '\0' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
            )
        };
        let foreign = columns.iter().enumerate();
        let mut foreign = foreign.filter_map(|(index, column)| {
            Some((index + 1, column.chars().find(|sign| is_foreign(*sign))?))
        });
        if let Some((column, sign)) = foreign.next() {
            let message = format!(
                "the name of column {column} contains U+{:04X}: remove it; lines must end in LF, CR, or both",
                u32::from(sign)
            );
            return Err(mismatch(message));
        }
        let operation = dataset.operation.as_ref();
        let wanted = dataset.fields.iter();
        let wanted = wanted.map(|field| (field.column.as_str(), field.position));
        let wanted: Vec<_> = wanted
            .chain(operation.map(|operation| (operation.column.as_str(), operation.position)))
            .collect();
        let mut fields = matched(&columns, &wanted)?;
        let operation = operation.and_then(|_| fields.pop().flatten());
        let used: HashSet<usize> = fields.iter().copied().flatten().chain(operation).collect();
        let rest: Vec<usize> = (0..columns.len())
            .filter(|index| !used.contains(index))
            .collect();
        let rest_names: Vec<&str> = rest.iter().map(|index| columns[*index].trim()).collect();
        let absent = |is_needed: bool| -> Vec<Cow<'_, str>> {
            let absent = dataset.fields.iter().zip(&fields).enumerate();
            let absent = absent.filter(|(index, (field, column))| {
                // A file of deletes may have the key alone.
                let may_lack = dataset.may_lack(*index)
                    || (operation.is_some() && !dataset.is_in_deletes(*index));
                let is_required = field.required && field.default.is_none() && !may_lack;
                column.is_none() && is_needed == is_required
            });
            absent.map(|(_, (field, _))| label(field)).collect()
        };
        let missing = absent(true);
        if !missing.is_empty() {
            let hint = match look_alikes(&missing, &rest_names).first() {
                Some((field, column)) => format!("; is {column:?} meant to be {field:?}?"),
                None => missing_hint(&columns, &used, dialect),
            };
            let (missing, columns) = (list(&missing), list(&columns));
            let message = format!("the header lacks {missing}; it has {columns}{hint}");
            return Err(mismatch(message));
        }
        let is_missing = |(index, (field, column)): (usize, (&Field, &Option<usize>))| {
            let is_required = field.required && field.default.is_none();
            column.is_none() && is_required && !dataset.may_lack(index)
        };
        let rejects = dataset
            .fields
            .iter()
            .zip(&fields)
            .enumerate()
            .any(is_missing);
        let mut warnings = warnings(dataset.mode, &absent(false), &rest_names, rejects);
        if let (Some(known), None) = (&dataset.operation, operation) {
            let message = format!(
                "the file has no column {:?}, which operation.column names: none of its rows is a delete",
                excerpt(&known.column)
            );
            warnings.push(Warning::new(WarningCode::AbsentColumns, message));
        }
        let unknown = match dataset.unknown_columns {
            UnknownColumns::Reject if rest_names.iter().any(|name| !name.is_empty()) => {
                let message = format!(
                    "the header has {}, which belong to no field of the dataset: remove them, or add fields to the \
                     definition",
                    list(&rest_names)
                );
                return Err(mismatch(message));
            }
            UnknownColumns::Keep => unknown_columns(&columns, &rest),
            UnknownColumns::Drop | UnknownColumns::Reject => Vec::new(),
        };
        Ok(Self {
            columns,
            fields,
            operation,
            unknown,
            records,
            is_open: false,
            warnings,
        })
    }
}

/// Adds the names of one record of the header to those before it.
pub(crate) fn join_names<'a>(columns: &mut Vec<String>, names: impl Iterator<Item = &'a str>) {
    for (index, name) in names.enumerate() {
        let Some(column) = columns.get_mut(index) else {
            columns.push(name.to_owned());
            continue;
        };
        if !column.is_empty() && !name.is_empty() {
            column.push(' ');
        }
        column.push_str(name);
    }
}

/// Returns what a message calls the column of a field.
fn label(field: &Field) -> Cow<'_, str> {
    match field.position {
        None => Cow::Borrowed(&field.column),
        Some(position) => format!("{} (column {position})", field.column).into(),
    }
}

/// Returns the index of the column for each name and position: the column at the position, or the one of exactly this
/// name, else the only one that has it after trimming and case folding.
fn matched(
    columns: &[String],
    wanted: &[(&str, Option<u32>)],
) -> Result<Vec<Option<usize>>, Problem> {
    let positions = wanted.iter().map(|(_, position)| position.map(index_of));
    let taken: HashSet<usize> = positions.clone().flatten().collect();
    let names = wanted.iter().filter(|(_, position)| position.is_none());
    let names: Vec<&str> = names.map(|(name, _)| *name).collect();
    let mut by_name = matched_by_name(columns, &names, &taken)?.into_iter();
    let matched = positions.map(|position| match position {
        None => by_name.next().flatten(),
        Some(index) => Some(index).filter(|index| *index < columns.len()),
    });
    Ok(matched.collect())
}

/// Does the same for names, among the columns that are not taken.
fn matched_by_name(
    columns: &[String],
    names: &[&str],
    taken: &HashSet<usize>,
) -> Result<Vec<Option<usize>>, Problem> {
    let mut exact: HashMap<&str, Vec<usize>> = HashMap::with_capacity(columns.len());
    let mut folded: HashMap<String, Vec<usize>> = HashMap::with_capacity(columns.len());
    let free = columns.iter().enumerate();
    for (index, column) in free.filter(|(index, _)| !taken.contains(index)) {
        exact.entry(column).or_default().push(index);
        if !names.contains(&column.as_str()) {
            folded.entry(fold(column)).or_default().push(index);
        }
    }
    let mut names_by_fold: HashMap<String, usize> = HashMap::with_capacity(names.len());
    for name in names.iter().filter(|name| !exact.contains_key(*name)) {
        *names_by_fold.entry(fold(name)).or_default() += 1;
    }
    names
        .iter()
        .map(|name| match exact.get(name).map(Vec::as_slice) {
            Some([index]) => Ok(Some(*index)),
            Some([first, second, ..]) => Err(mismatch(format!(
                "columns {} and {} are both named {:?}, which a field uses: rename one",
                first + 1,
                second + 1,
                excerpt(name)
            ))),
            _ => {
                let fold = fold(name);
                Ok(match folded.get(&fold).map(Vec::as_slice) {
                    Some([index]) if names_by_fold.get(&fold) == Some(&1) => Some(*index),
                    _ => None,
                })
            }
        })
        .collect()
}

/// Returns a name in the form in which different spellings of it are equal.
fn fold(name: &str) -> String {
    let name = name.trim().nfc().collect::<String>();
    name.to_lowercase()
}

/// Returns the columns at these indexes, sorted by name, with different names.
fn unknown_columns(columns: &[String], indexes: &[usize]) -> Vec<UnknownColumn> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut unknown: Vec<(String, UnknownColumn)> = indexes
        .iter()
        .map(|&index| {
            let is_named = !columns[index].trim().is_empty();
            let base = if is_named {
                columns[index].clone()
            } else {
                format!("column_{}", index + 1)
            };
            let repeated = (2..).map(|number| format!("{base}_{number}"));
            let mut names = std::iter::once(base.clone()).chain(repeated);
            let name = names
                .find(|name| taken.insert(name.clone()))
                .unwrap_or(base);
            let json_name = serde_json::Value::from(name.as_str()).to_string();
            let column = UnknownColumn {
                index,
                json_name,
                is_named,
            };
            (name, column)
        })
        .collect();
    unknown.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    unknown.into_iter().map(|(_, column)| column).collect()
}

fn mismatch(message: String) -> Problem {
    Problem::new(ProblemCode::HeaderMismatch, message)
}
