//! `landfall`: the command line.

mod check;
mod destinations;
mod explain;
mod jobs;
mod pause;
mod seeding;
mod sources;
mod tokens;
mod totals;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use landfall_auth::Scope;
use landfall_cli::infer::{check_file, infer_file};
use landfall_domain::{JobId, JobState, PruneState};

#[derive(Parser)]
#[command(name = "landfall", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate a sample file with repeated keys, quoted newlines, Unicode and some bad rows; or with --count, write
    /// orders and their changes to a running stack, and wait until they are stored
    Seed(seeding::Arguments),
    /// Print the definition of a dataset that fits a file: format, types, key. Comments say what is uncertain, and how
    /// many rows of the file fit
    Infer {
        /// CSV, TSV, JSON or NDJSON
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Name of the dataset; that of the file by default
        #[arg(long)]
        name: Option<String>,
    },
    /// Explain a row: print the object, the line and the record that gave it, its job and definition; of a missing row,
    /// the record that deleted it, for 30 days, or the snapshot. Jobs are kept for 90 days
    Explain {
        /// Name of the dataset
        dataset: String,
        /// Values of the key, in the order of the definition
        #[arg(required = true)]
        key: Vec<String>,
        /// The store to read; by default the SQL database, if there is one
        #[arg(long)]
        store: Option<explain::StoreChoice>,
        /// Print the answer of the API, which is JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        api: explain::Api,
    },
    /// Check definitions of datasets, and files against them
    #[command(subcommand)]
    Datasets(Datasets),
    /// Check definitions of sources, try them out, and act on those of a stack
    #[command(subcommand)]
    Sources(sources::Command),
    /// Check definitions of destinations, and act on those of a stack
    #[command(subcommand)]
    Destinations(destinations::Command),
    /// Act on jobs of a stack
    #[command(subcommand)]
    Jobs(Jobs),
    /// Rebuild tables of totals
    #[command(subcommand)]
    Totals(Totals),
    /// Manage tokens of the HTTP API and the WebSocket API
    #[command(subcommand)]
    Tokens(Tokens),
}

#[derive(Subcommand)]
enum Tokens {
    /// Create a token and print it, this once, because only its hash is stored. It is valid within a minute
    Add {
        /// Name of the token: a lower-case letter, then lower-case letters, digits and _
        name: String,
        /// Scopes of the token, separated by commas: read, write, admin
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<Scope>,
        /// Datasets that the token gives access to: all, or names separated by commas
        #[arg(long, value_delimiter = ',', required = true)]
        datasets: Vec<String>,
        #[command(flatten)]
        secret: Secret,
    },
    /// List the names, scopes and datasets of all tokens
    List {
        #[command(flatten)]
        secret: Secret,
    },
    /// Remove a token. It is invalid within a minute
    Remove {
        /// Name of the token
        name: String,
        #[command(flatten)]
        secret: Secret,
    },
}

#[derive(Args)]
struct Secret {
    /// Name or ARN of the secret that contains the tokens
    #[arg(long = "secret", env = "LANDFALL_TOKENS_SECRET")]
    id: String,
}

impl Secret {
    async fn open(&self) -> tokens::Store<landfall_aws::Secret> {
        tokens::Store::open(&self.id).await
    }
}

#[derive(Subcommand)]
enum Totals {
    /// Rebuild the totals of a dataset from the rows in its table. Needed after its totals were redefined or
    /// rows were changed by hand. Workers wait meanwhile
    Rebuild {
        /// Definition of the dataset, as in the configuration bucket
        definition: PathBuf,
        /// URL of the SQL database, as in the secret of the stores
        #[arg(long, env = "LANDFALL_SQL_URL", hide_env_values = true)]
        sql: String,
    },
}

#[derive(Args)]
pub(crate) struct Operator {
    /// Who does this, for the ledger
    #[arg(long = "by", env = "USER", default_value = "command line")]
    pub(crate) name: String,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum DefinitionChoice {
    Latest,
}

#[derive(Subcommand)]
enum Jobs {
    /// Cancel an open job: no further chunk of it is processed. Rows that are in the stores already stay there.
    /// Needs the functions' `LANDFALL_LEDGER_TABLE` and `LANDFALL_CHUNK_QUEUE_URL`, as in the environment file that
    /// `cargo local` prints
    Cancel {
        /// Id of the job
        job: JobId,
        #[command(flatten)]
        operator: Operator,
    },
    /// Process the dead chunks of a closed job again, once their cause is removed. Rows never overwrite newer ones.
    /// Needs the same variables as `cancel`, and with a definition `LANDFALL_CONFIG_BUCKET`
    Redrive {
        /// Id of the job
        job: JobId,
        /// Process them with the latest definition instead of the one of the job, as another job
        #[arg(long)]
        definition: Option<DefinitionChoice>,
        #[command(flatten)]
        operator: Operator,
    },
    /// Delete the rows that a snapshot lacks, which was held back because they were too many (problem `prune_held`).
    /// Needs the functions' `LANDFALL_LEDGER_TABLE`, `LANDFALL_CHUNK_QUEUE_URL` and
    /// `LANDFALL_CONFIG_BUCKET`, as in the environment file that `cargo local` prints
    Prune {
        /// Id of the job
        job: JobId,
    },
}

#[derive(Subcommand)]
enum Datasets {
    /// Have the chunks of a dataset wait, also those of files that arrive later, until it is resumed. Needs the
    /// functions' `LANDFALL_LEDGER_TABLE` and `LANDFALL_CONFIG_BUCKET`, as in the environment file that `cargo local`
    /// prints
    Pause {
        /// Name of the dataset
        dataset: String,
        #[command(flatten)]
        operator: Operator,
    },
    /// Resume a paused dataset. Its chunks continue within five minutes
    Resume {
        /// Name of the dataset
        dataset: String,
    },
    /// Check definitions, and print the file, line and field of the first error in each. With --file, print what would
    /// happen to a file: the state of its job, its rows, rejects and warnings. No database is needed
    Check {
        /// Files, or directories of .toml files
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// A file to check against the definition; if there are several, against that of the dataset which is named
        /// like the file or its directory
        #[arg(long)]
        file: Option<PathBuf>,
        /// Print the report about the file as JSON
        #[arg(long, requires = "file")]
        json: bool,
        /// SQL databases that must hold every row of the datasets
        #[arg(long, value_delimiter = ',', default_value = "postgres,mysql,sqlite")]
        sql: Vec<check::Sql>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Seed(arguments) => seeding::act(arguments).await?,
        Command::Jobs(Jobs::Cancel { job, operator }) => {
            match jobs::cancel(job, &operator.name).await? {
                JobState::Open => {
                    println!("cancelled: the job closes once the chunks in progress are done");
                }
                _ => println!("the job is cancelled and closed"),
            }
        }
        Command::Jobs(Jobs::Redrive {
            job,
            definition: Some(DefinitionChoice::Latest),
            operator,
        }) => {
            let derived = jobs::redrive_latest(job, &operator.name).await?;
            println!("job {derived} processes the dead chunks with the latest definition");
        }
        Command::Jobs(Jobs::Redrive { job, operator, .. }) => {
            let (chunks, attempt) = jobs::redrive(job, &operator.name).await?;
            println!("the job is open again (attempt {attempt}): dead chunks to process: {chunks}");
        }
        Command::Jobs(Jobs::Prune { job }) => match jobs::prune(job).await? {
            Some(PruneState::Done) => println!("the rows are deleted"),
            _ => println!("confirmed: a worker deletes the rows now"),
        },
        Command::Totals(Totals::Rebuild { definition, sql }) => {
            for (table, groups) in totals::rebuild(&definition, &sql).await? {
                println!("{table}: {groups} groups");
            }
        }
        Command::Tokens(Tokens::Add {
            name,
            scopes,
            datasets,
            secret,
        }) => {
            let scopes = scopes.into_iter().collect();
            let token = secret.open().await.add(&name, scopes, &datasets).await?;
            println!("{}", token.reveal());
        }
        Command::Tokens(Tokens::List { secret }) => {
            for grant in secret.open().await.read().await?.grants() {
                let scopes: Vec<_> = grant.scopes.iter().map(|scope| scope.as_str()).collect();
                println!("{}: {} of {}", grant.name, scopes.join(","), grant.datasets);
            }
        }
        Command::Tokens(Tokens::Remove { name, secret }) => {
            secret.open().await.remove(&name).await?;
        }
        Command::Datasets(Datasets::Pause { dataset, operator }) => {
            let paused = pause::pause(&dataset, &operator.name).await?;
            println!("{dataset} is paused, by {} since {}", paused.by, paused.at);
        }
        Command::Datasets(Datasets::Resume { dataset }) => {
            pause::resume(&dataset).await?;
            println!("{dataset} is not paused");
        }
        Command::Sources(command) => return sources::act(command).await,
        Command::Destinations(command) => return destinations::act(command).await,
        Command::Explain {
            dataset,
            key,
            store,
            json,
            api,
        } => {
            let (origin, answer) = api.origin(&dataset, &key, store).await?;
            if json {
                println!("{answer}");
            } else {
                print!("{}", explain::Explained(&origin));
            }
        }
        Command::Infer { files, name } => {
            for file in files {
                print!("{}", infer_file(&file, name.as_deref())?.definition);
            }
        }
        Command::Datasets(Datasets::Check {
            paths,
            file,
            json,
            sql,
        }) => {
            let mut datasets = Vec::new();
            let mut code = ExitCode::SUCCESS;
            for checked in check::check(&paths, &sql)? {
                match checked {
                    Ok(dataset) => datasets.push(dataset),
                    Err(error) => {
                        eprintln!("{error}");
                        code = ExitCode::FAILURE;
                    }
                }
            }
            let Some(file) = file else {
                for dataset in &datasets {
                    let key: Vec<_> = dataset.key_fields().map(|field| &*field.name).collect();
                    let (name, fields) = (&dataset.name, dataset.fields.len());
                    println!("{name}: {fields} fields, key {}", key.join(", "));
                }
                return Ok(code);
            };
            let report = check_file(check::dataset_of(&file, &datasets)?, &file)?;
            if json {
                println!("{}", serde_json::to_string_pretty(&report)?);
            } else {
                print!("{report}");
            }
            if report.state == JobState::Failed {
                code = ExitCode::FAILURE;
            }
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}
