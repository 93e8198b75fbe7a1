//! The cache of everything that is made once for a machine. All clones share it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::progress::Progress;

const COMPLETE: &str = ".complete";

/// `$LANDFALL_CACHE`, else `$XDG_CACHE_HOME/landfall`, else `~/.cache/landfall`.
pub(crate) fn directory() -> Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let directory = if let Some(own) = set("LANDFALL_CACHE") {
        std::path::absolute(own)?
    } else if let Some(cache) = set("XDG_CACHE_HOME") {
        cache.join("landfall")
    } else if let Some(home) = std::env::home_dir() {
        home.join(".cache/landfall")
    } else {
        bail!("no home directory: set LANDFALL_CACHE to a directory for what is made once");
    };
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make the cache directory {}", directory.display()))?;
    Ok(directory)
}

/// Makes `directory` with `make` unless it is complete. Two runs at once make it once, and one that was
/// cut short is made again.
///
/// It is made in its place, because the scripts of a Python environment name its path; a marker that is
/// written last says that it is whole.
pub(crate) async fn make_once<F>(
    directory: &Path,
    what: &str,
    progress: &dyn Progress,
    make: F,
) -> Result<()>
where
    F: AsyncFnOnce() -> Result<()>,
{
    if directory.join(COMPLETE).exists() {
        return Ok(());
    }
    let _lock = lock(&directory.with_added_extension("lock"), what, progress).await?;
    if directory.join(COMPLETE).exists() {
        return Ok(());
    }
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove the unfinished {}", directory.display()))?;
    }
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    make().await?;
    fs::write(directory.join(COMPLETE), b"")
        .with_context(|| format!("cannot finish {}", directory.display()))
}

async fn lock(path: &Path, what: &str, progress: &dyn Progress) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                progress.doing(&format!("waiting for another run that makes {what}"));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}
