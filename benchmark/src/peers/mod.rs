//! Other tools on the same file, each doing an upsert as its documentation recommends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use landfall_local::{Lines, Progress, Requirements, Sql, Stores, python_environment};
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::process::Command;

use crate::Plan;
use crate::data::{COLUMNS, Rows, Sample};
use crate::debian::install;
use crate::floors::postgres::KEYED_COLUMNS;
use crate::landfall::Landfall;
use crate::profile::wait_until_idle;
use crate::result::{Missing, Part, Run};
use crate::tables::{Database, postgres};

/// The tools that are Python packages.
pub(crate) const PEERS: Requirements = Requirements {
    purpose: "the benchmark",
    pins: include_str!("../../requirements-peers.txt"),
};
const ROWS: u64 = 500_000;
const WITHIN: Duration = Duration::from_mins(15);
const GOAL: f64 = 2.0;
/// A tool that takes this many times as long as the best one has only one run.
const FAR_BEHIND: f64 = 3.0;
const LOADS: [&str; 2] = ["first load", "all changed"];

/// Another tool.
struct Peer {
    name: &'static str,
    what: &'static str,
    table: &'static str,
    how: How,
    /// Whether CRLF in a cell is preserved.
    keeps_returns: bool,
}

enum How {
    /// A script that prints its own seconds, from the start of reading, after Python's imports.
    Python {
        file: &'static str,
        text: &'static str,
    },
    Sling,
    Pgloader,
}

const POSTGRES: [Peer; 5] = [
    Peer {
        name: "psycopg3",
        what: "COPY of the file into a temporary table, DISTINCT ON, INSERT ON CONFLICT",
        table: "peer_psycopg",
        how: How::Python {
            file: "psycopg_copy.py",
            text: include_str!("psycopg_copy.py"),
        },
        keeps_returns: true,
    },
    Peer {
        name: "pandas",
        what: "read_csv, drop_duplicates, to_sql with ON CONFLICT as its method, 2,000 rows at a time",
        table: "peer_pandas",
        how: How::Python {
            file: "pandas_to_sql.py",
            text: include_str!("pandas_to_sql.py"),
        },
        keeps_returns: true,
    },
    Peer {
        name: "dlt",
        what: "a data frame without repeated keys, write disposition merge, strategy upsert; its table has no \
               index of the key",
        table: "peer_dlt.products",
        how: How::Python {
            file: "dlt_merge.py",
            text: include_str!("dlt_merge.py"),
        },
        keeps_returns: true,
    },
    Peer {
        name: "sling",
        what: "sling run --mode incremental --primary-key sku into a table with that key, once the file is \
               written without repeated keys, which it can't merge; CRLF in cells becomes LF",
        table: "peer_sling",
        how: How::Sling,
        keeps_returns: false,
    },
    Peer {
        name: "pgloader",
        what: "LOAD CSV into a staging table, then INSERT ON CONFLICT, once the file is written without repeated keys, \
               which ON CONFLICT refuses",
        table: "peer_pgloader",
        how: How::Pgloader,
        keeps_returns: true,
    },
];

const MONGODB: [Peer; 1] = [Peer {
    name: "pymongo",
    what: "a loop of bulk_write with 1,000 ReplaceOne, upsert",
    table: "peer_pymongo",
    how: How::Python {
        file: "pymongo_bulk.py",
        text: include_str!("pymongo_bulk.py"),
    },
    keeps_returns: true,
}];

/// The files and programs of the comparison.
struct Bench<'a> {
    plan: &'a Plan,
    progress: &'a Lines,
    /// The environment's `bin` directory, or why there is none.
    python: Result<PathBuf, String>,
    samples: [Sample; 2],
}

pub(crate) async fn measure(plan: &Plan, progress: &Lines) -> Result<Part> {
    let mut part = plan.part("peers", "Other tools");
    let rows = ROWS.min(plan.rows);
    let sample = |revision| Sample::make(plan.directory(), rows, revision);
    let bench = Bench {
        plan,
        progress,
        python: python_environment(PEERS, progress)
            .await
            .map_err(|error| format!("{error:#}")),
        samples: [sample(1)?, sample(2)?],
    };
    // If it stays missing, its run reports that.
    install("pgloader", progress).await?;
    let options = (Stores::Sql, Sql::Postgres, "PostgreSQL");
    bench
        .compare_with_landfall(&mut part, options, &POSTGRES)
        .await?;
    let options = (Stores::Mongodb, Sql::default(), "MongoDB");
    bench
        .compare_with_landfall(&mut part, options, &MONGODB)
        .await?;
    Ok(part)
}

impl Bench<'_> {
    /// Measures Landfall and the other tools of one database in turn.
    async fn compare_with_landfall(
        &self,
        part: &mut Part,
        (stores, sql, database): (Stores, Sql, &str),
        peers: &[Peer],
    ) -> Result<()> {
        let landfall = Landfall::start(stores, sql, self.progress).await?;
        let address = [landfall.stack.sql_url(), landfall.stack.mongodb_uri()]
            .into_iter()
            .find(|address| !address.is_empty())
            .context("the stack has no store")?;
        part.versions
            .extend([Database::at(address).version().await?]);
        let landfall_name = |load: &str| format!("Landfall, {database}, {load}");
        for run in 0..self.plan.runs {
            let dataset = format!("products_{run}");
            landfall.dataset(&dataset).await?;
            for (load, sample) in LOADS.iter().zip(&self.samples) {
                self.progress
                    .step(&format!("peers, run {}: {}", run + 1, landfall_name(load)));
                let run = landfall.ingest(&dataset, sample, sample.keyed).await?;
                let what = "put to completion event";
                part.add(&landfall_name(load), what, sample.rows, run);
            }
            landfall.drop_tables(&dataset).await?;
            let best = fastest(part, peers, LOADS[0]).map(|(seconds, _)| seconds);
            for peer in peers {
                let is_missing = part.missing.iter().any(|missing| missing.name == peer.name);
                let seconds = part.seconds(&format!("{}, {}", peer.name, LOADS[0]));
                let is_far_behind = seconds > best.map(|best| best * FAR_BEHIND) && run > 0;
                if is_missing || is_far_behind {
                    continue;
                }
                if let Err(error) = self.peer(part, peer, address, run).await {
                    let why = format!("{error:#}");
                    self.progress
                        .note(&format!("NOT MEASURED: {}: {why}", peer.name));
                    // Without both loads there is nothing to compare.
                    part.measurements
                        .retain(|it| !it.name.starts_with(&format!("{}, ", peer.name)));
                    part.missing.push(Missing {
                        name: peer.name.to_owned(),
                        why,
                    });
                }
                Database::at(address).remove(peer.table).await?;
            }
        }
        for load in LOADS {
            if let Some((_, best)) = fastest(part, peers, load) {
                let name = landfall_name(load);
                part.compare(&name, &name, &[&best], Some(GOAL));
            }
        }
        landfall.stack.stop();
        Ok(())
    }

    async fn peer(&self, part: &mut Part, peer: &Peer, address: &str, run: usize) -> Result<()> {
        for (load, sample) in LOADS.iter().zip(&self.samples) {
            let name = format!("{}, {load}", peer.name);
            self.progress
                .step(&format!("peers, run {}: {name}", run + 1));
            wait_until_idle().await;
            let run = tokio::time::timeout(WITHIN, self.load(peer, sample, address))
                .await
                .with_context(|| format!("it took more than {} s", WITHIN.as_secs()))??;
            let found = Database::at(address).content(peer.table).await?;
            let mut expected = sample.keyed;
            if !peer.keeps_returns {
                expected.description_bytes -= sample.keyed_returns;
            }
            expected.check(found, peer.table)?;
            part.add(&name, peer.what, sample.rows, run);
        }
        Ok(())
    }

    /// Runs one load.
    async fn load(&self, peer: &Peer, sample: &Sample, address: &str) -> Result<Run> {
        match &peer.how {
            How::Python { file, text } => {
                let script = self.plan.directory().join(file);
                fs::write(&script, text)?;
                let mut command = Command::new(self.python()?.join("python"));
                command
                    .arg(&script)
                    .arg(&sample.clean)
                    .args([address, peer.table]);
                let output = run_program(self.plan.directory(), command).await?;
                let last = output.lines().last().unwrap_or_default();
                let seconds = last
                    .parse()
                    .with_context(|| format!("{file} printed {last:?} instead of its seconds"))?;
                Ok(Run {
                    seconds,
                    ..Run::default()
                })
            }
            How::Sling => {
                // A table that it creates itself has no key.
                let make = format!("CREATE TABLE IF NOT EXISTS {} {KEYED_COLUMNS}", peer.table);
                postgres(address)
                    .await?
                    .execute(AssertSqlSafe(make))
                    .await?;
                let command = |unique: &Path| {
                    let mut command = Command::new(self.sling()?);
                    command
                        .args(["run", "--mode", "incremental", "--primary-key", "sku"])
                        .arg("--src-stream")
                        .arg(format!("file://{}", unique.display()))
                        .args(["--tgt-conn", &format!("{address}?sslmode=disable")])
                        .args(["--tgt-object", &format!("public.{}", peer.table)])
                        .env("SLING_DISABLE_TELEMETRY", "TRUE");
                    Ok(command)
                };
                self.without_repeated_keys(sample, command).await
            }
            How::Pgloader => {
                let command = |unique: &Path| {
                    let file = self.plan.directory().join("pgloader.load");
                    let commands = include_str!("pgloader.load")
                        .replace("{path}", &unique.to_string_lossy())
                        .replace("{url}", &address.replacen("postgres:", "postgresql:", 1))
                        .replace("{table}", peer.table);
                    fs::write(&file, commands)?;
                    let mut command = Command::new("pgloader");
                    command
                        .args(["--on-error-stop", "--root-dir"])
                        .arg(self.plan.directory().join("pgloader"))
                        .arg(&file);
                    Ok(command)
                };
                self.without_repeated_keys(sample, command).await
            }
        }
    }

    fn python(&self) -> Result<&Path> {
        match &self.python {
            Ok(bin) => Ok(bin),
            Err(why) => bail!("{why}"),
        }
    }

    /// Returns the binary in sling's package.
    fn sling(&self) -> Result<PathBuf> {
        let libraries = self.python()?.join("../lib");
        fs::read_dir(&libraries)?
            .flatten()
            .map(|version| {
                version
                    .path()
                    .join("site-packages/sling_linux_amd64/bin/sling-linux-amd64")
            })
            .find(|binary| binary.is_file())
            .context("its package has no binary")
    }

    /// Writes the file without repeated keys and runs a program on it. Both count.
    async fn without_repeated_keys(
        &self,
        sample: &Sample,
        command: impl FnOnce(&Path) -> Result<Command>,
    ) -> Result<Run> {
        let unique = self.plan.directory().join("unique.csv");
        let start = Instant::now();
        without_repeated_keys(&sample.clean, &unique)?;
        let prepared = start.elapsed();
        run_program(self.plan.directory(), command(&unique)?).await?;
        Ok(Run {
            seconds: start.elapsed().as_secs_f64(),
            preparing_seconds: Some(prepared.as_secs_f64()),
            ..Run::default()
        })
    }
}

/// Runs a program to its end in a directory, and returns its output.
pub(crate) async fn run_program(directory: &Path, mut command: Command) -> Result<String> {
    let program = command.as_std().get_program().to_owned();
    let output = command
        .current_dir(directory)
        // Reads no configuration of the user and leaves no files behind.
        .env("HOME", directory)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let all: Vec<_> = text.lines().chain(errors.lines()).collect();
    ensure!(
        output.status.success(),
        "it failed ({}): {}",
        output.status,
        all[all.len().saturating_sub(5)..].join(" ")
    );
    Ok(text)
}

/// Returns seconds and name of the fastest load by another tool.
fn fastest(part: &Part, peers: &[Peer], load: &str) -> Option<(f64, String)> {
    peers
        .iter()
        .map(|peer| format!("{}, {load}", peer.name))
        .filter_map(|name| Some((part.seconds(&name)?, name)))
        .min_by(|a, b| a.0.total_cmp(&b.0))
}

/// Writes the last row of each key, in file order, for tools that fail on repeated keys.
fn without_repeated_keys(clean: &Path, to: &Path) -> Result<()> {
    let rows = Rows::read(clean)?;
    let mut kept = rows.last_of_each_key();
    kept.sort_unstable();
    let mut writer = csv::Writer::from_path(to)?;
    writer.write_record(COLUMNS)?;
    for index in kept {
        writer.write_record(rows.get(index))?;
    }
    writer.flush()?;
    Ok(())
}
