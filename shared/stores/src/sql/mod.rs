//! The write path of SQL servers: one sequence, and the steps that each database supplies.
//!
//! [`write`] applies chunks in transactions of these steps:
//!
//! 1. Stage the chunk, beside other writers.
//! 2. Lock the dataset, or the lane of the chunk's keys ([`lanes`]), and read its registry entry.
//! 3. Check that the lock covers the chunk, that nothing it was staged for has changed, and that no newer snapshot
//!    has pruned (the floor).
//! 4. Drop staged rows that tombstones forbid; create the table of tombstones for the first delete.
//! 5. Sum up what the change does to totals, while the old rows are there.
//! 6. Upsert, delete.
//! 7. Update the tables of totals.
//! 8. Save the registry entry if it has changed; commit.
//!
//! Rows that are merged by column take another sequence ([`columns`]). A prune deletes a range in each transaction
//! ([`prune`]), and so does a sweep of expired tombstones ([`sweep`]).
//!
//! `PostgreSQL` and `MySQL` supply the steps as [`SqlDatabase`] and [`SqlTransaction`]. A further server does the same
//! in its own folder, which `connect.rs` then names for its URL scheme, store and reader. Step 6 also records
//! which keys change, if the dataset has destinations ([`crate::changes`]).
//!
//! `SQLite` keeps its own sequence (`sqlite::merge`). Its transaction is synchronous and bound to a thread, and
//! it decides row by row in memory where servers decide by sets in temporary tables, so only steps 2, 3 and 8 would be
//! left to share. They share those as methods of [`Entry`](crate::registry::Entry).

mod columns;
mod database;
pub(crate) mod error;
pub(crate) mod lanes;
mod prune;
mod sweep;
pub(crate) mod tls;
pub(crate) mod totals;
mod write;

pub(crate) use database::{Below, Change, Chunk, SqlDatabase, SqlTransaction};
pub(crate) use prune::{preview_prune, prune};
pub(crate) use sweep::sweep;
pub(crate) use write::apply;
