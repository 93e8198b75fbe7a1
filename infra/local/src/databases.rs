use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use landfall_setup::mongodb::{Server, find_or_build};
use landfall_setup::processes::Process;
use landfall_setup::progress::Progress;
use rustix::process::Signal;

use crate::run::RunDirectory;
use crate::servers::free_port;
use crate::{mariadb, mongodb, postgres};

/// The databases that run as servers.
#[derive(Clone, Debug)]
enum Kind {
    Mongodb(Server),
    Mariadb { sockets: PathBuf },
    Postgres,
}

/// A database server, which can be stopped and started again with the same address and data. Dropping it stops it.
#[derive(Debug)]
pub struct Database {
    kind: Kind,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    url: String,
    process: Option<Process>,
}

impl Database {
    /// Starts a MongoDB server with its data in a directory, which may be new.
    pub async fn mongodb(directory: &Path, progress: &dyn Progress) -> Result<Self> {
        let server = find_or_build(progress).await?;
        Self::new(Kind::Mongodb(server), directory).await
    }

    /// Starts a MariaDB server with its data in a directory, which may be new. `sockets` is an existing directory with
    /// a short path.
    pub async fn mariadb(directory: &Path, sockets: PathBuf) -> Result<Self> {
        Self::new(Kind::Mariadb { sockets }, directory).await
    }

    /// Starts a PostgreSQL server with its data in a directory, which may be new.
    pub async fn postgres(directory: &Path) -> Result<Self> {
        Self::new(Kind::Postgres, directory).await
    }

    async fn new(kind: Kind, directory: &Path) -> Result<Self> {
        let mut database = Self {
            kind,
            data: directory.to_owned(),
            log: directory.with_added_extension("log"),
            port: free_port()?,
            url: String::new(),
            process: None,
        };
        database.start().await?;
        Ok(database)
    }

    /// URL or URI of its database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts the server, unless it runs.
    pub async fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let (data, log, port) = (&self.data, &self.log, self.port);
        let (process, url) = match &self.kind {
            Kind::Mongodb(server) => mongodb::start(server, data, log, port).await?,
            Kind::Mariadb { sockets } => mariadb::start(data, sockets, log, port).await?,
            Kind::Postgres => postgres::start(data, log, port).await?,
        };
        (self.process, self.url) = (Some(process), url);
        Ok(())
    }

    /// Shuts the server down.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Kills the server, as a crash does.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.stop();
        Ok(())
    }

    /// Keeps the server from responding until it is resumed.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Resumes a server that was paused.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().context("the server does not run")?;
        process.signal(signal)
    }
}

/// One database of each kind that runs as a server. Dropping this stops them.
#[derive(Debug)]
pub struct Databases {
    // Dropped before the data directory.
    mongodb: Database,
    mariadb: Database,
    postgres: Database,
    _run: RunDirectory,
}

impl Databases {
    /// Starts an empty `MongoDB`, `MariaDB` and `PostgreSQL`.
    pub async fn start(progress: &dyn Progress) -> Result<Self> {
        let run = RunDirectory::new()?;
        let data = run.subdirectory("data")?;
        let mongodb = Database::mongodb(&data.join("mongodb"), progress).await?;
        progress.step("starting the databases");
        Ok(Self {
            mongodb,
            mariadb: Database::mariadb(&data.join("mariadb"), run.subdirectory("sockets")?).await?,
            postgres: Database::postgres(&data.join("postgres")).await?,
            _run: run,
        })
    }

    /// Sets the variables through which the conformance tests of the stores find the databases, and which make them
    /// fail rather than skip a database.
    pub fn set_variables(&self, tests: &mut std::process::Command) {
        tests
            .env("LANDFALL_REQUIRE_DATABASES", "1")
            .env("LANDFALL_TEST_MONGODB_URI", self.mongodb.url())
            .env("LANDFALL_TEST_MYSQL_URL", self.mariadb.url())
            .env("LANDFALL_TEST_POSTGRES_URL", self.postgres.url());
    }
}
