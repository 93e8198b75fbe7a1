//! Checks of definitions of datasets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use landfall_cli::definition_files;
use landfall_cli::infer::stem;
use landfall_destinations::Webhook;
use landfall_domain::{Dataset, StoreKind};
use landfall_stores::check_row_size;

/// An SQL database that tables are checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sql {
    Postgres,
    /// MySQL or MariaDB
    Mysql,
    Sqlite,
}

impl Sql {
    fn store(self) -> StoreKind {
        match self {
            Self::Postgres => StoreKind::Postgres,
            Self::Mysql => StoreKind::Mysql,
            Self::Sqlite => StoreKind::Sqlite,
        }
    }
}

/// Checks that tables of the dataset hold every row in these databases. Returns the first refusal.
fn check_tables(dataset: &Dataset, sql: &[Sql]) -> Result<(), String> {
    for sql in sql {
        check_row_size(dataset, sql.store()).map_err(|error| {
            format!("{error}; or name the database that you use, for example with --sql sqlite")
        })?;
    }
    Ok(())
}

/// Checks definitions: files, and all `.toml` files of directories. Returns the dataset of each, or a line with the
/// file, line, field and message of its error. `sql` are the databases that must hold its rows.
pub(crate) fn check(paths: &[PathBuf], sql: &[Sql]) -> Result<Vec<Result<Dataset, String>>> {
    let mut checked = Vec::new();
    for (file, text) in read_definitions(paths)? {
        let shown = file.display();
        checked.push(match Dataset::from_toml(&shown.to_string(), &text) {
            Err(error) => Err(error.to_string()),
            // The functions find a definition by the name of its dataset.
            Ok(dataset) if file.file_stem().is_none_or(|stem| *stem != *dataset.name) => {
                let name = &dataset.name;
                Err(format!(
                    "{shown}:1: name: the dataset is named {name:?}, so the file must be named {name}.toml"
                ))
            }
            Ok(dataset) => check_tables(&dataset, sql)
                .map_err(|error| format!("{shown}: {error}"))
                .and_then(|()| check_webhooks(&shown.to_string(), &text))
                .map(|()| dataset),
        });
    }
    Ok(checked)
}

/// Checks the webhooks in the definition of a dataset.
fn check_webhooks(file: &str, text: &str) -> Result<(), String> {
    let webhooks = Webhook::of_dataset(file, text);
    webhooks.map(drop).map_err(|error| error.to_string())
}

/// Reads files, and all `.toml` files of directories.
pub(crate) fn read_definitions(paths: &[PathBuf]) -> Result<Vec<(PathBuf, String)>> {
    let mut read = Vec::new();
    for path in paths {
        let files = if path.is_dir() {
            definition_files(path)?
        } else {
            vec![path.clone()]
        };
        for file in files {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            read.push((file, text));
        }
    }
    Ok(read)
}

/// Reads the definition of a dataset in a directory.
pub(crate) fn read_dataset(directory: &Path, name: &str) -> Result<Dataset, String> {
    let file = directory.join(format!("{name}.toml"));
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(&file)
        .map_err(|error| format!("cannot read its dataset {shown}: {error}"))?;
    Dataset::from_toml(&shown, &text).map_err(|error| error.to_string())
}

/// Prints lines to standard output and errors to standard error, and returns whether there are errors.
pub(crate) fn print_lines(lines: Vec<Result<String, String>>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for line in lines {
        match line {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("{error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// Returns the dataset to check a file against: the only one, else the one named like the file or its directory.
pub(crate) fn dataset_of<'a>(file: &Path, datasets: &'a [Dataset]) -> Result<&'a Dataset> {
    if let [only] = datasets {
        return Ok(only);
    }
    let path = std::path::absolute(file)?;
    let directory = path.parent().and_then(Path::file_name);
    let directory = directory.map(|name| name.to_string_lossy().into_owned());
    let names = [stem(&path), directory].into_iter().flatten();
    let mut found = names.filter_map(|name| datasets.iter().find(|dataset| *dataset.name == *name));
    found.next().with_context(|| {
        let file = file.display();
        format!("cannot tell the dataset of {file}; pass its definition alone, and check that it has no error")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_only_dataset_or_to_that_of_its_name_or_directory() {
        let dataset = |name: &str| {
            let field = "{ name = \"id\", type = \"text\" }";
            let toml = format!("name = \"{name}\"\nkey = [\"id\"]\nfields = [{field}]");
            Dataset::from_toml("test", &toml).unwrap()
        };
        let datasets = [dataset("orders"), dataset("products")];
        for (file, datasets, expected) in [
            ("/x/a.csv", &datasets[..1], Some("orders")),
            ("/orders/products.csv", &datasets, Some("products")),
            ("/x/orders.csv.gz", &datasets, Some("orders")),
            ("/orders/a.csv", &datasets, Some("orders")),
            ("/x/a.csv", &datasets, None),
        ] {
            let found = dataset_of(Path::new(file), datasets).ok();
            assert_eq!(
                found.map(|dataset| dataset.name.as_str()),
                expected,
                "{file}"
            );
        }
    }
}
