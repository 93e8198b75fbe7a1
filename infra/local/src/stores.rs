//! The databases of a stack.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use landfall_setup::mongodb::find_or_build;
use landfall_setup::processes::Process;
use landfall_setup::progress::Progress;

use crate::options::{Sql, Stores};
use crate::run::RunDirectory;
use crate::servers::free_port;
use crate::{mariadb, mongodb, postgres};

/// Where the data and the logs of the databases are.
pub(crate) struct Directories<'a> {
    pub(crate) run: &'a RunDirectory,
    pub(crate) data: &'a Path,
    pub(crate) logs: &'a Path,
}

/// The addresses of the databases, which are empty if there are none, and the servers that were started for them.
pub(crate) struct StartedStores {
    pub(crate) mongodb_uri: String,
    pub(crate) sql_url: String,
    pub(crate) servers: Vec<Process>,
}

/// Starts both databases at the same time.
pub(crate) async fn start(
    stores: Stores,
    mongodb: Option<String>,
    sql: Sql,
    directories: &Directories<'_>,
    progress: &dyn Progress,
) -> Result<StartedStores> {
    let mongodb = async {
        match mongodb {
            _ if stores == Stores::Sql => Ok((None, String::new())),
            Some(uri) => Ok((None, uri)),
            None => start_mongodb(directories, progress).await,
        }
    };
    let sql = async {
        match sql {
            _ if stores == Stores::Mongodb => Ok((None, String::new())),
            Sql::Url(url) => Ok((None, url)),
            Sql::Sqlite => Ok((None, sqlite_url(&directories.data.join("landfall.sqlite"))?)),
            Sql::Postgres => start_postgres(directories).await,
            Sql::Mysql => start_mariadb(directories).await,
        }
    };
    let ((mongodb, mongodb_uri), (sql, sql_url)) = tokio::try_join!(mongodb, sql)?;
    Ok(StartedStores {
        mongodb_uri,
        sql_url,
        servers: sql.into_iter().chain(mongodb).collect(),
    })
}

type Started = (Option<Process>, String);

async fn start_mongodb(directories: &Directories<'_>, progress: &dyn Progress) -> Result<Started> {
    let server = find_or_build(progress).await?;
    progress.step("starting the databases");
    let (data, log) = directories.of("mongodb");
    let (process, uri) = mongodb::start(&server, &data, &log, free_port()?).await?;
    Ok((Some(process), uri))
}

async fn start_postgres(directories: &Directories<'_>) -> Result<Started> {
    let (data, log) = directories.of("postgres");
    let (process, url) = postgres::start(&data, &log, free_port()?).await?;
    Ok((Some(process), url))
}

async fn start_mariadb(directories: &Directories<'_>) -> Result<Started> {
    let sockets = directories.run.subdirectory("sockets")?;
    let (data, log) = directories.of("mariadb");
    let (process, url) = mariadb::start(&data, &sockets, &log, free_port()?).await?;
    Ok((Some(process), url))
}

impl Directories<'_> {
    /// Returns the directory for the data of a server, and its log.
    fn of(&self, server: &str) -> (PathBuf, PathBuf) {
        let log = self.logs.join(server).with_added_extension("log");
        (self.data.join(server), log)
    }
}

fn sqlite_url(path: &Path) -> Result<String> {
    let text = path.to_str().context("the data directory is not UTF-8")?;
    ensure!(
        !text.contains(|c: char| c.is_whitespace() || "\"\\?#%".contains(c)),
        "{text} contains characters that the URL of an SQLite file cannot hold; use another directory"
    );
    Ok(format!("sqlite://{text}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::sqlite_url;

    #[test]
    fn a_path_that_needs_escaping_in_a_url_is_refused() {
        assert_eq!(
            sqlite_url(Path::new("/a/b.sqlite")).unwrap(),
            "sqlite:///a/b.sqlite"
        );
        assert!(sqlite_url(Path::new("/a b/c.sqlite")).is_err());
        assert!(sqlite_url(Path::new("/a?b")).is_err());
    }
}
