//! Finds a header with the columns in another order among the records, as in files that were joined.
//!
//! The decoder finds headers in more spellings, but only in its own chunk: the rows of the chunks after that would have
//! their values in the wrong columns.

use landfall_domain::{Problem, ProblemCode};
use serde::{Deserialize, Serialize};

use crate::csv::dialect::Dialect;

/// The maximum length in bytes of a header that records are compared with. It bounds the state of a scanner.
pub(super) const MAX_HEADER: usize = 8 * 1024;

/// Compares the records of an object with its header.
#[derive(Default)]
pub(super) struct OtherOrder {
    /// The columns of the header, once it is complete.
    columns: Option<Columns>,
    /// The first bytes of the current record, if it is in several slices: no more than may be a header.
    head: Vec<u8>,
}

/// The bytes that are kept between two slices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::scan) struct Kept {
    /// The header, if records are compared with it.
    header: Vec<u8>,
    /// The first bytes of the current record.
    head: Vec<u8>,
}

impl OtherOrder {
    /// Returns the bytes that are kept.
    pub(super) fn kept(&self) -> Kept {
        let header = self.columns.as_ref();
        Kept {
            header: header.map_or_else(Vec::new, |columns| columns.header.clone()),
            head: self.head.clone(),
        }
    }

    /// Continues with bytes that were kept.
    pub(super) fn of(kept: Kept, dialect: &Dialect) -> Self {
        Self {
            columns: Columns::of(&kept.header, dialect),
            head: kept.head,
        }
    }

    /// Sets the header, which is the record that was kept.
    pub(super) fn set_header(&mut self, dialect: &Dialect) {
        self.columns = Columns::of(&self.head, dialect);
    }

    /// Returns the length in bytes of a record that has to be checked. No record has the length 0.
    pub(super) fn length(&self) -> usize {
        self.columns
            .as_ref()
            .map_or(0, |columns| columns.header.len())
    }

    /// Starts a record, of which these bytes are in an earlier slice.
    pub(super) fn start(&mut self, before: &[u8]) {
        self.head.clear();
        self.head.extend_from_slice(before);
    }

    /// Keeps the next bytes of the record, up to a number in all.
    pub(super) fn keep(&mut self, bytes: &[u8], most: usize) {
        let room = most.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Returns whether a record of that length is a header with the columns in another order.
    #[cold]
    pub(super) fn is_header(&self, record: &[u8]) -> bool {
        let columns = self.columns.as_ref();
        columns.is_some_and(|columns| columns.are_in_other_order(record))
    }

    /// Returns the problem of an object whose record on this line was kept and is such a header.
    pub(super) fn problem(&self, line: u64) -> Option<Problem> {
        self.is_header(&self.head).then(|| {
            let message = format!(
                "line {line} is a header with the columns in another order, as in files that were joined, so it and \
                 what follows it are not read: upload the files one by one"
            );
            Problem::new(ProblemCode::HeaderMismatch, message)
        })
    }
}

/// The columns of a header that is one record, each with a different name.
struct Columns {
    /// The header. In another order, the same names have the same length, which few rows have.
    header: Vec<u8>,
    delimiter: u8,
    quote: Option<u8>,
    trim: bool,
    names: Vec<Vec<u8>>,
    sorted: Vec<Vec<u8>>,
}

impl Columns {
    /// Returns the columns of a header, or `None` if it is unclear whether a record of the same names is data.
    fn of(header: &[u8], dialect: &Dialect) -> Option<Self> {
        let &[delimiter] = &*dialect.delimiter else {
            return None;
        };
        if header.len() > MAX_HEADER {
            return None;
        }
        let mut columns = Self {
            header: header.to_vec(),
            delimiter,
            quote: dialect.quote,
            trim: dialect.trim,
            names: Vec::new(),
            sorted: Vec::new(),
        };
        columns.names = columns.cells(header).map(<[u8]>::to_vec).collect();
        columns.sorted.clone_from(&columns.names);
        columns.sorted.sort_unstable();
        // Numbers can be data as well. What is escaped, or has quotes inside, would have to be parsed.
        let special = [dialect.quote, dialect.escape];
        let is_name = |name: &Vec<u8>| {
            let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
            name.iter().any(is_letter) && !name.iter().any(|byte| special.contains(&Some(*byte)))
        };
        let are_different = columns.sorted.is_sorted_by(|a, b| a < b);
        (are_different && columns.names.iter().all(is_name)).then_some(columns)
    }

    fn are_in_other_order(&self, record: &[u8]) -> bool {
        let is_name = |cell: &[u8]| {
            let found = self.sorted.binary_search_by(|name| (**name).cmp(cell));
            found.is_ok()
        };
        if !self.cells(record).all(is_name) {
            return false;
        }
        let mut cells: Vec<&[u8]> = self.cells(record).collect();
        if cells == self.names {
            return false;
        }
        cells.sort_unstable();
        cells == self.sorted
    }

    /// Returns the cells of a record in which neither delimiters nor quotes are quoted.
    fn cells<'r>(&self, record: &'r [u8]) -> impl Iterator<Item = &'r [u8]> {
        let cells = record.split(|byte| *byte == self.delimiter);
        cells.map(|cell| {
            let cell = if self.trim { cell.trim_ascii() } else { cell };
            let inner = self.quote.and_then(|quote| {
                let inner = cell.strip_prefix(&[quote])?;
                inner.strip_suffix(&[quote])
            });
            inner.unwrap_or(cell).trim_ascii()
        })
    }
}
