//! Errors of `SQLite`, reduced to what may be logged.

use landfall_domain::StoreKind;
use rusqlite::ErrorCode;

use crate::StoreError;
use crate::sql_error::without_values;

const STORE: StoreKind = StoreKind::Sqlite;

/// An error within a transaction; `?` sorts those of `SQLite`.
pub(super) struct Failure(StoreError);

/// What goes on within a transaction.
pub(super) type Result<T> = std::result::Result<T, Failure>;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

pub(super) fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable {
        store: STORE,
        reason: reason.to_owned(),
    }
}

pub(super) fn refused(reason: &str) -> StoreError {
    StoreError::Refused {
        store: STORE,
        reason: reason.to_owned(),
    }
}

pub(super) fn misfit(table: &str, reason: &str) -> StoreError {
    StoreError::Schema {
        store: STORE,
        table: table.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Sorts an error by its code; messages of `SQLite` may quote.
impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(failure, message) = error else {
            return Self(unavailable(match error {
                rusqlite::Error::SqlInputError { .. } => "the table is not as it was prepared",
                _ => "the answer could not be understood",
            }));
        };
        let reason = format!("{} {:?}", failure.extended_code, failure.code);
        Self(match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Contended {
                store: STORE,
                reason,
            },
            ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig
            | ErrorCode::NotADatabase
            | ErrorCode::ParameterOutOfRange => refused(&reason),
            ErrorCode::OperationInterrupted => StoreError::Exceeded {
                store: STORE,
                reason: "the time of a statement is over".to_owned(),
            },
            // Also what `SQLite` says of a table or column that is gone.
            ErrorCode::Unknown => unavailable(&format!(
                "{reason} {}",
                without_values(message.as_deref().unwrap_or_default())
            )),
            _ => unavailable(&reason),
        })
    }
}
