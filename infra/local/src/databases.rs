use std::time::Duration;

use anyhow::Result;

use crate::processes::Process;
use crate::progress::Progress;
use crate::run::RunDirectory;
use crate::{mariadb, mongodb, postgres};

/// One database of each kind that runs as a server. Dropping it stops them.
#[derive(Debug)]
pub struct Databases {
    mongodb_uri: String,
    mysql_url: String,
    postgres_url: String,
    // Dropped before their data.
    processes: Vec<Process>,
    _run: RunDirectory,
}

impl Databases {
    /// Starts a `MongoDB`, a `MariaDB` and a `PostgreSQL`, all empty.
    pub async fn start(progress: &dyn Progress) -> Result<Self> {
        let run = RunDirectory::new()?;
        let (data, logs, sockets) = (run.sub("data")?, run.sub("logs")?, run.sub("sockets")?);
        let server = mongodb::provide(progress).await?;
        progress.doing("starting the databases");
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
            processes: vec![mongodb, postgres, mysql],
            _run: run,
        })
    }

    /// Tells the tests of the stores where the databases are.
    pub fn give_to(&self, tests: &mut std::process::Command) {
        tests
            .env("LANDFALL_TEST_MONGODB_URI", &self.mongodb_uri)
            .env("LANDFALL_TEST_MYSQL_URL", &self.mysql_url)
            .env("LANDFALL_TEST_POSTGRES_URL", &self.postgres_url);
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.stop(Duration::from_secs(5));
        }
    }
}
