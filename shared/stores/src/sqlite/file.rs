//! Settings of files that writers and readers share.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Result, StoreError};

/// How long `SQLite` itself waits for writers other than Landfall's. Then the attempt is repeated.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the path of a URL. Fails unless it is absolute.
pub(super) fn absolute(path: &str) -> Result<PathBuf> {
    let path = PathBuf::from(path);
    if !path.is_absolute() {
        let message = "the SQLite URL must be sqlite:// and an absolute path";
        return Err(StoreError::Config(message.to_owned()));
    }
    Ok(path)
}
