//! What starting any server needs: a port, a log file, and a wait until it is ready.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use landfall_setup::processes::Process;

/// Lines of a server's log that an error shows.
const TAIL_LINES: usize = 20;

/// Returns a loopback port that nothing listens on.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
    Ok(listener.local_addr()?.port())
}

/// Waits until `process` accepts connections on `port`.
pub(crate) async fn wait_for_port(
    process: &mut Process,
    port: u16,
    log: &Path,
    timeout: Duration,
) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_until(process, log, timeout, || {
        TcpStream::connect_timeout(&address, Duration::from_millis(200))
            .ok()
            .map(drop)
    })
    .await
}

/// Waits until `ready` returns a value. Fails with the end of `log` when `process` exits or the timeout passes.
pub(crate) async fn wait_until<T>(
    process: &mut Process,
    log: &Path,
    timeout: Duration,
    ready: impl Fn() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
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
                timeout.as_secs(),
                tail(log)
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Redirects the output of `command` to the file `log`.
pub(crate) fn log_to(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    Ok(())
}

/// Returns the last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
