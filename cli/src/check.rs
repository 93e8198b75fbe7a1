use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use landfall_domain::Dataset;

/// Definitions of datasets, and the errors of invalid ones.
#[derive(Debug, Default)]
pub struct Definitions {
    /// The valid definitions, with their texts.
    pub valid: Vec<(Dataset, String)>,
    /// One line for each invalid definition: file, line, field, message.
    pub errors: Vec<String>,
}

/// Checks definitions: files, and all `.toml` files of directories.
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
            // The functions find a definition by the name of its dataset.
            Ok(dataset) if file.file_stem().is_none_or(|stem| *stem != *dataset.name) => {
                let name = &dataset.name;
                self.errors.push(format!(
                    "{shown}:1: name: the dataset is named {name:?}, so the file must be named {name}.toml"
                ));
            }
            Ok(dataset) => self.valid.push((dataset, text)),
        }
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}
