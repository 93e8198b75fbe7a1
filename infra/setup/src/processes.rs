//! Child processes, each in its own process group, which stop when their [`Process`] is dropped.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{BufReader, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::progress::Progress;
use crate::watcher::Watcher;

/// Lines of output that the error of a failed command shows.
const TAIL_LINES: usize = 60;
/// How long a process may take to shut down. The AWS endpoint saves its state.
const GRACE: Duration = Duration::from_secs(15);

/// A running process and everything it starts. Dropping it stops both, and so does the death of this process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stop_signal: Signal,
    // Dropped when the process has been stopped.
    watcher: Watcher,
}

impl Process {
    /// Starts `command`. `stop_signal` is the signal that makes it shut down in an orderly way.
    pub fn start(name: &str, mut command: Command, stop_signal: Signal) -> Result<Self> {
        command.process_group(0);
        let watcher = Watcher::start(stop_signal)?;
        let program = command.get_program().to_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}: cannot run {}", program.display()))?;
        let mut process = Self {
            name: name.to_owned(),
            child,
            stop_signal,
            watcher,
        };
        process.watcher.watch(process.child.id())?;
        Ok(process)
    }

    /// Name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a signal to the process and its group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("the process has no valid id")?;
        kill_process_group(pid, signal)
            .with_context(|| format!("cannot send {signal:?} to {}", self.name))
    }

    /// Returns the exit status if the process has exited.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("cannot read the status of {}", self.name))
    }
}

impl Drop for Process {
    /// Sends the stop signal, kills the process if it does not exit in time, and kills what is left of its group.
    fn drop(&mut self) {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return;
        };
        // The calls below fail if the process or its group is already gone, which is what is wanted.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = kill_process(pid, self.stop_signal);
            let deadline = Instant::now() + GRACE;
            while Instant::now() < deadline && !matches!(self.child.try_wait(), Ok(Some(_))) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end and calls `on_line` for each line of output. On failure, the error holds the last lines.
pub async fn run(name: &str, mut command: Command, mut on_line: impl FnMut(&str)) -> Result<()> {
    let (output, writer) = std::io::pipe().context("cannot create a pipe")?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut process = Process::start(name, command, Signal::TERM)?;
    let mut lines = lines(output);
    let mut tail = VecDeque::new();
    while let Some(line) = lines.recv().await {
        on_line(&line);
        if !is_cargo_progress(&line) {
            tail.push_back(line);
        }
        if tail.len() > TAIL_LINES {
            tail.pop_front();
        }
    }
    let status = loop {
        if let Some(status) = process.exit_status()? {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    if !status.success() {
        let tail = tail.make_contiguous().join("\n");
        bail!("{name} failed ({status}):\n{tail}");
    }
    Ok(())
}

/// Streams the lines of an output.
fn lines(output: PipeReader) -> UnboundedReceiver<String> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let bytes = BufReader::new(output).bytes().map_while(Result::ok);
        let mut line = Vec::new();
        for byte in bytes.chain([b'\n']) {
            // Progress bars end with a carriage return, all else with a newline.
            if !matches!(byte, b'\r' | b'\n') {
                line.push(byte);
                continue;
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if !text.is_empty() && sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });
    receiver
}

/// Like [`run`], for cargo or a program that runs cargo. Reports the number of crates built in the step `title`.
pub(crate) async fn run_cargo(
    name: &str,
    command: Command,
    title: &str,
    progress: &dyn Progress,
) -> Result<()> {
    run(name, command, |line| {
        if let Some(count) = crate_count(line) {
            progress.step(&format!("{title}: {count} crates"));
        }
    })
    .await
}

/// Returns the "done/total" of a progress bar of cargo.
fn crate_count(line: &str) -> Option<&str> {
    let count = line
        .trim_start()
        .strip_prefix("Building [")?
        .split("] ")
        .nth(1)?
        .split(':')
        .next()?;
    count.contains('/').then_some(count)
}

/// Whether a line of cargo shows progress, and would push errors out of the tail.
fn is_cargo_progress(line: &str) -> bool {
    ["Building [", "Compiling ", "Downloaded ", "Downloading "]
        .iter()
        .any(|start| line.trim_start().starts_with(start))
}

/// Returns a command without input.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Removes the variables that a surrounding `cargo run` sets. They would make build scripts run again.
pub fn remove_cargo_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_set_by_cargo = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ]
        .iter()
        .any(|prefix| text.starts_with(prefix));
        if is_set_by_cargo || text == "CARGO" || text == "LD_LIBRARY_PATH" {
            command.env_remove(&name);
        }
    }
}

/// Returns a command for cargo, or for a program that runs cargo, which prints its progress to a pipe too.
pub(crate) fn cargo(program: &Path) -> Command {
    let mut command = command(program);
    remove_cargo_variables(&mut command);
    command
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100")
        .env("CARGO_TERM_COLOR", "never");
    command
}

/// Finds `program` on the `PATH`, then in the directories `more`.
pub fn find(program: &str, more: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(more.iter().cloned())
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// Returns the `PATH` with `directory` in front.
pub fn path_with(directory: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(directory.to_owned()).chain(std::env::split_paths(&path)))
        .with_context(|| format!("cannot put {} on the PATH", directory.display()))
}

/// Installs the signal handlers and returns a future that completes on SIGINT or SIGTERM. Signals that arrive before
/// the first poll are not lost.
pub fn shutdown_signal() -> Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut interrupt, mut terminate) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::crate_count;

    #[test]
    fn the_crate_count_is_read_from_cargos_progress_bar() {
        let bar = "    Building [====>     ] 123/456: serde, tokio(build)";
        assert_eq!(crate_count(bar), Some("123/456"));
        assert_eq!(crate_count("   Compiling serde v1.0.0"), None);
    }
}
