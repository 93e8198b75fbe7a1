//! What can go wrong with a store, without values of rows or passwords.

use landfall_domain::{QueryError, StoreKind};

/// Why a store could not do what it was asked.
///
/// Messages and `Debug` hold codes and names of tables and columns, never values or credentials.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL or URI of a store can't be used.
    #[error("{0}")]
    Config(String),
    /// The database can't be reached, or is overloaded, or does not let us in.
    #[error("{store} is not available: {reason}")]
    Unavailable {
        /// Which.
        store: StoreKind,
        /// Code and kind of the error.
        reason: String,
    },
    /// Other writers were in the way, also after the retries.
    #[error("{store} is contended: {reason}")]
    Contended {
        /// Which.
        store: StoreKind,
        /// Code and kind of the error.
        reason: String,
    },
    /// The table or collection does not fit the definition.
    #[error("{store}, table {table}: {reason}")]
    Schema {
        /// Which.
        store: StoreKind,
        /// Name of the table or collection.
        table: String,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// The database refuses what it was given; the same again will be refused again.
    #[error("{store} refused: {reason}")]
    Refused {
        /// Which.
        store: StoreKind,
        /// Code and kind of the error.
        reason: String,
    },
    /// A question that the dataset does not allow; the message is for whoever asked.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A read took more time or memory than it may: the question has to be narrower, or the field it is about
    /// needs an index.
    #[error("{store} would need too much for this read: {reason}")]
    Exceeded {
        /// Which.
        store: StoreKind,
        /// What ran out.
        reason: String,
    },
}

impl StoreError {
    /// [`Self::Unavailable`] for this reason.
    pub(crate) fn unavailable(store: StoreKind, reason: impl Into<String>) -> Self {
        Self::Unavailable {
            store,
            reason: reason.into(),
        }
    }

    /// Whether the same call can succeed later without anyone changing rows, definition or table.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Contended { .. })
    }
}
