//! Databases that rows are written to and read from: MongoDB, PostgreSQL, MySQL/MariaDB and SQLite.
//!
//! All stores keep one promise: whatever the number of writers, the order of chunks, and the number of times each
//! is delivered, every key ends with the row of its greatest version. To that end, each row carries its version
//! (column or field `_version`), and a write touches only what is older. A row with the same values still gets the
//! newer version: if it kept the older one, a late chunk with a version between the two would overwrite it.
//!
//! The databases set the pace. Each store therefore uses the approach that took the least CPU time on the server
//! among those tried. `cargo benchmark` measures the result, and shows for each of Landfall's times which process
//! used the CPU.
//!
//! | field | PostgreSQL | MySQL, MariaDB | SQLite (STRICT) | MongoDB |
//! |---|---|---|---|---|
//! | text | `text` (`"C"` in the key) | `longtext`, key `varchar(512)` | `TEXT` | string |
//! | integer | `bigint` | `bigint` | `INTEGER` | long |
//! | decimal | `numeric` | `decimal(56,28)` | `TEXT` | decimal |
//! | float | `double precision` | `double` | `REAL` | double |
//! | boolean | `boolean` | `tinyint(1)` | `INTEGER` | bool |
//! | date | `date` | `date` | `TEXT` | date, midnight UTC |
//! | timestamp | `timestamptz` | `datetime(6)`, UTC | `TEXT`, UTC | date, cut to ms |
//! | json | `jsonb` | `longtext` | `TEXT` | document, array, value |
//!
//! If a type cannot hold a value, the store keeps its exact text instead. This applies to JSON with numbers beyond
//! `jsonb` and BSON, to JSON nested too deep for BSON or with names that contain `$` or `.`, and to dates and
//! timestamps in MongoDB keys, where a BSON date would merge two keys within one millisecond. Columns that the
//! dataset does not define are JSON in `_extra`.
//!
//! In MySQL and MariaDB, the texts of a key with several texts are `varbinary`, because only then do they fit an
//! index. SQL stores compare row values; MongoDB compares a digest. A change made by hand in MongoDB therefore
//! stays until the row's values change.
//!
//! # Merges by column
//!
//! In a dataset with `mode = "merge"`, rows may lack columns, and versions are compared for each column. Beside
//! `_version`, the greatest one, a row has `_versions`, those of the columns that are older. A chunk reads the versions
//! of its keys, lets `landfall_domain::merge` decide, and writes the result before anything else can change the rows:
//! under the lock of the dataset in SQL, with updates that match only what was read in MongoDB.
//!
//! The registry pins the mode: once a definition merges, every chunk of the dataset does, whatever its definition. A
//! late chunk of an older one, or a row of a later one, then never overwrites a newer column. A snapshot deletes rows
//! whose columns could be newer, so datasets of snapshots cannot merge.
//!
//! # Deletes and snapshots
//!
//! A delete row deletes its key under the same version guard as a write, and leaves a *tombstone*: the key with its
//! version, in the table `_deleted_<dataset>`. An older row that arrives late meets the tombstone and is stale. A
//! newer row removes the tombstone. Tombstones are swept after 30 days; SQS keeps messages for at most 14.
//!
//! A *snapshot* needs no tombstones. Once all its rows are applied, every row that it contains has its version or a
//! newer one, so everything older than the whole snapshot is missing from it. The first step of [`Store::prune`] raises
//! the table's *floor* to the order of the snapshot. A late chunk of an older object is below the floor. Each key it
//! could add is either in the snapshot or deleted by it, so the whole chunk is stale. Each step then deletes the rows
//! below the floor in one range of the table (`walk`), and updates totals with them. Until the last step, readers may
//! see rows that the snapshot lacks.
//!
//! Pruning happens between the last mark and the close, and only if the job is going to succeed without rejects. If
//! a snapshot was cut short, given up or partly rejected, its missing keys are not known to be gone. If a worker dies
//! during a step, another one repeats it.
//!
//! # Changes
//!
//! An outside service can follow the rows of a dataset. [`ChangeStore`] says what is due for it: the store that records
//! changes ([`connect_changes`]) notes each key that is inserted, updated or deleted, also by a merge or a prune, in
//! the transaction that writes the row (in MongoDB, in the document itself). A row that is unchanged or stale is no
//! change. The sender leases keys, sends their rows as they stand, and records the results. For each key, what is sent
//! is never older than what was sent before, and each change is sent, superseded by a newer one that is, or kept with
//! the answer of the service. How this is stored is described in `changes`.

mod changes;
mod columns;
mod connect;
mod error;
mod json;
mod maintenance;
mod mongodb;
mod mysql;
mod options;
mod postgres;
mod read;
mod registry;
mod retry;
mod schema;
mod search;
mod size;
mod sql;
mod sqlite;
mod store;
mod text;
mod walk;

pub use changes::{
    ChangeKey, ChangeOutcome, ChangePage, ChangeReader, ChangeResult, ChangeStore, ChangeSummary,
    DueChange, Lease, ListedChange, MAX_ANSWER_BYTES, MAX_COUNTED_ENTRIES, Selection, Sent,
    SyncStep,
};
pub use connect::{
    connect_changes, connect_mongodb, connect_sql, read_changes, read_mongodb, read_sql,
};
pub use error::StoreError;
pub use maintenance::{Current, Maintenance, Prepared};
pub use read::numbers::MAX_NUMBERS;
pub use read::{
    KeyVersions, ReadOptions, Reader, RowPage, StoredRow, StoredVersions, Tombstone, TotalsPage,
};
pub use size::check_row_size;
pub use store::{Store, StoreOptions};
pub use walk::Step;
