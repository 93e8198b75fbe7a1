//! The terms of Landfall as plain values: datasets, objects, jobs, chunks, rows, versions, rejects.
//!
//! This crate does no I/O and depends on neither AWS nor a database. Every decision (which row wins,
//! when a job may close) is a function of these values, so the tests, the simulation and the deployed
//! functions run the same code.

mod change;
mod chunk;
mod codec;
mod columns;
mod completion;
mod counts;
mod cursor;
mod dataset;
mod dead;
mod definition;
mod deletes;
mod encoding;
mod excerpt;
mod exported;
mod fixed;
mod fold;
mod job;
mod numbers;
mod origin;
mod packed;
mod problem;
mod prune;
mod query;
mod reject;
mod row;
mod row_versions;
mod search;
mod similar;
mod structure;
mod value;
mod version;
mod warning;
mod write;

pub use change::ChangeState;
pub use chunk::{ByteRange, ChunkKind, ChunkMessage, PlannedChunk, Reading};
pub use codec::Codec;
pub use columns::{
    Change, ColumnSet, Merged, Parts, RowUpdate, StoredKey, VersionsError, columns_by_version,
    merge,
};
pub use completion::{CompletionEvent, RejectsLocation};
pub use counts::{Counts, StoreCounts, StoreKind};
pub use cursor::CursorCodec;
pub use dataset::{
    Child, CsvOptions, Dataset, DatasetRef, FamilyError, Field, Format, JsonOptions, Limits,
    MAX_GENERATIONS, MAX_KEY_BYTES, Measure, Mode, NAME_RULE, Operation, Quote, RejectLimits,
    Total, TotalColumn, UnknownColumns, check_family, is_name, is_total_name, key_text_bytes,
};
pub use dead::{DeadChunk, DeadChunks, DeadCode, MAX_LISTED as MAX_LISTED_DEAD_CHUNKS};
pub use definition::{DefinitionText, InvalidDefinition, Tables, settings_of};
pub use deletes::TOMBSTONE_DAYS;
pub use encoding::Encoding;
pub use excerpt::excerpt;
pub use exported::{EXPORT_MARKER, EXTRA_COLUMN, escapes_text, is_formula};
pub use fixed::{FixedReject, FixedRejectError, MAX_FIXED_BYTES, RejectsOrigin};
pub use fold::{Folded, fold_by_key};
pub use job::{JobId, JobState, ObjectRef};
pub use numbers::{MAX_VOIDS, Numbers, NumbersToCheck, ParentRow};
pub use origin::{
    KeyState, MAX_ORIGINS, MissingRecord, Origin, OriginKind, OriginObject, OriginRecord,
    OriginWrite, Outcome, RowOrigin, Source,
};
pub use packed::{Content, Packed};
pub use problem::{Problem, ProblemCode};
pub use prune::{HeldPrune, PruneDecision, PrunePreview, PruneState};
pub use query::{
    Condition, Filter, MAX_FILTERS, MAX_PAGE_ROWS, QueryError, RowQuery, SORTED_CHARS, Sort, Start,
};
pub use reject::{MAX_RAW_BYTES, Record, RecordsBudget, Reject, RejectCode};
pub use row::{Row, Values, latest_by_key};
pub use row_versions::RowVersions;
pub use search::{
    Clause, MAX_CLAUSES, MAX_SEARCH_CHARS, MAX_SEARCHED_BYTES, Occurrence, Search, SearchError,
    Segment, highlight, parts_of_word, search_column, searched_words,
};
pub use structure::{Structure, StructureKind};
pub use value::{
    FieldType, JsonOf, JsonText, Text, Timestamp, Value, ValueError, check_json, zone,
};
pub use version::{ObjectOrder, RowVersion, VersionError};
pub use warning::{Warning, WarningCode};
pub use write::{
    InvalidWriteId, KeyDigest, MAX_INLINE_BYTES, RowOutcome, WriteId, WriteMessage, WriteOperation,
    WriteProblem, WriteState, WrittenRow,
};
