//! The temporary directory of one run.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

const PREFIX: &str = "landfall-run-";
const LOCK: &str = "lock";

/// The directory of a run's logs and, unless kept elsewhere, its data. Removed when dropped.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    directory: tempfile::TempDir,
    remover: Child,
    _lock: File,
}

impl RunDirectory {
    pub(crate) fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            // A database server that runs as another user must reach its own directory in here.
            .permissions(Permissions::from_mode(0o711))
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a directory in {}", parent.display()))?;
        // Renamed once locked, so that a concurrent sweep never finds it unlocked.
        let unnamed = directory.path().join("lock.new");
        let lock = File::create(&unnamed)?;
        lock.try_lock()?;
        fs::rename(&unnamed, directory.path().join(LOCK))?;
        let remover = remover(directory.path())?;
        Ok(Self {
            directory,
            remover,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns a subdirectory, and creates it if missing.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // It may have exited already. The directory is removed by its own drop.
        let _ = self.remover.kill();
        let _ = self.remover.wait();
    }
}

/// Starts a process that removes the directory when this one is killed, which closes the pipe between them.
fn remover(directory: &Path) -> Result<Child> {
    Command::new("sh")
        // The servers are stopped within a second.
        .args(["-c", "cat >/dev/null; sleep 1.2; rm -rf \"$1\"", "sh"])
        .arg(directory)
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run sh")
}

/// Removes the directories of runs that were killed together with their remover.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            // Fails for another user's directory, which may stay.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
