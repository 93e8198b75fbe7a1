//! Errors of `SQLite`, reduced to what may be logged.

use landfall_domain::StoreKind;
use rusqlite::ErrorCode;

use crate::error::StoreError;
use crate::sql::error::without_values;

pub(super) const STORE: StoreKind = StoreKind::Sqlite;

pub(super) fn unavailable(reason: &str) -> StoreError {
    StoreError::unavailable(STORE, reason)
}

/// The thread of a transaction or read panicked, or the runtime is shutting down.
pub(super) fn cut_off() -> StoreError {
    unavailable("the operation stopped before it finished (panic or shutdown)")
}

pub(super) fn refused(reason: &str) -> StoreError {
    StoreError::refused(STORE, reason)
}

pub(super) fn mismatch(table: &str, reason: &str) -> StoreError {
    StoreError::schema(STORE, table, reason)
}

/// Classifies an error by its code; messages of `SQLite` may contain data.
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(failure, message) = error else {
            return unavailable(match error {
                rusqlite::Error::SqlInputError { .. } => {
                    "the table has changed since it was prepared"
                }
                _ => "the response could not be decoded",
            });
        };
        let reason = format!("{} {:?}", failure.extended_code, failure.code);
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                StoreError::contended(STORE, reason)
            }
            ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig
            | ErrorCode::NotADatabase
            | ErrorCode::ParameterOutOfRange => refused(&reason),
            ErrorCode::OperationInterrupted => {
                StoreError::exceeded(STORE, "the statement timed out")
            }
            ErrorCode::CannotOpen
            | ErrorCode::DiskFull
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure => StoreError::down(STORE, reason),
            // Includes missing tables and columns.
            ErrorCode::Unknown => unavailable(&format!(
                "{reason} {}",
                without_values(message.as_deref().unwrap_or_default())
            )),
            _ => unavailable(&reason),
        }
    }
}
