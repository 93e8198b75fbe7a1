//! The limits of a store.

use std::time::Duration;

/// Limits of a store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// The maximum number of connections of this process. `SQLite` has one.
    pub connections: u32,
    /// The longest that one call may take, including waits and retries.
    pub timeout: Duration,
    /// The approximate number of rows that one step of work on a whole table handles.
    pub step_rows: u64,
    /// The maximum number of rows of a table on which [`Store::prepare`](crate::Store::prepare) creates indexes.
    pub small_table_rows: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            connections: 2,
            timeout: Duration::from_mins(1),
            step_rows: 20_000,
            small_table_rows: 100_000,
        }
    }
}
