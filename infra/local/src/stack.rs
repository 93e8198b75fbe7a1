use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_config::SdkConfig;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::primitives::ByteStream;
use landfall_auth::Token;

use crate::deploy::{self, Outputs};
use crate::events::{Event, Subscriber};
use crate::processes::Process;
use crate::progress::Progress;
use crate::run::{RunDirectory, workspace};
use crate::{datasets, endpoint, environment, logs, mariadb, mongodb, postgres, tokens, zips};

/// How long a server may take to end in an orderly way; the endpoint writes what it keeps.
const GRACE: Duration = Duration::from_secs(15);

/// Which SQL database there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sql {
    /// A file.
    #[default]
    Sqlite,
    /// A private `PostgreSQL` cluster, from the programs of the machine.
    Postgres,
    /// A private `MariaDB`, from the programs of the machine.
    Mysql,
    /// One that is there: a `postgres://`, `mysql://` or `sqlite://` URL.
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
                "{text:?} is none of sqlite, postgres, mysql and a URL"
            )),
        }
    }
}

/// Which stores rows land in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stores {
    /// `MongoDB` and SQL.
    #[default]
    Both,
    /// SQL alone.
    Sql,
    /// `MongoDB` alone.
    Mongodb,
}

/// What a stack is made of.
#[derive(Clone, Debug, Default)]
pub struct StackOptions {
    /// The stores that there are; what is said of another one does not matter.
    pub stores: Stores,
    /// The SQL database.
    pub sql: Sql,
    /// URI of a running `MongoDB`, with the database as its path. Without one, a server is started.
    pub mongodb: Option<String>,
    /// Directory for what outlives the stack. Without one, nothing does.
    pub keep: Option<PathBuf>,
    /// Directories of dataset definitions, beside `infra/datasets`. Later ones go before earlier ones.
    pub datasets: Vec<PathBuf>,
    /// Parameters of the template, by name.
    pub parameters: Vec<(String, String)>,
}

/// A running stack. Dropping it stops it.
#[derive(Debug)]
pub struct Stack {
    endpoint: String,
    config: SdkConfig,
    s3: aws_sdk_s3::Client,
    // Boxed, as futures hold stacks.
    outputs: Box<Outputs>,
    events: Subscriber,
    token: Token,
    mongodb_uri: String,
    sql_url: String,
    logs: PathBuf,
    tools: PathBuf,
    // Dropped in this order: the endpoint with its functions, the databases, their data.
    processes: Vec<Process>,
    run: RunDirectory,
    _kept: Option<File>,
}

impl Stack {
    /// Starts everything and deploys the template. Takes seconds when all was made before, and some
    /// minutes on a machine's first time.
    pub async fn start(options: StackOptions, progress: &dyn Progress) -> Result<Self> {
        let workspace = workspace()?;
        let definitions = datasets::definitions(&options.datasets)?;
        let bin = crate::python_environment(crate::Requirements::Run, progress).await?;
        let zips = zips::provide(progress).await?;

        let run = RunDirectory::new()?;
        let kept = options.keep.as_deref().map(claim).transpose()?;
        let (data, lock) = match kept {
            Some((directory, lock)) => (directory, Some(lock)),
            None => (run.sub("data")?, None),
        };
        let logs = run.sub("logs")?;
        // In the reverse of the order in which they are stopped.
        let mut processes = Vec::new();

        let mongodb_uri = if options.stores == Stores::Sql {
            String::new()
        } else if let Some(uri) = options.mongodb {
            uri
        } else {
            let server = mongodb::provide(progress).await?;
            progress.doing("starting MongoDB");
            let (process, uri) =
                mongodb::start(&server, &data.join("mongodb"), &logs.join("mongodb.log")).await?;
            processes.push(process);
            uri
        };

        if options.stores != Stores::Mongodb {
            progress.doing("starting SQL");
        }
        let sql_url = match options.sql {
            _ if options.stores == Stores::Mongodb => String::new(),
            Sql::Sqlite => sqlite_url(&data.join("landfall.sqlite"))?,
            Sql::Postgres => {
                let (process, url) =
                    postgres::start(&data.join("postgres"), &logs.join("postgres.log")).await?;
                processes.push(process);
                url
            }
            Sql::Mysql => {
                let sockets = run.sub("sockets")?;
                let log = logs.join("mariadb.log");
                let (process, url) = mariadb::start(&data.join("mariadb"), &sockets, &log).await?;
                processes.push(process);
                url
            }
            Sql::Url(url) => url,
        };

        progress.doing("starting the AWS endpoint");
        let scratch = run.sub("endpoint")?;
        let log = logs.join("endpoint.log");
        let kept = lock.is_some().then_some(data.as_path());
        let (process, endpoint) = endpoint::start(&bin, &scratch, kept, &log).await?;
        processes.push(process);
        processes.reverse();

        let config = endpoint::sdk_config(&endpoint);
        let mut parameters = vec![
            ("MongodbUri".to_owned(), mongodb_uri.clone()),
            ("SqlUrl".to_owned(), sql_url.clone()),
            ("Architecture".to_owned(), zips::architecture().to_owned()),
            (
                "LocalEndpoint".to_owned(),
                endpoint::authority(&endpoint).to_owned(),
            ),
            ("WorkerConcurrency".to_owned(), workers().to_string()),
        ];
        for (name, value) in options.parameters {
            parameters.retain(|(known, _)| *known != name);
            parameters.push((name, value));
        }
        let deployed = deploy::deploy(&config, &workspace, &zips, &parameters, progress);
        let outputs = Box::new(Box::pin(deployed).await?);
        let token = tokens::provide(&config, &outputs.tokens_secret).await?;
        let events = Subscriber::subscribe(&config, &outputs.event_bus_name).await?;
        let stack = Self {
            s3: aws_sdk_s3::Client::from_conf(endpoint::s3_config(&config)),
            endpoint,
            config,
            outputs,
            events,
            token,
            mongodb_uri,
            sql_url,
            logs,
            tools: bin,
            processes,
            run,
            _kept: lock,
        };
        progress.doing("uploading the datasets");
        for definition in definitions {
            stack
                .put_dataset(&definition.name, &definition.toml)
                .await?;
        }
        Ok(stack)
    }

    /// URL of the AWS endpoint.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How the AWS SDK reaches the endpoint. S3 clients need path-style addresses besides.
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.config
    }

    /// A client of the endpoint's S3.
    pub fn s3(&self) -> &aws_sdk_s3::Client {
        &self.s3
    }

    /// The outputs of the template.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// A token for everything, made when the stack was started.
    pub fn token(&self) -> &str {
        self.token.reveal()
    }

    /// URI of the `MongoDB`, with the database as its path; empty where there is none.
    pub fn mongodb_uri(&self) -> &str {
        &self.mongodb_uri
    }

    /// URL of the SQL database; empty where there is none.
    pub fn sql_url(&self) -> &str {
        &self.sql_url
    }

    /// Directory of the servers' logs; gone with the stack.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Directory of cargo-lambda and the other programs that the stack is made with.
    pub fn tools(&self) -> &Path {
        &self.tools
    }

    /// Directory for files of the caller's; gone with the stack.
    pub fn scratch(&self) -> Result<PathBuf> {
        self.run.sub("scratch")
    }

    /// Writes what the functions have in their environment to a file, for functions that run outside
    /// of the endpoint. Gone with the stack.
    pub async fn write_environment(&self) -> Result<PathBuf> {
        let functions = [
            &self.outputs.splitter_function,
            &self.outputs.worker_function,
            &self.outputs.api_function,
            &self.outputs.socket_function,
        ];
        let text = environment::of_functions(&self.config, &self.endpoint, &functions).await?;
        let path = self.run.path().join("functions.env");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Uploads a dataset definition. The functions check it when they first need it.
    pub async fn put_dataset(&self, name: &str, toml: &str) -> Result<()> {
        self.s3
            .put_object()
            .bucket(&self.outputs.config_bucket)
            .key(format!("datasets/{name}.toml"))
            .body(ByteStream::from(toml.as_bytes().to_vec()))
            .send()
            .await
            .with_context(|| format!("cannot upload the dataset {name}"))?;
        Ok(())
    }

    /// Drops an object into the inbox and gives its version id.
    pub async fn put_object(&self, key: &str, body: impl Into<ByteStream>) -> Result<String> {
        // As clients do over TLS, which sums up the bytes itself: hashing a big file takes as long as sending it.
        let without_sums = aws_sdk_s3::config::Builder::new()
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        self.s3
            .put_object()
            .bucket(&self.outputs.inbox_bucket)
            .key(key)
            .body(body.into())
            .customize()
            .config_override(without_sums)
            .disable_payload_signing()
            .send()
            .await
            .with_context(|| format!("cannot drop {key}"))?
            .version_id
            .with_context(|| format!("{key} got no version"))
    }

    /// Drops a file into the inbox and gives its version id.
    pub async fn put_file(&self, key: &str, path: &Path) -> Result<String> {
        // Its own 4 KiB a read would be the slowest part of the way.
        let body = ByteStream::read_from()
            .path(path)
            .buffer_size(1 << 20)
            .build()
            .await
            .with_context(|| format!("cannot read {}", path.display()))?;
        self.put_object(key, body).await
    }

    /// The next completion event, as a subscriber gets it; nothing when none comes in time.
    pub async fn next_event(&self, timeout: Duration) -> Result<Option<Event>> {
        self.events.next(timeout).await
    }

    /// The last lines that the functions logged. An invocation's lines come when it ends.
    pub async fn function_logs(&self, lines: usize) -> Result<String> {
        let groups = [
            &self.outputs.splitter_log_group,
            &self.outputs.worker_log_group,
            &self.outputs.api_log_group,
            &self.outputs.socket_log_group,
        ];
        logs::tail(&self.config, &groups, lines).await
    }

    /// Stops everything and removes what is not kept.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.stop(GRACE);
        }
    }
}

/// How many workers run at once, unless told: two a core, which they share with the databases; more only
/// take the caches from each other.
pub fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * cores).min(8)
}

/// Takes a directory for one stack at a time.
fn claim(directory: &Path) -> Result<(PathBuf, File)> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let directory = directory.canonicalize()?;
    let lock = File::create(directory.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok((directory, lock)),
        Err(TryLockError::WouldBlock) => {
            bail!("another stack runs on {}", directory.display())
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn sqlite_url(path: &Path) -> Result<String> {
    let text = path.to_str().context("the data directory is not UTF-8")?;
    ensure!(
        !text.contains(|c: char| c.is_whitespace() || "\"\\?#%".contains(c)),
        "{text} has characters that do not fit into the URL of an SQLite file"
    );
    Ok(format!("sqlite://{text}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Sql, sqlite_url};

    #[test]
    fn names_an_sql_database_by_kind_or_url() {
        assert_eq!("mariadb".parse(), Ok(Sql::Mysql));
        let url = "postgres://u:p@h/d";
        assert_eq!(url.parse(), Ok(Sql::Url(url.to_owned())));
        assert!("oracle".parse::<Sql>().is_err());
    }

    #[test]
    fn refuses_a_path_that_would_change_in_a_url() {
        assert_eq!(
            sqlite_url(Path::new("/a/b.sqlite")).unwrap(),
            "sqlite:///a/b.sqlite"
        );
        assert!(sqlite_url(Path::new("/a b/c.sqlite")).is_err());
        assert!(sqlite_url(Path::new("/a?b")).is_err());
    }
}
