//! The AWS endpoint: `MiniStack`, which runs the functions as processes on this machine.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, RequestChecksumCalculation, SharedCredentialsProvider};
use rustix::process::Signal;

use landfall_setup::processes::{self, Process};

use crate::servers;

/// `MiniStack` does not check credentials, but the access key selects an account.
pub(crate) const ACCESS_KEY: &str = "test";
pub(crate) const REGION: &str = "us-east-1";
/// Runs `python -m ministack` without two delays:
/// - `MiniStack` sends each invocation to its function in two writes. With Nagle's algorithm, the second waits 40 ms
///   for the acknowledgement of the first.
/// - After polling an empty queue, it waits 50 ms before it polls again.
const PROGRAM: &str = "import runpy, socketserver\n\
    from ministack.services import lambda_svc\n\
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True\n\
    lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS = 0.002\n\
    runpy.run_module('ministack', run_name='__main__', alter_sys=True)";
/// Put before [`PROGRAM`], has the rules of the puller and the relay fire every few seconds, which no rule of AWS can.
/// At most three instances of a function run at a time: dozens that work on the same keys would only wait for each
/// other.
const OFTEN: &str = "
import os
from ministack.services import eventbridge, lambda_svc

running = []

def execute(record, event, run=lambda_svc._execute_function_with_config_scope):
    name = (record.get('config') or record)['FunctionName']
    running.append(name)
    try:
        return run(record, event)
    finally:
        running.remove(name)

def fire(tick=eventbridge._tick_scheduled_rules):
    for key in list(eventbridge._rule_last_fired):
        for function in ('Puller', 'Relay'):
            if function in key[2] and sum(function in name for name in running.copy()) < 3:
                eventbridge._rule_last_fired[key] = 0
    tick()

lambda_svc._execute_function_with_config_scope = execute
eventbridge._SCHEDULER_TICK_INTERVAL = float(os.environ['LANDFALL_PULL_SECONDS'])
eventbridge._tick_scheduled_rules = fire
";

/// Starts an endpoint and returns its address. With `pull_every`, the puller and the relay run that often. State kept
/// in `kept` contains the port, so the port is kept too.
pub(crate) async fn start(
    python_bin: &Path,
    scratch: &Path,
    kept: Option<&Path>,
    log: &Path,
    pull_every: Option<Duration>,
) -> Result<(Process, String)> {
    let port_file = kept.map(|directory| directory.join("port"));
    if let Some(file) = port_file.as_deref().filter(|file| file.exists()) {
        let port: u16 = std::fs::read_to_string(file)?
            .trim()
            .parse()
            .with_context(|| format!("{} holds no port", file.display()))?;
        let process = launch(python_bin, scratch, kept, log, port, pull_every).await;
        let process = process.with_context(|| {
            format!("the data in this directory needs port {port}, which is in use")
        })?;
        return Ok((process, address(port)));
    }
    // Another process may bind the port first.
    for _ in 0..3 {
        let port = servers::free_port()?;
        match launch(python_bin, scratch, kept, log, port, pull_every).await {
            Ok(process) => {
                if let Some(file) = port_file {
                    std::fs::write(&file, port.to_string())
                        .with_context(|| format!("cannot write {}", file.display()))?;
                }
                return Ok((process, address(port)));
            }
            Err(_) if servers::tail(log).contains("already in use") => {}
            Err(error) => return Err(error),
        }
    }
    bail!("no free port for the AWS endpoint")
}

fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Returns host and port of an address, the form that the template expects.
pub(crate) fn authority(address: &str) -> &str {
    address.trim_start_matches("http://")
}

async fn launch(
    python_bin: &Path,
    scratch: &Path,
    kept: Option<&Path>,
    log: &Path,
    port: u16,
    pull_every: Option<Duration>,
) -> Result<Process> {
    let mut command = processes::command(python_bin.join("python"));
    let often = pull_every.map_or("", |_| OFTEN);
    command
        .arg("-c")
        .arg(format!("{often}{PROGRAM}"))
        // The functions inherit this environment, so it must not contain the user's.
        .env_clear()
        .env("PATH", processes::path_with(python_bin)?)
        .env("HOME", scratch)
        .env("TMPDIR", scratch)
        .env("PYTHONUNBUFFERED", "1")
        .env("GATEWAY_PORT", port.to_string())
        .env("BIND_HOST", "127.0.0.1")
        .env("MINISTACK_HOST", "127.0.0.1")
        .env("MINISTACK_REGION", REGION)
        .env("AWS_ENDPOINT_URL", address(port))
        .env("LAMBDA_EXECUTOR", "local")
        // No containers, and no ports for services that are not used.
        .env("DOCKER_HOST", "unix:///nonexistent")
        .env("IOT_MTLS_ENABLED", "0")
        .env("SFTP_ENABLED", "0")
        .current_dir(scratch);
    if let Some(every) = pull_every {
        command.env("LANDFALL_PULL_SECONDS", every.as_secs_f64().to_string());
    }
    let state = kept.unwrap_or(scratch);
    command
        .env("STATE_DIR", state.join("state"))
        .env("S3_DATA_DIR", state.join("s3"));
    if kept.is_some() {
        command.env("PERSIST_STATE", "1").env("S3_PERSIST", "1");
    }
    servers::start("MiniStack", command, Signal::TERM, port, log).await
}

/// Returns a configuration with path-style addresses: a name such as `<bucket>.127.0.0.1` does not resolve.
pub(crate) fn s3_config(config: &SdkConfig) -> aws_sdk_s3::Config {
    aws_sdk_s3::config::Builder::from(config)
        .force_path_style(true)
        .build()
}

/// Returns S3 settings for uploads without checksums: hashing large files takes longer than sending them. The
/// connection is local. Payload signing must be disabled as well, because it hashes too.
pub(crate) fn without_checksums() -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::config::Builder::new()
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
}

/// Returns a configuration for the endpoint that ignores the user's own AWS settings.
pub(crate) fn sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(ACCESS_KEY, ACCESS_KEY, None, None, "landfall-local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .build()
}
