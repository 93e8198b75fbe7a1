//! The files to ingest, and their keys in the inbox.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use landfall_cli::infer::{self, infer_file};
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

/// A definition that was inferred from a file.
#[derive(Debug)]
pub(crate) struct Inferred {
    /// The definition, in TOML.
    pub(crate) toml: String,
    /// The definition, parsed.
    pub(crate) dataset: Dataset,
}

/// Returns the files that the arguments name, and the definitions of their datasets that have none. Such a definition
/// is inferred from the first file of the dataset.
pub(crate) fn sources(
    arguments: &Arguments,
    datasets: &[Dataset],
) -> Result<(Vec<Source>, Vec<Inferred>)> {
    let mut used = HashSet::new();
    let mut sources = Vec::with_capacity(arguments.files.len());
    let mut inferred: Vec<Inferred> = Vec::new();
    for file in &arguments.files {
        ensure!(file.path.is_file(), "{} is not a file", file.path.display());
        let name = file
            .path
            .file_name()
            .and_then(|name| name.to_str())
            .with_context(|| format!("the name of {} is not UTF-8", file.path.display()))?;
        let dataset = dataset_name(file, datasets)?;
        let mut known = datasets
            .iter()
            .chain(inferred.iter().map(|one| &one.dataset));
        if !known.any(|known| known.name == dataset) {
            let suggestion = infer_file(&file.path, Some(&dataset))?;
            inferred.push(Inferred {
                toml: suggestion.definition,
                dataset: suggestion.dataset,
            });
        }
        sources.push(Source {
            key: unique_key(&dataset, name, &mut used),
            path: file.path.clone(),
        });
    }
    Ok((sources, inferred))
}

/// Returns the given dataset, else a known one named like the file, else a known one named like its directory, else one
/// with the name of the file.
fn dataset_name(file: &FileArgument, datasets: &[Dataset]) -> Result<String> {
    if let Some(given) = &file.dataset {
        return Ok(given.clone());
    }
    let known = |name: &str| datasets.iter().any(|dataset| dataset.name == name);
    let path = std::path::absolute(&file.path)?;
    let directory = path.parent().and_then(Path::file_name);
    let directory = || directory.and_then(OsStr::to_str).map(str::to_owned);
    let stem = infer::stem(&path).filter(|name| known(name));
    let found = stem.or_else(|| directory().filter(|name| known(name)));
    Ok(found.unwrap_or_else(|| infer::dataset_name(&path)))
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
        dataset_name(&argument.parse().unwrap(), &datasets())
    }

    #[test]
    fn a_given_dataset_wins_over_the_name_and_the_directory_of_the_file() {
        assert_eq!(dataset("orders=/x/products.csv").unwrap(), "orders");
        assert_eq!(dataset("/orders/products.csv").unwrap(), "products");
        assert_eq!(dataset("/x/orders/2026-11.csv").unwrap(), "orders");
    }

    #[test]
    fn an_unknown_dataset_has_the_name_that_is_given_or_that_of_the_file() {
        assert_eq!(dataset("returns=/orders/a.csv").unwrap(), "returns");
        assert_eq!(dataset("/x/My returns.csv").unwrap(), "my_returns");
        assert_eq!(dataset("/x/returns.csv.gz").unwrap(), "returns");
        assert_eq!(dataset("/x/orders.csv.zst").unwrap(), "orders");
    }

    #[test]
    fn the_first_file_of_an_unknown_dataset_defines_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str, content: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let (first, second) = (path("a.csv", "id,n\n1,2\n"), path("b.csv", "id,n\n2,x\n"));
        let orders = path("orders.csv", "id\n1\n");
        let arguments = ["cargo local", "--file", &format!("sales={first}"), "--file"];
        let more = [&*format!("sales={second}"), "--file", &orders];
        let arguments = <Arguments as clap::Parser>::parse_from(arguments.into_iter().chain(more));
        let (sources, inferred) = sources(&arguments, &datasets()).unwrap();
        let keys: Vec<_> = sources.iter().map(|source| source.key.as_str()).collect();
        assert_eq!(keys, ["sales/a.csv", "sales/b.csv", "orders/orders.csv"]);
        let [sales] = &inferred[..] else {
            panic!("{inferred:?}");
        };
        assert_eq!(sales.dataset.name, "sales");
        assert!(sales.toml.contains("type = \"integer\""), "{}", sales.toml);
    }

    #[test]
    fn files_with_equal_names_get_different_keys() {
        let mut used = HashSet::new();
        let keys = [(); 3].map(|()| unique_key("orders", "a.csv", &mut used));
        assert_eq!(keys, ["orders/a.csv", "orders/2/a.csv", "orders/3/a.csv"]);
    }
}
