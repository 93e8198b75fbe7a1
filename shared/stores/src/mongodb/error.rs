//! Errors of the driver and the server, reduced to what may be logged: messages quote documents.

use landfall_domain::StoreKind;
use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::StoreError;

const STORE: StoreKind = StoreKind::Mongodb;
const WRITE_CONFLICT: i32 = 112;
const DUPLICATE_KEY: i32 = 11000;
/// Bad value, failed to parse, type mismatch, overflow, invalid BSON, dollar-prefixed and dotted field
/// names, document validation failure, object or key too large.
const REFUSED: [i32; 10] = [2, 9, 14, 15, 22, 52, 57, 121, 10334, 17280];

/// The time of a command is over, or a sort would take more memory than it may.
const BEYOND_BOUNDS: [i32; 2] = [50, 292];

pub(super) fn is_duplicate_key(code: i32) -> bool {
    code == DUPLICATE_KEY
}

pub(super) fn refused(reason: &str) -> StoreError {
    StoreError::Refused {
        store: STORE,
        reason: reason.to_owned(),
    }
}

pub(super) fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable {
        store: STORE,
        reason: reason.to_owned(),
    }
}

pub(super) fn contended(reason: &str) -> StoreError {
    StoreError::Contended {
        store: STORE,
        reason: reason.to_owned(),
    }
}

/// Sorts an error by the code that the server gave; `what` says what it was about.
pub(super) fn from_code(code: i32, what: &str) -> StoreError {
    let reason = format!("{code} {what}");
    match code {
        WRITE_CONFLICT | DUPLICATE_KEY => StoreError::Contended {
            store: STORE,
            reason,
        },
        code if REFUSED.contains(&code) => StoreError::Refused {
            store: STORE,
            reason,
        },
        _ => StoreError::Unavailable {
            store: STORE,
            reason,
        },
    }
}

/// Sorts an error of the driver that a read ended with.
pub(super) fn of_read(error: &Error) -> StoreError {
    match error.kind.as_ref() {
        ErrorKind::Command(command) if BEYOND_BOUNDS.contains(&command.code) => {
            StoreError::Exceeded {
                store: STORE,
                reason: format!("{} {}", command.code, command.code_name),
            }
        }
        _ => from_mongodb(error),
    }
}

/// Sorts an error of the driver.
pub(super) fn from_mongodb(error: &Error) -> StoreError {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => from_code(command.code, &command.code_name),
        ErrorKind::Write(WriteFailure::WriteError(write)) => from_code(write.code, "write error"),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => {
            unavailable(&format!("{} write concern", concern.code))
        }
        ErrorKind::Io(error) => unavailable(&format!("I/O: {}", error.kind())),
        ErrorKind::ServerSelection { .. } => unavailable("no server was found in time"),
        ErrorKind::Authentication { .. } => unavailable("authentication failed"),
        ErrorKind::ConnectionPoolCleared { .. } => unavailable("the connections were closed"),
        ErrorKind::DnsResolve { .. } => unavailable("its name was not found"),
        ErrorKind::InvalidArgument { .. }
        | ErrorKind::BsonSerialization(_)
        | ErrorKind::Bson(_) => refused("the driver can't encode this"),
        _ => unavailable("the driver failed"),
    }
}
