use http::StatusCode;

use crate::children::ParentError;
use crate::page::PageError;

/// Why a walk cannot go on. It leaves no object, and the next run starts it again.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The status is none that a page has.
    #[error("the server answered with status {0}")]
    Status(StatusCode),
    /// The answer cannot be read.
    #[error(transparent)]
    Page(#[from] PageError),
    /// No records can be requested for a parent.
    #[error(transparent)]
    Parent(#[from] ParentError),
    /// A record that gets fields of its parent is not a JSON object.
    #[error("record {record} of page {page} is not an object, which children.fields needs")]
    NoObject {
        /// Number of the page, from 1.
        page: u64,
        /// Number of the record in its page, from 1.
        record: usize,
    },
    /// A limit of the definition is reached.
    #[error("more than {limit} {what}; raise limits.{what}")]
    Limit {
        /// The setting in `[limits]`.
        what: &'static str,
        /// Its value.
        limit: u64,
    },
    /// The pages turn in a circle.
    #[error("page {page} repeats an earlier one: {reason}")]
    Loop {
        /// Number of the page, from 1.
        page: u64,
        /// What repeats.
        reason: &'static str,
    },
    /// The pages of a table have different headers, so that they cannot be joined.
    #[error("page {0} has other columns than the pages before")]
    Header(u64),
    /// A page has no record that comes after the page before.
    #[error(
        "page {0} has no new value of the field of paging, so the next page would be the same; raise paging.size"
    )]
    NoNewKey(u64),
    /// Two records have the same value of the field of keyset paging.
    #[error(
        "two records on page {0} have the same value of the field of paging, and records could be missed between \
         pages; use a field without repeated values, or inclusive = true if the API supports it"
    )]
    RepeatedKey(u64),
    /// The records are not sorted by the field of keyset paging, or start before the requested value.
    #[error("page {0} is not sorted by the field of paging, or starts before the requested value")]
    NotSorted(u64),
    /// A record lacks a field, or the field is of another type.
    #[error("record {record} of page {page}: the field {field:?} {problem}")]
    Field {
        /// Number of the page, from 1.
        page: u64,
        /// Number of the record in its page, from 1.
        record: usize,
        /// The path of the field.
        field: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A property that says whether there are more pages is missing.
    #[error("page {page} has no property {property:?}, which paging.more names")]
    More {
        /// Number of the page, from 1.
        page: u64,
        /// The path of the property.
        property: String,
    },
    /// The next page is at another server, which must not get the credentials of this one.
    #[error("the next page is at {0}, which is not the server of the source")]
    OtherServer(String),
    /// The next page has no valid URL.
    #[error("the next page has the URL {0:?}, which is not valid")]
    NextUrl(String),
}
