//! The variables that the commands of the documentation need, in a file with a fixed name.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use landfall_local::{Stack, target_directory};

/// A file of environment variables, which is removed when dropped.
pub(crate) struct Variables(PathBuf);

impl Drop for Variables {
    fn drop(&mut self) {
        // The next demo replaces it.
        let _ = remove(&self.0);
    }
}

impl Variables {
    /// Writes the file.
    pub(super) async fn write(stack: &Stack) -> Result<Self> {
        let target = target_directory()?;
        let path = target.join("demo.env");
        let functions = std::fs::read_to_string(stack.write_environment().await?)?;
        let variables = Self(path);
        let written = write(&variables.0, stack, &functions, &target.join("debug"));
        written.with_context(|| format!("cannot write {}", variables.0.display()))?;
        Ok(variables)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write(path: &Path, stack: &Stack, functions: &str, programs: &Path) -> Result<()> {
    // It has a token, so only its owner may read it.
    remove(path)?;
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    for line in functions.lines() {
        writeln!(file, "export {line}")?;
    }
    let api = stack.outputs().api_url.trim_end_matches('/');
    let token = stack.token();
    for (name, value) in [
        ("API", api),
        ("TOKEN", token),
        ("LANDFALL_API_URL", api),
        ("LANDFALL_TOKEN", token),
    ] {
        writeln!(file, "export {name}=\"{value}\"")?;
    }
    writeln!(file, "export PATH=\"{}:$PATH\"", programs.display())?;
    Ok(())
}
