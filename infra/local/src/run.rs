//! The directory of one run, and the workspace that the run belongs to.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

const PREFIX: &str = "landfall-run-";
const LOCK: &str = "lock";

/// Where the logs and (unless kept elsewhere) the data of one run are. Removed when dropped.
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
            // A database server that runs as another user must get through to its own directory in here.
            .permissions(Permissions::from_mode(0o711))
            .tempdir_in(&parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))?;
        // Under its name the lock file is locked from the start, so that no sweep takes it for a dead run's.
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

    /// A directory in it, made when missing.
    pub(crate) fn sub(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // Gone already is as good; the directory is removed by its own drop.
        let _ = self.remover.kill();
        let _ = self.remover.wait();
    }
}

/// Removes the directory when this process is killed: its end of the pipe closes then.
fn remover(directory: &Path) -> Result<Child> {
    Command::new("sh")
        // The servers get a moment to end first.
        .args(["-c", "cat >/dev/null; sleep 2; rm -rf \"$1\"", "sh"])
        .arg(directory)
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run sh")
}

/// Removes what runs left behind that were killed together with their remover.
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
            // Another user's directory stays: the sweep is a courtesy.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The root of the workspace that this was built from.
pub fn workspace() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root
        .canonicalize()
        .with_context(|| format!("the sources have moved from {}", root.display()))?;
    ensure!(
        root.join("infra/template.yaml").is_file(),
        "{} has no infra/template.yaml",
        root.display()
    );
    Ok(root)
}
