//! Work on whole tables that would hold up chunks: indexes and totals of tables that are no longer small.
//!
//! A worker creates what a definition adds only while the table is small. Otherwise, chunks go on without it, and
//! [`Store::maintain`](crate::Store::maintain) creates it beside them:
//!
//! | | index | totals |
//! |---|---|---|
//! | PostgreSQL | `CONCURRENTLY` | in ranges of keys |
//! | MySQL, MariaDB | online, except the index of a text, for which the server copies the table | in ranges of keys |
//! | SQLite | in one transaction | in one transaction |
//! | MongoDB | as the server does it, beside writers | |
//!
//! One process at a time maintains a dataset in a store. A lock of the database session ensures that: unlike a lease in
//! a row, it lasts exactly as long as the server works on a statement, even if the process that sent it has died.

use landfall_domain::Structure;
use tokio::sync::watch;

/// Where a step of maintenance reports what it creates, before it begins.
pub type Current = watch::Sender<Option<Structure>>;

/// Whether a table has all that a definition asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It has.
    Complete,
    /// It is ready for rows, and [`Store::maintain`](crate::Store::maintain) creates the rest.
    NeedsMaintenance,
    /// It has no room for the rows until [`Store::maintain`](crate::Store::maintain) has changed it.
    Blocked,
}

/// The result of a step of maintenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// Nothing is left to do.
    Done,
    /// More is left: take the next step.
    Continues,
    /// Another process maintains the dataset, or the server still works on what it began.
    Busy,
}

impl Prepared {
    /// Returns the state of a table that lacks something or not.
    pub(crate) fn lacking(lacks: bool) -> Self {
        if lacks {
            Self::NeedsMaintenance
        } else {
            Self::Complete
        }
    }
}
