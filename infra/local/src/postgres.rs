//! A private PostgreSQL cluster, from the programs of the machine.
//!
//! It gets 1 GB for pages and may let its log grow to 4 GB; the defaults are 128 MB and 1 GB. The module docs of
//! the PostgreSQL store explain why.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use landfall_setup::processes::{self, Process};
use rustix::process::Signal;

use crate::accounts::{Account, password, write_secret};
use crate::servers;

const INSTALL: &str = "apt-get install -y postgresql";
const NAME: &str = "landfall";

/// Starts a cluster on the directory `data`, which is initialised if missing, and returns the URL of its database.
pub(crate) async fn start(data: &Path, log: &Path, port: u16) -> Result<(Process, String)> {
    let server = program("postgres")?;
    let account = Account::for_server("postgres")?;
    let password_file = data.with_added_extension("password");
    // Written last, so it also marks a complete initialisation.
    if !password_file.exists() {
        initialise(data, &password_file, account).await?;
    }
    let password = fs::read_to_string(&password_file)
        .with_context(|| format!("cannot read {}", password_file.display()))?;

    let mut command = processes::command(server);
    command
        .arg("-D")
        .arg(data)
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""])
        // With the default of 128 MB, every chunk would read most of a large table from disk again.
        .args(["-c", "shared_buffers=1GB"])
        // With the default, a large load causes many checkpoints, and each makes the log grow by full page images.
        .args(["-c", "max_wal_size=4GB"])
        .current_dir(data);
    account.run_as(&mut command);
    // SIGINT is the fast shutdown; SIGTERM waits for every client to disconnect.
    let process = servers::start("postgres", command, Signal::INT, port, log).await?;
    Ok((
        process,
        format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{NAME}"),
    ))
}

async fn initialise(data: &Path, password_file: &Path, account: Account) -> Result<()> {
    let (server, initdb) = (program("postgres")?, program("initdb")?);
    account.new_directory(data)?;

    let unfinished = password_file.with_added_extension("new");
    write_secret(&unfinished, &password())?;
    account.make_owner(&unfinished)?;
    let mut command = processes::command(initdb);
    command
        .args(["--username", NAME, "--auth", "scram-sha-256"])
        .args(["--encoding", "UTF8", "--locale", "C.UTF-8", "--pwfile"])
        .arg(&unfinished)
        .arg("--pgdata")
        .arg(data)
        .current_dir(data);
    account.run_as(&mut command);
    processes::run("initdb", command, |_| {})
        .await
        .with_context(|| format!("the server's user needs access to {}", data.display()))?;

    let statement = data.with_added_extension("sql");
    fs::write(&statement, format!("CREATE DATABASE {NAME}\n"))?;
    let mut command = processes::command(server);
    command
        .args(["--single", "-D"])
        .arg(data)
        .arg("postgres")
        .stdin(File::open(&statement)?)
        .current_dir(data);
    account.run_as(&mut command);
    processes::run("postgres --single", command, |_| {}).await?;
    fs::remove_file(&statement)?;
    fs::rename(&unfinished, password_file)?;
    Ok(())
}

pub(crate) fn is_installed() -> bool {
    ["postgres", "initdb"]
        .iter()
        .all(|name| program(name).is_ok())
}

/// Returns the path of a program from the server's package.
pub fn program(name: &str) -> Result<PathBuf> {
    processes::find(name, &directories())
        .with_context(|| format!("PostgreSQL's {name} is missing: {INSTALL}"))
}

/// Returns the directories where Debian installs the server's programs, newest version first.
fn directories() -> Vec<PathBuf> {
    let mut versions: Vec<u32> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable();
    versions
        .into_iter()
        .rev()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .collect()
}
