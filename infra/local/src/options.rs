//! What a stack consists of.

use std::path::PathBuf;
use std::time::Duration;

use landfall_setup::functions::Build;

/// The SQL database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sql {
    /// `SQLite`, in a file.
    #[default]
    Sqlite,
    /// A private `PostgreSQL` cluster, from the machine's own programs.
    Postgres,
    /// A private `MariaDB` server, from the machine's own programs.
    Mysql,
    /// An existing database: a `postgres://`, `mysql://` or `sqlite://` URL.
    Url(String),
}

impl std::str::FromStr for Sql {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" => Ok(Self::Postgres),
            "mysql" | "mariadb" => Ok(Self::Mysql),
            url if url.contains("://") => Ok(Self::Url(url.to_owned())),
            _ => Err(format!(
                "{text:?} is not a database: use sqlite, postgres, mysql or a URL"
            )),
        }
    }
}

/// The stores that rows are written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stores {
    /// `MongoDB` and SQL.
    #[default]
    Both,
    /// Only SQL.
    Sql,
    /// Only `MongoDB`.
    Mongodb,
}

/// The parts of a stack.
#[derive(Clone, Debug, Default)]
pub struct StackOptions {
    /// The stores. The options of the other one are ignored.
    pub stores: Stores,
    /// The SQL database.
    pub sql: Sql,
    /// URI of an existing `MongoDB`, with the database as its path. If absent, a server is started.
    pub mongodb: Option<String>,
    /// Directory for data that outlives the stack. If absent, all data is removed.
    pub keep: Option<PathBuf>,
    /// Directories of dataset definitions, in addition to `infra/datasets`. Later ones win.
    pub datasets: Vec<PathBuf>,
    /// Parameters of the template, by name.
    pub parameters: Vec<(String, String)>,
    /// How often the puller and the relay run. If absent, every minute, as on AWS.
    pub pull_every: Option<Duration>,
    /// How the functions are compiled.
    pub build: Build,
}

/// Returns the default number of concurrent workers: two per core, which they share with the databases. More would only
/// compete for the caches.
pub fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * cores).min(8)
}

#[cfg(test)]
mod tests {
    use super::Sql;

    #[test]
    fn an_sql_database_is_a_kind_or_a_url() {
        assert_eq!("mariadb".parse(), Ok(Sql::Mysql));
        let url = "postgres://u:p@h/d";
        assert_eq!(url.parse(), Ok(Sql::Url(url.to_owned())));
        assert!("oracle".parse::<Sql>().is_err());
    }
}
