//! A `MongoDB`: a `mongod` on the `PATH`, else `secantusd-rs`, which is built once into the cache.
//!
//! `secantusd-rs` speaks `MongoDB`'s wire protocol over the `WiredTiger` engine. It is under the GPL, so it
//! only ever runs as a process of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::processes::{self, Process};
use crate::progress::Progress;
use crate::tools::{self, Tool};
use crate::{cache, python};

const SECANTUS: Tool = Tool {
    name: "secantus-mdb",
    version: "0.5.3-beta.193",
    flags: &["--ignore-rust-version"],
};
const PROGRAM: &str = "secantusd-rs";

/// Which server there is to start.
#[derive(Debug)]
pub(crate) enum Server {
    Mongod(PathBuf),
    Secantus(PathBuf),
}

/// Finds a server, or builds one.
pub(crate) async fn provide(progress: &dyn Progress) -> Result<Server> {
    if let Some(mongod) = processes::find("mongod", &[]) {
        return Ok(Server::Mongod(mongod));
    }
    let directory = cache::directory()?.join(format!("{}-{}", SECANTUS.name, SECANTUS.version));
    cache::make_once(&directory, "the local MongoDB", progress, async || {
        build(&directory, progress).await
    })
    .await
    .context("cannot make the local MongoDB (a mongod on the PATH, or the URI of a running one, serves too)")?;
    Ok(Server::Secantus(directory.join("bin").join(PROGRAM)))
}

async fn build(directory: &Path, progress: &dyn Progress) -> Result<()> {
    if processes::find("cc", &[]).is_none() || processes::find("c++", &[]).is_none() {
        bail!("no C compiler: apt-get install -y build-essential");
    }
    let bin = python::environment(python::Requirements::Run, progress).await?;
    progress.note(&format!(
        "building the local MongoDB ({} {} from crates.io: WiredTiger under MongoDB's wire protocol) into {}; \
         this takes some minutes, once for this machine",
        SECANTUS.name,
        SECANTUS.version,
        directory.display()
    ));
    // It needs cmake, which the environment has.
    let path = processes::path_with(&bin)?;
    tools::install(SECANTUS, directory, Some(path), progress).await
}

/// Starts a server on `data` and says its URI.
pub(crate) async fn start(server: &Server, data: &Path, log: &Path) -> Result<(Process, String)> {
    std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    let (process, port) = match server {
        Server::Mongod(program) => {
            let port = processes::free_port()?;
            let mut command = processes::command(program);
            command
                .args(["--bind_ip", "127.0.0.1", "--port", &port.to_string()])
                .args(["--nounixsocket", "--dbpath"])
                .arg(data);
            processes::log_to(&mut command, log)?;
            let mut process = Process::start("mongod", command, Signal::TERM)?;
            processes::wait_for_port(&mut process, port, log, Duration::from_mins(1)).await?;
            (process, port)
        }
        Server::Secantus(program) => {
            // Without a file of its own it would read one of the user's.
            let config = data.join("secantusd.toml");
            std::fs::write(&config, "")?;
            let mut command = processes::command(program);
            command
                .args([
                    "--port",
                    "0",
                    "--cache-size",
                    "256M",
                    "--log-file-max",
                    "16MB",
                ])
                .arg("--config")
                .arg(&config)
                .arg("--storage-path")
                .arg(data)
                .current_dir(data);
            let seen = std::fs::metadata(log).map_or(0, |log| log.len());
            processes::log_to(&mut command, log)?;
            let mut process = Process::start(PROGRAM, command, Signal::TERM)?;
            let within = Duration::from_mins(1);
            let port =
                processes::wait_until(&mut process, log, within, || port_in(log, seen)).await?;
            processes::wait_for_port(&mut process, port, log, within).await?;
            (process, port)
        }
    };
    Ok((
        process,
        format!("mongodb://127.0.0.1:{port}/landfall?directConnection=true"),
    ))
}

/// The port that the server says it took, in what it logged after the first `seen` bytes.
fn port_in(log: &Path, seen: u64) -> Option<u16> {
    let bytes = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(bytes.get(usize::try_from(seen).ok()?..)?).into_owned();
    let (_, rest) = text.split_once("127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    // More has to follow, or the number might be cut short.
    (digits.len() < rest.len()).then(|| digits.parse().ok())?
}
