//! Databases that rows are written to and read from: `MongoDB`, `PostgreSQL`, `MySQL`/`MariaDB` and `SQLite`.
//!
//! All of them keep one promise: whatever the number of writers, the order of chunks, and how often each is
//! delivered, every key ends with the row of its greatest version. So each row carries its version (column or
//! field `_version`), and a write touches only older rows. A row with the same values still gets the newer version;
//! otherwise a chunk from between the two versions would overwrite it.
//!
//! | field | `PostgreSQL` | `MySQL`, `MariaDB` | `SQLite` (STRICT) | `MongoDB` |
//! |---|---|---|---|---|
//! | text | `text` (`"C"` in the key) | `longtext`, key `varchar(512)` | `TEXT` | string |
//! | integer | `bigint` | `bigint` | `INTEGER` | long |
//! | decimal | `numeric` | `decimal(56,28)` | `TEXT` | decimal |
//! | float | `double precision` | `double` | `REAL` | double |
//! | boolean | `boolean` | `tinyint(1)` | `INTEGER` | bool |
//! | date | `date` | `date` | `TEXT` | date, midnight UTC |
//! | timestamp | `timestamptz` | `datetime(6)`, UTC | `TEXT`, UTC | date, truncated to ms |
//! | json | `jsonb` | `longtext` | `TEXT` | document, array, value |
//!
//! A value that its type cannot hold is stored as its exact text: JSON with numbers beyond `jsonb` or BSON; for BSON
//! also JSON that is nested too deep or has names with `$` or `.`; and dates and timestamps in the keys of `MongoDB`,
//! where BSON dates would merge two keys within a millisecond. Input columns that the dataset does not define are JSON
//! in `_extra`.
//!
//! In `MySQL` and `MariaDB`, the texts of a key of several are `varbinary`, as only so they fit an index. Row values are
//! compared in SQL. `MongoDB` compares a digest, so what someone changed there by hand stays until the row's values
//! change.

mod connect;
mod error;
mod json;
mod mongodb;
mod mysql;
mod postgres;
mod read;
mod registry;
mod retry;
mod schema;
mod sql;
mod sqlite;
mod store;
mod text;

pub use connect::{connect_mongodb, connect_sql, read_mongodb, read_sql};
pub use error::StoreError;
pub use read::{ReadOptions, Reader, RowPage, StoredRow, TotalsPage};
pub use store::{Store, StoreOptions};
