//! What other crates use of the command line: sample data, inferred definitions, the places of definitions, and a
//! client of the HTTP API.

pub mod api;
mod content;
pub mod infer;
pub mod seed;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Returns the definitions in a directory, which are its `.toml` files, sorted by name.
pub fn definition_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read {}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(context)? {
        files.push(entry.with_context(context)?.path());
    }
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort();
    Ok(files)
}
