//! CSV and TSV: dialects, records and their cells, and the header.
//!
//! # Rules
//!
//! CR, LF or CRLF ends a record, unless it is inside a quoted cell or follows the escape byte. Blank lines and
//! comment lines are not records. A byte order mark at the start of a record is skipped. A quote opens a quoted cell
//! only at the start of a cell (with `trim`, after spaces and tabs); it is data elsewhere. A quoted cell ends at the
//! next quote that is neither doubled nor escaped. What follows it up to the next delimiter belongs to the cell, which
//! is an error unless the dialect is lenient. The escape byte makes the next byte data, in quoted cells and in others;
//! after a backslash, some letters are control characters.
//!
//! The [`Scanner`](crate::Scanner) follows the same rules.

pub(crate) mod dialect;
pub(crate) mod header;
mod header_hint;
pub(crate) mod records;
