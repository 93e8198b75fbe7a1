//! The words of Landfall as plain values: datasets, objects, jobs, chunks, rows, versions, rejects.
//!
//! Nothing here does I/O, waits, or knows AWS or a database. Everything that decides (which row
//! wins, when a job may close) is a function of these values, so that tests, the simulation and the
//! deployed functions run the same code.

mod chunk;
mod cursor;
mod dataset;
mod job;
mod json;
mod query;
mod raw_dataset;
mod raw_totals;
mod reject;
mod row;
mod text;
mod value;
mod version;

pub use chunk::{ByteRange, ChunkKind, ChunkMessage, WorkMessage};
pub use cursor::Cursor;
pub use dataset::{
    CsvOptions, Dataset, DatasetError, DatasetRef, Field, FieldType, Format, JsonOptions, Limits,
    MAX_FIELDS, MAX_INDEXES, MAX_KEY_BYTES, MAX_NAME_BYTES, Measure, Mode, Operation, RejectLimits,
    Total, TotalColumn, UnknownColumns, is_name,
};
pub use job::{
    CompletionEvent, Counts, JobId, JobState, ObjectRef, Problem, ProblemCode, RejectsLocation,
    StoreCounts, StoreKind,
};
pub use json::check_json;
pub use query::{
    Filter, MAX_FILTERS, MAX_PAGE_ROWS, QueryError, RowQuery, SORTED_CHARS, Sort, Start, Test,
};
pub use reject::{MAX_RAW_BYTES, Reject, RejectCode, excerpt};
pub use row::{Row, Values, latest_by_key};
pub use text::Text;
pub use value::{Value, ValueError};
pub use version::{ObjectOrder, RowVersion, VersionError};
