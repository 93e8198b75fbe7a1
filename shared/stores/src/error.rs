//! Errors of stores, without values of rows or passwords.

use landfall_domain::{QueryError, StoreKind};

/// The result of most functions of this crate.
pub(crate) type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a chunk fails whose rows lack words that its table has.
pub(crate) const SEARCH_CHANGED: &str = "the dataset has gained search";

/// Why a store call failed.
///
/// Messages and `Debug` contain codes and names of tables and columns, never values or credentials.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL or URI of a store is invalid.
    #[error("{0}")]
    Config(String),
    /// The database cannot be reached, refuses connections, or accepts no writes, whatever the call.
    #[error("{store} is down: {reason}")]
    Down {
        /// The store.
        store: StoreKind,
        /// Code and kind of the error.
        reason: String,
    },
    /// The database did not respond in time, is overloaded, or responded with something unexpected.
    #[error("{store} is not available: {reason}")]
    Unavailable {
        /// The store.
        store: StoreKind,
        /// Code and kind of the error.
        reason: String,
    },
    /// The table is being maintained, and the call had to wait for that too long.
    #[error("{store} maintains the table, which is not over yet: {reason}")]
    Maintained {
        /// The store.
        store: StoreKind,
        /// What the call failed with.
        reason: String,
    },
    /// Other writers interfered, even after the retries.
    #[error("{store} is contended: {reason}")]
    Contended {
        /// The store.
        store: StoreKind,
        /// Code and kind of the error.
        reason: String,
    },
    /// The table or collection does not fit the definition.
    #[error("{store}, table {table}: {reason}")]
    Schema {
        /// The store.
        store: StoreKind,
        /// Name of the table or collection.
        table: String,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// The table has more or wider columns, or the row more values, than the database can hold.
    #[error(
        "{store} cannot hold a row or table this wide ({reason}): give the dataset fewer fields, or divide them \
        among datasets"
    )]
    TooWide {
        /// The store.
        store: StoreKind,
        /// Code and kind of the error.
        reason: String,
    },
    /// The database refuses the data, and will refuse it again.
    #[error("{store} refused: {reason}")]
    Refused {
        /// The store.
        store: StoreKind,
        /// Code and kind of the error.
        reason: String,
    },
    /// The dataset does not allow the query. The message is for the client.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The totals are not built yet.
    #[error("the totals {0} are not built yet: try again later")]
    Building(String),
    /// The existing rows of a dataset that has gained search are not indexed yet.
    #[error("the rows of {0} are not indexed for search yet: try again later")]
    Indexing(String),
    /// No changes of the dataset are recorded for the destination.
    #[error(
        "{store} records no changes of {dataset} for {destination}: its definition may be new, or gone"
    )]
    Untracked {
        /// The store.
        store: StoreKind,
        /// Name of the dataset.
        dataset: String,
        /// Name of the destination.
        destination: String,
    },
    /// A read needs more time or memory than it may use. The query must be narrower, or its field needs an index.
    #[error("{store} would need too much for this read: {reason}")]
    Exceeded {
        /// The store.
        store: StoreKind,
        /// The exceeded limit.
        reason: String,
    },
}

impl StoreError {
    pub(crate) fn down(store: StoreKind, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Down { store, reason }
    }

    pub(crate) fn unavailable(store: StoreKind, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Unavailable { store, reason }
    }

    pub(crate) fn contended(store: StoreKind, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Contended { store, reason }
    }

    pub(crate) fn refused(store: StoreKind, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Refused { store, reason }
    }

    pub(crate) fn too_wide(store: StoreKind, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::TooWide { store, reason }
    }

    pub(crate) fn exceeded(store: StoreKind, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Exceeded { store, reason }
    }

    pub(crate) fn schema(store: StoreKind, table: &str, reason: impl Into<String>) -> Self {
        Self::Schema {
            store,
            table: table.to_owned(),
            reason: reason.into(),
        }
    }

    /// Returns whether the definition has to change, or the table.
    pub fn needs_other_definition(&self) -> bool {
        matches!(self, Self::Schema { .. } | Self::TooWide { .. })
    }

    /// Returns whether some of the rows are the reason, so that the call may succeed for the others.
    pub fn concerns_rows(&self) -> bool {
        matches!(self, Self::TooWide { .. } | Self::Refused { .. })
    }

    /// Returns whether the same call can succeed later with the same rows, definition and table.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Down { .. }
                | Self::Unavailable { .. }
                | Self::Maintained { .. }
                | Self::Contended { .. }
        )
    }
}
