//! Starts a `MongoDB` server.

use std::path::Path;

use anyhow::{Context, Result};
use landfall_setup::mongodb::Server;
use landfall_setup::processes::{self, Process};
use rustix::process::Signal;

use crate::servers;

/// Starts a server on the directory `data` and returns its URI.
pub(crate) async fn start(
    server: &Server,
    data: &Path,
    log: &Path,
    port: u16,
) -> Result<(Process, String)> {
    std::fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
    let process = match server {
        Server::Mongod(program) => {
            let mut command = processes::command(program);
            command
                .args(["--bind_ip", "127.0.0.1", "--port", &port.to_string()])
                .args(["--nounixsocket", "--dbpath"])
                .arg(data);
            servers::start("mongod", command, Signal::TERM, port, log).await?
        }
        Server::Secantus(program) => {
            // An empty file, because it would read the user's otherwise.
            let config = data.join("secantusd.toml");
            std::fs::write(&config, "")?;
            let mut command = processes::command(program);
            command
                .args(["--port", &port.to_string(), "--cache-size", "256M"])
                .args(["--log-file-max", "16MB"])
                .arg("--config")
                .arg(&config)
                .arg("--storage-path")
                .arg(data)
                .current_dir(data);
            servers::start("secantusd-rs", command, Signal::TERM, port, log).await?
        }
    };
    Ok((
        process,
        format!("mongodb://127.0.0.1:{port}/landfall?directConnection=true"),
    ))
}
