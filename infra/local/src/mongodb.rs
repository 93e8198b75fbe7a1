//! Starts a `MongoDB` server.

use std::path::Path;

use anyhow::{Context, Result};
use landfall_setup::mongodb::Server;
use landfall_setup::processes::{self, Process};
use rustix::process::Signal;

use crate::servers;

/// Starts a server on the directory `data` and returns its URI.
pub(crate) async fn start(server: &Server, data: &Path, log: &Path) -> Result<(Process, String)> {
    std::fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
    let (process, port) = match server {
        Server::Mongod(program) => {
            let port = servers::free_port()?;
            let mut command = processes::command(program);
            command
                .args(["--bind_ip", "127.0.0.1", "--port", &port.to_string()])
                .args(["--nounixsocket", "--dbpath"])
                .arg(data);
            let process = servers::start("mongod", command, Signal::TERM, port, log).await?;
            (process, port)
        }
        Server::Secantus(program) => {
            // An empty file, because it would read the user's otherwise.
            let config = data.join("secantusd.toml");
            std::fs::write(&config, "")?;
            let mut command = processes::command(program);
            command
                .args(["--port", "0", "--cache-size", "256M"])
                .args(["--log-file-max", "16MB"])
                .arg("--config")
                .arg(&config)
                .arg("--storage-path")
                .arg(data)
                .current_dir(data);
            let logged = std::fs::metadata(log).map_or(0, |log| log.len());
            let mut process = servers::launch("secantusd-rs", command, Signal::TERM, log)?;
            let port = servers::wait_until(&mut process, log, || logged_port(log, logged)).await?;
            servers::wait_for_port(&mut process, port, log).await?;
            (process, port)
        }
    };
    Ok((
        process,
        format!("mongodb://127.0.0.1:{port}/landfall?directConnection=true"),
    ))
}

/// Returns the port that the server logged after the first `skip` bytes of its log.
fn logged_port(log: &Path, skip: u64) -> Option<u16> {
    let bytes = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(bytes.get(usize::try_from(skip).ok()?..)?).into_owned();
    let (_, rest) = text.split_once("127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    // Without a following character, the number may be incomplete.
    (digits.len() < rest.len()).then(|| digits.parse().ok())?
}
