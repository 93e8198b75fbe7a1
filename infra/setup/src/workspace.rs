//! Directories of the workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Returns the root of the workspace that this crate was built from.
pub fn workspace() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root
        .canonicalize()
        .with_context(|| format!("the sources are no longer in {}", root.display()))?;
    ensure!(
        root.join("infra/template.yaml").is_file(),
        "{} has no infra/template.yaml",
        root.display()
    );
    Ok(root)
}

/// Returns cargo's target directory.
pub fn target_directory() -> Result<PathBuf> {
    let workspace = workspace()?;
    Ok(std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || workspace.join("target"),
        |directory| workspace.join(directory),
    ))
}
