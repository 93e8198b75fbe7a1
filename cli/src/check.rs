use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use landfall_domain::Dataset;

/// Definitions of datasets, and what is wrong with those that have an error.
#[derive(Debug, Default)]
pub struct Definitions {
    /// Those that can be used, with their texts.
    pub valid: Vec<(Dataset, String)>,
    /// One line for each error: file, line, field, what is wrong.
    pub errors: Vec<String>,
}

/// Reads definitions: files, and all `.toml` files of directories.
pub fn check(paths: &[PathBuf]) -> Result<Definitions> {
    let mut definitions = Definitions::default();
    for path in paths {
        let mut files = Vec::new();
        if path.is_dir() {
            let entries = std::fs::read_dir(path).with_context(|| cannot_read(path))?;
            for entry in entries {
                let file = entry.with_context(|| cannot_read(path))?.path();
                if file
                    .extension()
                    .is_some_and(|extension| extension == "toml")
                {
                    files.push(file);
                }
            }
            files.sort();
        } else {
            files.push(path.clone());
        }
        for file in files {
            let text = std::fs::read_to_string(&file).with_context(|| cannot_read(&file))?;
            definitions.add(&file, text);
        }
    }
    Ok(definitions)
}

impl Definitions {
    fn add(&mut self, file: &Path, text: String) {
        let shown = file.display().to_string();
        match Dataset::from_toml(&shown, &text) {
            Err(error) => self.errors.push(error.to_string()),
            // The functions look for a dataset under its name.
            Ok(dataset) if file.file_stem().is_none_or(|stem| *stem != *dataset.name) => {
                let name = &dataset.name;
                self.errors.push(format!(
                    "{shown}:1: name: is {name:?}, so the file must be {name}.toml"
                ));
            }
            Ok(dataset) => self.valid.push((dataset, text)),
        }
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}
