//! The AWS endpoint: `MiniStack`, which runs the functions' zips as processes of this machine.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use rustix::process::Signal;

use crate::processes::{self, Process};

/// `MiniStack` checks no credentials; these name its account.
pub(crate) const ACCESS_KEY: &str = "test";
pub(crate) const REGION: &str = "us-east-1";
const WITHIN: Duration = Duration::from_mins(1);
/// As `python -m ministack`, but for two waits:
/// - It hands each invocation to its function in two writes, of which the second would wait for the first to be
///   acknowledged: 40 ms, with what TCP does unless told.
/// - After a look into its queues that found nothing, it would not look again for 50 ms, whatever is sent meanwhile.
const PROGRAM: &str = "import runpy, socketserver\n\
    from ministack.services import lambda_svc\n\
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True\n\
    lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS = 0.002\n\
    runpy.run_module('ministack', run_name='__main__', alter_sys=True)";

/// Starts an endpoint and says its address. What it keeps under `kept` names its port, so it keeps that too.
pub(crate) async fn start(
    python_bin: &Path,
    scratch: &Path,
    kept: Option<&Path>,
    log: &Path,
) -> Result<(Process, String)> {
    let port_file = kept.map(|directory| directory.join("port"));
    if let Some(file) = port_file.as_deref().filter(|file| file.exists()) {
        let port: u16 = std::fs::read_to_string(file)?
            .trim()
            .parse()
            .with_context(|| format!("{} holds no port", file.display()))?;
        let mut process = launch(python_bin, scratch, kept, log, port)?;
        processes::wait_for_port(&mut process, port, log, WITHIN)
            .await
            .with_context(|| {
                format!("the kept data is bound to port {port}, which must be free")
            })?;
        return Ok((process, address(port)));
    }
    // Another process may take the port between its choice and its use.
    for _ in 0..3 {
        let port = processes::free_port()?;
        let mut process = launch(python_bin, scratch, kept, log, port)?;
        match processes::wait_for_port(&mut process, port, log, WITHIN).await {
            Ok(()) => {
                if let Some(file) = port_file {
                    std::fs::write(&file, port.to_string())
                        .with_context(|| format!("cannot write {}", file.display()))?;
                }
                return Ok((process, address(port)));
            }
            Err(_) if processes::tail(log).contains("already in use") => {}
            Err(error) => return Err(error),
        }
    }
    bail!("no free port for the AWS endpoint")
}

fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Host and port of an address, as the template takes them.
pub(crate) fn authority(address: &str) -> &str {
    address.trim_start_matches("http://")
}

fn launch(
    python_bin: &Path,
    scratch: &Path,
    kept: Option<&Path>,
    log: &Path,
    port: u16,
) -> Result<Process> {
    let mut command = processes::command(python_bin.join("python"));
    command
        .args(["-c", PROGRAM])
        // The functions get its environment, so it gets nothing of the user's.
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
        // It must neither look for containers nor open ports of services that nobody asked for.
        .env("DOCKER_HOST", "unix:///nonexistent")
        .env("IOT_MTLS_ENABLED", "0")
        .env("SFTP_ENABLED", "0")
        .current_dir(scratch);
    let state = kept.unwrap_or(scratch);
    command
        .env("STATE_DIR", state.join("state"))
        .env("S3_DATA_DIR", state.join("s3"));
    if kept.is_some() {
        command.env("PERSIST_STATE", "1").env("S3_PERSIST", "1");
    }
    processes::log_to(&mut command, log)?;
    Process::start("MiniStack", command, Signal::TERM)
}

/// S3 by paths: a name as `<bucket>.127.0.0.1` would not resolve.
pub(crate) fn s3_config(config: &SdkConfig) -> aws_sdk_s3::Config {
    aws_sdk_s3::config::Builder::from(config)
        .force_path_style(true)
        .build()
}

/// How to reach it, whatever the user's own AWS settings are.
pub(crate) fn sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(ACCESS_KEY, ACCESS_KEY, None, None, "landfall-local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .build()
}
