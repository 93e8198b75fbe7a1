//! The functions' processes, found in `/proc`.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// A process of a function. An endpoint starts one for each concurrent invocation, and keeps it for later ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionProcess {
    /// Its process id.
    pub id: u32,
    /// The name of the function.
    pub function: String,
}

impl FunctionProcess {
    /// Kills the process, as Lambda does when a function runs out of memory or time. Returns whether it ran.
    pub fn kill(&self) -> Result<bool> {
        let id = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        let id = id.with_context(|| format!("{} is not a process id", self.id))?;
        match kill_process(id, Signal::KILL) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error).context("cannot kill a function"),
        }
    }
}

/// Returns the processes of the functions of an endpoint.
pub(crate) fn function_processes(endpoint: &str) -> Vec<FunctionProcess> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found = ids.filter_map(|id| {
        let function = function_of(id, endpoint)?;
        Some(FunctionProcess { id, function })
    });
    found.collect()
}

fn function_of(id: u32, endpoint: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{id}/environ")).ok()?;
    let value = |name: &str| {
        environment
            .split(|byte| *byte == 0)
            .filter_map(|variable| std::str::from_utf8(variable).ok()?.split_once('='))
            .find_map(|(found, value)| (found == name).then(|| value.to_owned()))
    };
    let function = value("AWS_LAMBDA_FUNCTION_NAME")?;
    (value("AWS_ENDPOINT_URL")? == endpoint).then_some(function)
}
