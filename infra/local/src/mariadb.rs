//! A private `MariaDB` server, from the machine's own programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use landfall_setup::processes::{self, Process};
use rustix::process::Signal;

use crate::accounts::{Account, password, write_secret};
use crate::servers;

const INSTALL: &str = "apt-get install -y mariadb-server";
const NAME: &str = "landfall";

/// Starts a server on the directory `data`, which is initialised if missing, and returns the URL of its database.
pub(crate) async fn start(
    data: &Path,
    sockets: &Path,
    log: &Path,
    port: u16,
) -> Result<(Process, String)> {
    let server = find("mariadbd")?;
    let account = Account::for_server("mysql")?;
    let password_file = data.with_added_extension("password");
    // Written last, so it also marks a complete initialisation.
    if !password_file.exists() {
        initialise(data, account).await?;
        write_secret(&password_file, &password())?;
    }
    let password = fs::read_to_string(&password_file)
        .with_context(|| format!("cannot read {}", password_file.display()))?;
    account.make_owner(sockets)?;

    let accounts = data.with_added_extension("sql");
    write_secret(
        &accounts,
        &format!(
            "CREATE DATABASE IF NOT EXISTS {NAME} CHARACTER SET utf8mb4;\n\
             CREATE USER IF NOT EXISTS '{NAME}'@'%' IDENTIFIED BY '{password}';\n\
             GRANT ALL ON {NAME}.* TO '{NAME}'@'%';\n"
        ),
    )?;
    account.make_owner(&accounts)?;

    let mut command = command(&server, data);
    command
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
        .arg(format!("--socket={}", sockets.join("mariadb").display()))
        .arg(format!(
            "--pid-file={}",
            sockets.join("mariadb.pid").display()
        ))
        .arg(format!("--init-file={}", accounts.display()))
        // With the default of 128 MiB, every chunk would read most of a large table from disk again.
        .args([
            "--innodb-buffer-pool-size=1G",
            "--innodb-log-file-size=512M",
        ])
        .current_dir(data);
    account.run_as(&mut command);
    // The port opens before the init file has run, but connections are only accepted afterwards.
    let process = servers::start("mariadbd", command, Signal::TERM, port, log).await?;
    Ok((
        process,
        format!("mysql://{NAME}:{password}@127.0.0.1:{port}/{NAME}"),
    ))
}

async fn initialise(data: &Path, account: Account) -> Result<()> {
    let install = find("mariadb-install-db")?;
    account.new_directory(data)?;
    let mut command = command(&install, data);
    command
        .args(["--skip-test-db", "--auth-root-authentication-method=socket"])
        .current_dir(data);
    account.run_as(&mut command);
    processes::run("mariadb-install-db", command, |_| {})
        .await
        .with_context(|| format!("the server's user needs access to {}", data.display()))
}

/// Returns a command that ignores the machine's configuration files.
fn command(program: &Path, data: &Path) -> Command {
    let mut command = processes::command(program);
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()));
    command
}

pub(crate) fn is_installed() -> bool {
    ["mariadbd", "mariadb-install-db"]
        .iter()
        .all(|program| find(program).is_ok())
}

fn find(program: &str) -> Result<PathBuf> {
    let directories = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
    processes::find(program, &directories)
        .with_context(|| format!("MariaDB's {program} is missing: {INSTALL}"))
}
