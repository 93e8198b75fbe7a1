//! The files to ingest, and their keys in the inbox.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use landfall_cli::seed;
use landfall_domain::Dataset;

use super::arguments::{Arguments, FileArgument};

/// The sample file always has the same rows.
const SEED: u64 = 1;

/// A file to ingest.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its key in the inbox.
    pub(crate) key: String,
    /// Its path.
    pub(crate) path: PathBuf,
}

/// Parses the definitions that the stack will have, so that errors in them are found before anything starts.
pub(crate) fn definitions(directories: &[PathBuf]) -> Result<Vec<Dataset>> {
    landfall_local::definitions(directories)?
        .iter()
        .map(|definition| {
            let file = definition.path.to_string_lossy();
            let dataset = Dataset::from_toml(&file, &definition.toml)?;
            ensure!(
                dataset.name == definition.name,
                "{file} defines the dataset {:?}; file and dataset must have the same name",
                dataset.name
            );
            Ok(dataset)
        })
        .collect()
}

/// Returns the files that the arguments name.
pub(crate) fn sources(arguments: &Arguments, datasets: &[Dataset]) -> Result<Vec<Source>> {
    let mut used = HashSet::new();
    arguments
        .files
        .iter()
        .map(|file| {
            ensure!(file.path.is_file(), "{} is not a file", file.path.display());
            let name = file
                .path
                .file_name()
                .and_then(|name| name.to_str())
                .with_context(|| format!("the name of {} is not UTF-8", file.path.display()))?;
            let dataset = dataset_name(file, datasets)?;
            Ok(Source {
                key: unique_key(dataset, name, &mut used),
                path: file.path.clone(),
            })
        })
        .collect()
}

/// Returns the given dataset, else the one named like the file, else the one named like its directory.
fn dataset_name<'a>(file: &FileArgument, datasets: &'a [Dataset]) -> Result<&'a str> {
    let names = datasets.iter().map(|dataset| dataset.name.as_str());
    let known = |name: &str| names.clone().find(|known| *known == name);
    let of_part = |part: Option<&OsStr>| part.and_then(OsStr::to_str).and_then(known);
    let found = if let Some(given) = &file.dataset {
        known(given)
    } else {
        let path = std::path::absolute(&file.path)?;
        of_part(path.file_stem()).or_else(|| of_part(path.parent().and_then(Path::file_name)))
    };
    found.with_context(|| {
        let names = names.clone().collect::<Vec<_>>().join(", ");
        match &file.dataset {
            Some(given) => format!("unknown dataset {given:?}; the datasets are: {names}"),
            None => format!(
                "cannot tell the dataset of {path}; pass --file DATASET={path} with one of: {names}",
                path = file.path.display()
            ),
        }
    })
}

/// Returns a key that no other file uses, even if file names are equal.
fn unique_key(dataset: &str, name: &str, used: &mut HashSet<String>) -> String {
    let mut key = format!("{dataset}/{name}");
    let mut number = 2;
    while !used.insert(key.clone()) {
        key = format!("{dataset}/{number}/{name}");
        number += 1;
    }
    key
}

/// Writes the sample file to `directory`. Its content depends only on the number of rows.
pub(crate) fn sample(rows: u64, directory: &Path) -> Result<Source> {
    let path = directory.join("sample.csv");
    let context = || format!("cannot write {}", path.display());
    let file = File::create(&path).with_context(context)?;
    seed::write(seed::Kind::Products, rows, SEED, BufWriter::new(file)).with_context(context)?;
    Ok(Source {
        key: "products/sample.csv".to_owned(),
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datasets() -> Vec<Dataset> {
        ["orders", "products"]
            .map(|name| {
                let toml = format!(
                    "name = \"{name}\"\nkey = [\"id\"]\n[[fields]]\nname = \"id\"\ntype = \"text\"\n"
                );
                Dataset::from_toml("test", &toml).unwrap()
            })
            .into()
    }

    fn dataset(argument: &str) -> Result<String> {
        dataset_name(&argument.parse().unwrap(), &datasets()).map(str::to_owned)
    }

    #[test]
    fn a_given_dataset_wins_over_the_name_and_the_directory_of_the_file() {
        assert_eq!(dataset("orders=/x/products.csv").unwrap(), "orders");
        assert_eq!(dataset("/orders/products.csv").unwrap(), "products");
        assert_eq!(dataset("/x/orders/2026-11.csv").unwrap(), "orders");
    }

    #[test]
    fn the_error_for_an_unknown_dataset_lists_the_known_ones() {
        for argument in ["/x/2026-11.csv", "returns=/orders/a.csv"] {
            let error = dataset(argument).unwrap_err().to_string();
            assert!(error.contains("orders, products"), "{error}");
        }
    }

    #[test]
    fn files_with_equal_names_get_different_keys() {
        let mut used = HashSet::new();
        let keys = [(); 3].map(|()| unique_key("orders", "a.csv", &mut used));
        assert_eq!(keys, ["orders/a.csv", "orders/2/a.csv", "orders/3/a.csv"]);
    }
}
