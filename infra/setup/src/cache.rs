//! The machine-wide cache of things that take long to build. All clones share it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::progress::Progress;

const COMPLETE: &str = ".complete";

/// Returns `$LANDFALL_CACHE`, else `$XDG_CACHE_HOME/landfall`, else `~/.cache/landfall`, and creates it.
pub(crate) fn directory() -> Result<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let directory = if let Some(own) = variable("LANDFALL_CACHE") {
        std::path::absolute(own)?
    } else if let Some(cache) = variable("XDG_CACHE_HOME") {
        cache.join("landfall")
    } else if let Some(home) = std::env::home_dir() {
        home.join(".cache/landfall")
    } else {
        bail!("no home directory; set LANDFALL_CACHE to a cache directory");
    };
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create the cache directory {}", directory.display()))?;
    Ok(directory)
}

/// Fills `directory` with `build`, unless it is complete. Concurrent runs build it once, and an interrupted build
/// starts over.
///
/// The build happens in place, because the scripts of a Python environment contain its path. A marker file,
/// written last, shows that the directory is complete.
pub(crate) async fn build_once<F>(
    directory: &Path,
    what: &str,
    progress: &dyn Progress,
    build: F,
) -> Result<()>
where
    F: AsyncFnOnce() -> Result<()>,
{
    if is_complete(directory) {
        return Ok(());
    }
    let _lock = lock(&directory.with_added_extension("lock"), what, progress).await?;
    if is_complete(directory) {
        return Ok(());
    }
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| {
            format!(
                "cannot remove the incomplete directory {}",
                directory.display()
            )
        })?;
    }
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    build().await?;
    fs::write(directory.join(COMPLETE), b"")
        .with_context(|| format!("cannot write to {}", directory.display()))
}

/// Whether an earlier build of `directory` finished.
pub(crate) fn is_complete(directory: &Path) -> bool {
    directory.join(COMPLETE).exists()
}

async fn lock(path: &Path, what: &str, progress: &dyn Progress) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                progress.step(&format!("waiting for another run to build {what}"));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}
