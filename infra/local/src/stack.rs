//! A running stack.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_config::SdkConfig;
use aws_sdk_s3::primitives::ByteStream;
use landfall_auth::Token;
use landfall_aws::{Datasets, S3Objects};
use landfall_setup::functions::zips;
use landfall_setup::processes::Process;
use landfall_setup::progress::{Progress, tasks};
use landfall_setup::{python, workspace};
use serde_json::json;

use crate::aws::Aws;
use crate::deploy::{self, Outputs};
use crate::events::{Event, Subscriber};
use crate::options::{StackOptions, workers};
use crate::processes::{FunctionProcess, function_processes};
use crate::run::RunDirectory;
use crate::stores::{self, Directories, StartedStores};
use crate::{datasets, endpoint, environment, logs, tokens};

/// A running stack. Dropping it stops it.
#[derive(Debug)]
pub struct Stack {
    aws: Aws,
    config: SdkConfig,
    s3: aws_sdk_s3::Client,
    // Boxed to keep the futures that hold a stack small.
    outputs: Box<Outputs>,
    events: Subscriber,
    token: Token,
    mongodb_uri: String,
    sql_url: String,
    logs: PathBuf,
    tools: PathBuf,
    // Dropped in this order: the endpoint with its functions, the databases, then their data.
    _processes: Vec<Process>,
    run: RunDirectory,
    _kept: Option<File>,
}

impl Stack {
    /// Starts everything and deploys the template. Takes seconds, or minutes if something has to be built first.
    pub async fn start(options: StackOptions, progress: &dyn Progress) -> Result<Self> {
        let workspace = workspace()?;
        let definitions = datasets::definitions(&options.datasets)?;
        let bin = python::environment(python::LOCAL_STACK, progress).await?;
        let zips = zips(options.build, progress).await?;

        let run = RunDirectory::new()?;
        let kept = options.keep.as_deref().map(lock_directory).transpose()?;
        let (data, lock) = match kept {
            Some((directory, lock)) => (directory, Some(lock)),
            None => (run.subdirectory("data")?, None),
        };
        let owner = lock.is_some().then(|| owner(&data)).transpose()?;
        let logs = run.subdirectory("logs")?;
        // The databases and the endpoint are started at the same time.
        let [of_stores, of_endpoint] = tasks(progress);
        let directories = Directories {
            run: &run,
            data: &data,
            logs: &logs,
        };
        let (kinds, mongodb, sql) = (options.stores, options.mongodb, options.sql);
        let pull_every = options.pull_every;
        // Each has its step, which disappears when it is ready.
        let stores = async {
            let progress = of_stores;
            stores::start(kinds, mongodb, sql, &directories, &progress).await
        };
        let endpoint = async {
            let of_endpoint = of_endpoint;
            of_endpoint.step("starting the AWS endpoint");
            let scratch = run.subdirectory("endpoint")?;
            let log = logs.join("endpoint.log");
            let kept = lock.is_some().then_some(data.as_path());
            let (process, endpoint) =
                endpoint::start(&bin, &scratch, kept, &log, pull_every).await?;
            of_endpoint.step("uploading the functions");
            let config = endpoint::sdk_config(&endpoint);
            let template = deploy::package(&config, &workspace, &zips).await?;
            anyhow::Ok((process, endpoint, config, template))
        };
        let (stores, endpoint) = tokio::try_join!(Box::pin(stores), Box::pin(endpoint))?;
        let StartedStores {
            mongodb_uri,
            sql_url,
            servers,
        } = stores;
        let (process, endpoint, config, template) = endpoint;
        let processes = [process].into_iter().chain(servers).collect();

        // By Lambda's names.
        let architecture = std::env::consts::ARCH.replace("aarch64", "arm64");
        let mut parameters = vec![
            ("MongodbUri".to_owned(), mongodb_uri.clone()),
            ("SqlUrl".to_owned(), sql_url.clone()),
            ("Architecture".to_owned(), architecture),
            (
                "LocalEndpoint".to_owned(),
                endpoint::authority(&endpoint).to_owned(),
            ),
            ("WorkerConcurrency".to_owned(), workers().to_string()),
            // APIs to try things out with are on the same machine.
            ("SourceHosts".to_owned(), "*".to_owned()),
            ("SourcePrivateAddresses".to_owned(), "true".to_owned()),
        ];
        parameters.extend(owner.map(|owner| ("DatabaseOwner".to_owned(), owner)));
        for (name, value) in options.parameters {
            parameters.retain(|(known, _)| *known != name);
            parameters.push((name, value));
        }
        let aws = Aws {
            python: bin.join("python"),
            endpoint: endpoint.clone(),
        };
        progress.step("deploying infra/template.yaml");
        let deployed = deploy::deploy(&aws, &config, &template, &parameters);
        let outputs = Box::new(Box::pin(deployed).await?);
        let token = tokens::create(&config, &outputs.tokens_secret).await?;
        let events = Subscriber::subscribe(&config, &outputs.event_bus_name).await?;
        let stack = Self {
            s3: aws_sdk_s3::Client::from_conf(endpoint::s3_config(&config)),
            aws,
            config,
            outputs,
            events,
            token,
            mongodb_uri,
            sql_url,
            logs,
            tools: bin,
            _processes: processes,
            run,
            _kept: lock,
        };
        progress.step("uploading the datasets");
        for definition in definitions {
            stack
                .put_dataset(&definition.name, &definition.toml)
                .await?;
        }
        Ok(stack)
    }

    /// URL of the AWS endpoint.
    pub fn endpoint(&self) -> &str {
        &self.aws.endpoint
    }

    /// SDK configuration for the endpoint. S3 clients also need path-style addresses.
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.config
    }

    /// S3 client of the endpoint.
    pub fn s3(&self) -> &aws_sdk_s3::Client {
        &self.s3
    }

    /// Outputs of the template.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// A token with all permissions, created when the stack started.
    pub fn token(&self) -> &str {
        self.token.reveal()
    }

    /// URI of the `MongoDB`, with the database as its path; empty if there is none.
    pub fn mongodb_uri(&self) -> &str {
        &self.mongodb_uri
    }

    /// URL of the SQL database; empty if there is none.
    pub fn sql_url(&self) -> &str {
        &self.sql_url
    }

    /// Directory of the servers' logs. Removed with the stack.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Directory of cargo-lambda and the other programs of the Python environment.
    pub fn tools(&self) -> &Path {
        &self.tools
    }

    /// Directory for the caller's own files. Removed with the stack.
    pub fn scratch(&self) -> Result<PathBuf> {
        self.run.subdirectory("scratch")
    }

    /// Writes the functions' environment variables to a file, for functions that run outside the endpoint. Removed with
    /// the stack.
    pub async fn write_environment(&self) -> Result<PathBuf> {
        let functions = [
            &self.outputs.splitter_function,
            &self.outputs.worker_function,
            &self.outputs.maintenance_function,
            &self.outputs.api_function,
            &self.outputs.socket_function,
            &self.outputs.janitor_function,
            &self.outputs.puller_function,
            &self.outputs.relay_function,
        ];
        let text = environment::env_file(&self.aws, &functions).await?;
        let path = self.run.path().join("functions.env");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Uploads a dataset definition. The functions validate it when they first use it.
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

    /// Uploads the definition of a source, which is due at once.
    pub async fn put_source(&self, name: &str, toml: &str) -> Result<()> {
        self.s3
            .put_object()
            .bucket(&self.outputs.config_bucket)
            .key(format!("sources/{name}.toml"))
            .body(ByteStream::from(toml.as_bytes().to_vec()))
            .send()
            .await
            .with_context(|| format!("cannot upload the source {name}"))?;
        Ok(())
    }

    /// Uploads the definition of a destination. Changes are recorded for it from the next run of the relay on.
    pub async fn put_destination(&self, name: &str, toml: &str) -> Result<()> {
        self.s3
            .put_object()
            .bucket(&self.outputs.config_bucket)
            .key(format!("destinations/{name}.toml"))
            .body(ByteStream::from(toml.as_bytes().to_vec()))
            .send()
            .await
            .with_context(|| format!("cannot upload the destination {name}"))?;
        Ok(())
    }

    /// Uploads a dataset definition unless there is one already. Returns whether there was none.
    pub async fn create_dataset(&self, name: &str, toml: &str) -> Result<bool> {
        let objects = Arc::new(S3Objects::new(self.s3.clone()));
        let datasets = Datasets::new(objects, self.outputs.config_bucket.as_str());
        let created = datasets.create(name, toml.to_owned()).await;
        created.with_context(|| format!("cannot upload the dataset {name}"))
    }

    /// Uploads an object to the inbox and returns its version id.
    pub async fn put_object(&self, key: &str, body: impl Into<ByteStream>) -> Result<String> {
        self.s3
            .put_object()
            .bucket(&self.outputs.inbox_bucket)
            .key(key)
            .body(body.into())
            .customize()
            // As clients do over TLS, which protects the bytes itself: hashing takes as long as sending.
            .config_override(endpoint::without_checksums())
            .disable_payload_signing()
            .send()
            .await
            .with_context(|| format!("cannot upload {key}"))?
            .version_id
            .with_context(|| format!("{key} has no version id"))
    }

    /// Uploads a file to the inbox and returns its version id.
    pub async fn put_file(&self, key: &str, path: &Path) -> Result<String> {
        // The default of 4 KiB per read would be the bottleneck.
        let body = ByteStream::read_from()
            .path(path)
            .buffer_size(1 << 20)
            .build()
            .await
            .with_context(|| format!("cannot read {}", path.display()))?;
        self.put_object(key, body).await
    }

    /// Returns the next completion event, or nothing if none arrives in time.
    pub async fn next_event(&self, timeout: Duration) -> Result<Option<Event>> {
        self.events.next(timeout).await
    }

    /// Invokes a function that needs no event.
    pub async fn invoke(&self, function: &str) -> Result<()> {
        let arguments = json!({ "function": function });
        let error: Option<String> = self.aws.call("invoke", &arguments).await?;
        ensure!(error.is_none(), "{function}: {}", error.unwrap_or_default());
        Ok(())
    }

    /// Returns the processes of a function, by its name in the outputs.
    pub fn processes_of(&self, function: &str) -> Vec<FunctionProcess> {
        let mut processes = function_processes(self.endpoint());
        processes.retain(|process| process.function == function);
        processes
    }

    /// Returns the last lines that the functions logged. The lines of an invocation appear when it ends.
    pub async fn function_logs(&self, lines: usize) -> Result<String> {
        let groups = [
            &self.outputs.splitter_log_group,
            &self.outputs.worker_log_group,
            &self.outputs.maintenance_log_group,
            &self.outputs.api_log_group,
            &self.outputs.socket_log_group,
            &self.outputs.janitor_log_group,
            &self.outputs.puller_log_group,
            &self.outputs.relay_log_group,
        ];
        logs::tail(&self.aws, &groups, lines).await
    }

    /// Stops everything and removes all data that is not kept.
    pub fn stop(self) {
        drop(self);
    }
}

/// Creates a directory and locks it, because only one stack at a time can use it.
fn lock_directory(directory: &Path) -> Result<(PathBuf, File)> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let directory = directory.canonicalize()?;
    let lock = File::create(directory.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok((directory, lock)),
        Err(TryLockError::WouldBlock) => {
            bail!("another stack is using {}", directory.display())
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Returns the id under which stacks with this directory own their datasets. It moves with the directory.
fn owner(directory: &Path) -> Result<String> {
    let file = directory.join("owner");
    if !file.exists() {
        fs::write(&file, format!("local/{:016x}", rand::random::<u64>()))?;
    }
    Ok(fs::read_to_string(file)?)
}
