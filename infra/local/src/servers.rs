//! What starting any server needs: a port, a log file, and a wait until it is ready.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use landfall_setup::processes::Process;
use rustix::process::Signal;

/// Lines of a server's log that an error shows.
const TAIL_LINES: usize = 20;
/// How long a server may take to start.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Returns a loopback port that nothing listens on.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
    Ok(listener.local_addr()?.port())
}

/// Starts a server that writes its output to the file `log`, and waits until it accepts connections on `port`.
pub(crate) async fn start(
    name: &str,
    command: Command,
    stop_signal: Signal,
    port: u16,
    log: &Path,
) -> Result<Process> {
    let mut process = launch(name, command, stop_signal, log)?;
    wait_for_port(&mut process, port, log).await?;
    Ok(process)
}

/// Starts a server that writes its output to the file `log`.
pub(crate) fn launch(
    name: &str,
    mut command: Command,
    stop_signal: Signal,
    log: &Path,
) -> Result<Process> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    Process::start(name, command, stop_signal)
}

/// Waits until `process` accepts connections on `port`.
pub(crate) async fn wait_for_port(process: &mut Process, port: u16, log: &Path) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_until(process, log, || {
        TcpStream::connect_timeout(&address, Duration::from_millis(200))
            .ok()
            .map(drop)
    })
    .await
}

/// Waits until `ready` returns a value. Fails with the end of `log` when `process` exits or takes too long.
pub(crate) async fn wait_until<T>(
    process: &mut Process,
    log: &Path,
    ready: impl Fn() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(status) = process.exit_status()? {
            bail!(
                "{} exited while starting ({status}):\n{}",
                process.name(),
                tail(log)
            );
        }
        if let Some(value) = ready() {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!(
                "{} was not ready after {} s:\n{}",
                process.name(),
                TIMEOUT.as_secs(),
                tail(log)
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Returns the last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
