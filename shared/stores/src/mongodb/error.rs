//! Errors of the driver and the server, reduced to what may be logged: messages quote documents.

use landfall_domain::StoreKind;
use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::error::StoreError;

pub(super) const STORE: StoreKind = StoreKind::Mongodb;
const WRITE_CONFLICT: i32 = 112;
const DUPLICATE_KEY: i32 = 11000;
/// Bad value, failed to parse, type mismatch, overflow, invalid BSON, dollar-prefixed and dotted field
/// names, document validation failure, object or key too large.
const REFUSED: [i32; 10] = [2, 9, 14, 15, 22, 52, 57, 121, 10334, 17280];

/// Host unreachable or not found, network timeout, shutdown, interrupted by it, not the primary, no primary, not
/// authorized to connect, out of disk space.
const DOWN: [i32; 12] = [6, 7, 18, 89, 91, 133, 189, 9001, 10107, 11600, 13435, 14031];

/// Time limit exceeded, memory limit of a sort exceeded.
const BEYOND_BOUNDS: [i32; 2] = [50, 292];

pub(super) fn is_duplicate_key(code: i32) -> bool {
    code == DUPLICATE_KEY
}

pub(super) fn refused(reason: &str) -> StoreError {
    StoreError::refused(STORE, reason)
}

pub(super) fn unavailable(reason: &str) -> StoreError {
    StoreError::unavailable(STORE, reason)
}

fn down(reason: &str) -> StoreError {
    StoreError::down(STORE, reason)
}

pub(super) fn contended(reason: &str) -> StoreError {
    StoreError::contended(STORE, reason)
}

/// Classifies an error by the server's code; `what` names the operation.
pub(super) fn from_code(code: i32, what: &str) -> StoreError {
    let reason = format!("{code} {what}");
    match code {
        WRITE_CONFLICT | DUPLICATE_KEY => contended(&reason),
        code if REFUSED.contains(&code) => refused(&reason),
        code if DOWN.contains(&code) => down(&reason),
        _ => unavailable(&reason),
    }
}

/// Classifies an error of the driver that ended a read.
pub(super) fn from_read(error: Error) -> StoreError {
    match error.kind.as_ref() {
        ErrorKind::Command(command) if BEYOND_BOUNDS.contains(&command.code) => {
            StoreError::exceeded(STORE, format!("{} {}", command.code, command.code_name))
        }
        _ => error.into(),
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error.kind.as_ref() {
            ErrorKind::Command(command) => from_code(command.code, &command.code_name),
            ErrorKind::Write(WriteFailure::WriteError(write)) => {
                from_code(write.code, "write error")
            }
            ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => {
                unavailable(&format!("{} write concern", concern.code))
            }
            ErrorKind::Io(error) => down(&format!("I/O: {}", error.kind())),
            ErrorKind::ServerSelection { .. } => down("no server was found in time"),
            ErrorKind::Authentication { .. } => down("authentication failed"),
            ErrorKind::ConnectionPoolCleared { .. } => down("the connections were closed"),
            ErrorKind::DnsResolve { .. } => down("its name was not found"),
            ErrorKind::InvalidArgument { .. }
            | ErrorKind::BsonSerialization(_)
            | ErrorKind::Bson(_) => refused("the driver cannot encode the data"),
            _ => unavailable("the driver failed"),
        }
    }
}
