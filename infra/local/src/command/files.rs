//! Which files are dropped, and under which keys.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use landfall_cli::seed;
use landfall_domain::Dataset;

use super::arguments::{Arguments, FileArgument};

/// The same made-up rows in every call.
const SEED: u64 = 1;

/// A file to drop.
#[derive(Debug)]
pub(crate) struct Source {
    /// Key that it gets in the inbox.
    pub(crate) key: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// The definitions that the stack will have; an error in one is told before anything starts.
pub(crate) fn definitions(directories: &[PathBuf]) -> Result<Vec<Dataset>> {
    landfall_local::definitions(directories)?
        .iter()
        .map(|definition| {
            let file = definition.path.to_string_lossy();
            let dataset = Dataset::from_toml(&file, &definition.toml)?;
            ensure!(
                dataset.name == definition.name,
                "{file} defines {:?}; the file must have the dataset's name",
                dataset.name
            );
            Ok(dataset)
        })
        .collect()
}

/// The files that a call names.
pub(crate) fn sources(arguments: &Arguments, datasets: &[Dataset]) -> Result<Vec<Source>> {
    let mut taken = HashSet::new();
    arguments
        .files
        .iter()
        .map(|file| {
            ensure!(file.path.is_file(), "{} is not a file", file.path.display());
            let name = file
                .path
                .file_name()
                .and_then(|name| name.to_str())
                .with_context(|| format!("{} has no name in UTF-8", file.path.display()))?;
            let dataset = dataset_of(file, datasets)?;
            Ok(Source {
                key: free_key(dataset, name, &mut taken),
                path: file.path.clone(),
            })
        })
        .collect()
}

/// The dataset that was given, else the one of the file's stem, else the one of its directory.
fn dataset_of<'a>(file: &FileArgument, datasets: &'a [Dataset]) -> Result<&'a str> {
    let known = |name: &str| {
        datasets
            .iter()
            .find(|dataset| dataset.name == name)
            .map(|dataset| dataset.name.as_str())
    };
    let found = if let Some(given) = &file.dataset {
        known(given)
    } else {
        let path = std::path::absolute(&file.path)?;
        let text =
            |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).and_then(known);
        text(path.file_stem()).or_else(|| text(path.parent().and_then(Path::file_name)))
    };
    let Some(found) = found else {
        let names: Vec<_> = datasets
            .iter()
            .map(|dataset| dataset.name.as_str())
            .collect();
        let names = names.join(", ");
        match &file.dataset {
            Some(given) => bail!("no dataset {given:?}; there are: {names}"),
            None => bail!(
                "neither name nor directory of {} is that of a dataset; say --file DATASET={} with one of: {names}",
                file.path.display(),
                file.path.display()
            ),
        }
    };
    Ok(found)
}

/// A key of its own for each file, also where names are equal.
fn free_key(dataset: &str, name: &str, taken: &mut HashSet<String>) -> String {
    let mut key = format!("{dataset}/{name}");
    let mut number = 2;
    while !taken.insert(key.clone()) {
        key = format!("{dataset}/{number}/{name}");
        number += 1;
    }
    key
}

/// A file of made-up products in `directory`; the same for the same number of rows.
pub(crate) fn sample(rows: u64, directory: &Path) -> Result<Source> {
    let path = directory.join("sample.csv");
    let cannot = || format!("cannot write {}", path.display());
    let file = File::create(&path).with_context(cannot)?;
    seed::write(seed::Kind::Products, rows, SEED, BufWriter::new(file)).with_context(cannot)?;
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
        dataset_of(&argument.parse().unwrap(), &datasets()).map(str::to_owned)
    }

    #[test]
    fn a_file_goes_to_the_dataset_that_was_given_or_that_it_names() {
        assert_eq!(dataset("orders=/x/products.csv").unwrap(), "orders");
        assert_eq!(dataset("/orders/products.csv").unwrap(), "products");
        assert_eq!(dataset("/x/orders/2026-11.csv").unwrap(), "orders");
    }

    #[test]
    fn an_unknown_dataset_is_told_with_the_known_ones() {
        for argument in ["/x/2026-11.csv", "returns=/orders/a.csv"] {
            let error = dataset(argument).unwrap_err().to_string();
            assert!(error.contains("orders, products"), "{error}");
        }
    }

    #[test]
    fn equal_names_get_keys_of_their_own() {
        let mut taken = HashSet::new();
        let keys = [(); 3].map(|()| free_key("orders", "a.csv", &mut taken));
        assert_eq!(keys, ["orders/a.csv", "orders/2/a.csv", "orders/3/a.csv"]);
    }
}
