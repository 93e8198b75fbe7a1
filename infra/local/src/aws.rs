//! Calls of AWS services through boto3, with `aws.py`.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use landfall_setup::watcher::Watcher;
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::endpoint::{ACCESS_KEY, REGION};

const PROGRAM: &str = include_str!("aws.py");

/// Calls functions of `aws.py` with an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Aws {
    /// Python interpreter with boto3.
    pub(crate) python: PathBuf,
    /// URL of the endpoint.
    pub(crate) endpoint: String,
}

impl Aws {
    /// Calls a function with named arguments and returns its result.
    pub(crate) async fn call<T>(&self, function: &str, arguments: &Value) -> Result<T>
    where
        T: DeserializeOwned,
    {
        let mut watcher = Watcher::start(Signal::TERM)?;
        let mut process = Command::new(&self.python)
            .args(["-c", PROGRAM, function])
            .envs([
                ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
                ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
                ("AWS_SECRET_ACCESS_KEY", ACCESS_KEY),
                ("AWS_DEFAULT_REGION", REGION),
                // Nothing from the user's own settings.
                ("AWS_CONFIG_FILE", "/dev/null"),
                ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ])
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", self.python.display()))?;
        watcher.watch(process.id().context("the process has ended")?)?;
        // Not as an argument, which any user could read: it contains passwords.
        let mut input = process.stdin.take().context("a pipe is missing")?;
        input.write_all(arguments.to_string().as_bytes()).await?;
        drop(input);
        let output = process.wait_with_output().await?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("unexpected output of {function} in aws.py"))
    }
}
