use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;
use landfall_domain::is_name;
use landfall_local::{Sql, StackOptions};

use super::demo::Demo;

/// Starts the whole stack on this machine, ingests files, and shows their rows in the databases.
#[derive(Debug, Parser)]
#[command(name = "cargo local", bin_name = "cargo local", version)]
pub(crate) struct Arguments {
    /// Exit when the jobs of these files have closed: with 0 if all succeeded, else with 2.
    #[arg(long)]
    pub(crate) once: bool,
    /// Print a JSON document about the jobs on standard output. Everything else goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// A file to ingest. Its dataset defaults to the one that the name of the file or its directory matches. If there
    /// is none, its definition is inferred from the file.
    /// Without this option, a sample file of products is ingested.
    #[arg(long = "file", value_name = "[DATASET=]PATH")]
    pub(crate) files: Vec<FileArgument>,
    /// Show a part of Landfall instead of ingesting a file.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["files", "once", "json"])]
    pub(crate) demo: Option<Demo>,
    /// A directory of dataset definitions, in addition to infra/datasets.
    #[arg(long, value_name = "DIR")]
    pub(crate) datasets: Vec<PathBuf>,
    /// The SQL database: sqlite, postgres or mysql to start one, or the URL of a running one.
    #[arg(long, default_value = "sqlite", value_name = "KIND|URL")]
    pub(crate) sql: Sql,
    /// The URI of a running MongoDB, with the database as its path. Without this option, one is started.
    #[arg(long, value_name = "URI")]
    pub(crate) mongodb: Option<String>,
    /// Rows of the sample file, by default 100,000, or orders of `--demo orders`, by default 10,000.
    #[arg(long, value_name = "N", conflicts_with = "files")]
    pub(crate) rows: Option<u64>,
    /// Keep all data in this directory, and continue with it next time.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn stack_options(&self) -> Result<StackOptions> {
        let mut options = StackOptions {
            sql: self.sql.clone(),
            mongodb: self.mongodb.clone(),
            keep: self.keep.clone(),
            datasets: self.datasets.clone(),
            ..StackOptions::default()
        };
        if let Some(demo) = self.demo {
            ensure!(
                demo == Demo::Orders || self.rows.is_none(),
                "--rows has no meaning for this demo"
            );
            demo.configure(&mut options)?;
        }
        Ok(options)
    }
}

/// `PATH` or `DATASET=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileArgument {
    pub(crate) dataset: Option<String>,
    pub(crate) path: PathBuf,
}

impl std::str::FromStr for FileArgument {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (dataset, path) = match text.split_once('=') {
            Some((dataset, path)) if is_name(dataset) => (Some(dataset.to_owned()), path),
            _ => (None, text),
        };
        let path = path.into();
        Ok(Self { dataset, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dataset_precedes_the_first_equals_sign() {
        let parsed: FileArgument = "orders=/data/a=b.csv".parse().unwrap();
        assert_eq!(parsed.dataset.as_deref(), Some("orders"));
        assert_eq!(parsed.path, PathBuf::from("/data/a=b.csv"));
        let parsed: FileArgument = "./a=b.csv".parse().unwrap();
        assert_eq!(parsed.dataset, None);
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
