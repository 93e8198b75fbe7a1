use anyhow::Result;
use landfall_setup::mongodb::find_or_build;
use landfall_setup::processes::Process;
use landfall_setup::progress::Progress;

use crate::run::RunDirectory;
use crate::{mariadb, mongodb, postgres};

/// One database of each kind that runs as a server. Dropping this stops them.
#[derive(Debug)]
pub struct Databases {
    mongodb_uri: String,
    mysql_url: String,
    postgres_url: String,
    // Dropped before the data directory.
    _processes: [Process; 3],
    _run: RunDirectory,
}

impl Databases {
    /// Starts an empty `MongoDB`, `MariaDB` and `PostgreSQL`.
    pub async fn start(progress: &dyn Progress) -> Result<Self> {
        let run = RunDirectory::new()?;
        let data = run.subdirectory("data")?;
        let logs = run.subdirectory("logs")?;
        let sockets = run.subdirectory("sockets")?;
        let server = find_or_build(progress).await?;
        progress.step("starting the databases");
        let (mongodb, mongodb_uri) =
            mongodb::start(&server, &data.join("mongodb"), &logs.join("mongodb.log")).await?;
        let (postgres, postgres_url) =
            postgres::start(&data.join("postgres"), &logs.join("postgres.log")).await?;
        let (mysql, mysql_url) =
            mariadb::start(&data.join("mariadb"), &sockets, &logs.join("mariadb.log")).await?;
        Ok(Self {
            mongodb_uri,
            mysql_url,
            postgres_url,
            _processes: [mongodb, postgres, mysql],
            _run: run,
        })
    }

    /// Sets the variables through which the conformance tests of the stores find the databases, and which make them
    /// fail rather than skip a database.
    pub fn set_variables(&self, tests: &mut std::process::Command) {
        tests
            .env("LANDFALL_REQUIRE_DATABASES", "1")
            .env("LANDFALL_TEST_MONGODB_URI", &self.mongodb_uri)
            .env("LANDFALL_TEST_MYSQL_URL", &self.mysql_url)
            .env("LANDFALL_TEST_POSTGRES_URL", &self.postgres_url);
    }
}
