//! The dataset definitions that a stack starts with.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use landfall_cli::definition_files;
use landfall_setup::workspace;

/// A dataset definition, not validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Name of the file, without its extension.
    pub name: String,
    /// Path of the file.
    pub path: PathBuf,
    /// Content of the file.
    pub toml: String,
}

/// Reads the definitions in `infra/datasets` and in `directories`, sorted by name. Later directories win.
pub fn definitions(directories: &[PathBuf]) -> Result<Vec<Definition>> {
    let mut found = BTreeMap::new();
    let own = workspace()?.join("infra/datasets");
    for directory in std::iter::once(&own).chain(directories) {
        for path in definition_files(directory)? {
            let name = path.file_stem().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("{} is not UTF-8", path.display()))?;
            let definition = Definition {
                name: name.to_owned(),
                toml: fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?,
                path,
            };
            found.insert(definition.name.clone(), definition);
        }
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::definitions;

    #[test]
    fn later_directories_win() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("products.toml"), "mine").unwrap();
        std::fs::write(directory.path().join("README.md"), "").unwrap();
        let found = definitions(&[directory.path().to_owned()]).unwrap();
        let mine: Vec<_> = found.iter().filter(|one| one.toml == "mine").collect();
        assert_eq!(mine.len(), 1);
        assert_eq!(mine[0].name, "products");
        assert!(found.iter().any(|one| one.name == "orders"));
        assert!(definitions(&[directory.path().join("nothing")]).is_err());
    }
}
