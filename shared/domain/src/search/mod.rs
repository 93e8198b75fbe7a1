//! Search: what a word is, what a query means, and which texts match it.
//!
//! This is the only definition of both. Databases store the words of a text as this module returns them
//! ([`searched_words`]), and match a query by looking for texts in them ([`Clause`]). Their indexes only find
//! candidates, so all of them return the same rows.
//!
//! # Words
//!
//! A text is split at the word boundaries of Unicode (UAX #29). Letters and digits form words, and each emoji is one.
//! Scripts without spaces between words (Chinese, Japanese, Thai, Lao, Khmer and Burmese) are split into pairs of
//! characters that overlap, so that any two neighbours can be found. Words are compared without case and accents:
//! compatibility variants, case, and the marks of Latin, Greek, Cyrillic, Hebrew and Arabic are folded. There are no
//! stop words, and no word is too short.
//!
//! # Queries
//!
//! A query is any text. Each term of it must occur in one of the searched fields:
//!
//! | term | finds |
//! |---|---|
//! | `gard` | words that contain it; terms of one or two letters are whole words |
//! | `gard*` | words that begin with it |
//! | `"garden"` | this word |
//! | `"front garden"`, `e-mail` | these words in this order, with nothing between them |
//!
//! Everything else is text: a quote that is not closed is ignored like other punctuation. A query without words finds
//! nothing.

mod form;
mod highlight;
mod query;
#[cfg(test)]
mod tests;
mod words;

pub use form::{parts_of_word, search_column, searched_words};
pub use highlight::{Segment, highlight};
pub use query::{Clause, Occurrence, Search, SearchError};

/// The bytes of a text that are searched; the rest is not found. Bounds what stores keep for each row.
pub const MAX_SEARCHED_BYTES: usize = 64 << 10;
/// The maximum number of characters of a query.
pub const MAX_SEARCH_CHARS: usize = 200;
/// The maximum number of terms of a query.
pub const MAX_CLAUSES: usize = 16;
/// The minimum number of characters of a term that is found within words.
const MIN_PART: usize = 3;
/// The maximum number of fields of a dataset that are searched.
pub(crate) const MAX_SEARCH_FIELDS: usize = 4;
