//! Processes that end with the stack: each in a group of its own, stopped group by group.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A running process, with all that it starts in turn. Dropping it stops both.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    stop: Signal,
    ended: bool,
}

impl Process {
    /// Starts `command`, which `stop` asks to end in an orderly way.
    pub(crate) fn start(name: &str, mut command: Command, stop: Signal) -> Result<Self> {
        command.process_group(0);
        let child = spawn(command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            stop,
            ended: false,
        })
    }

    /// Why it ended, if it has.
    pub(crate) fn exit(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("cannot ask after {}", self.name))
    }

    /// Asks it to end, insists after `grace`, and ends what it left in its group.
    pub(crate) fn stop(&mut self, grace: Duration) {
        if self.ended {
            return;
        }
        self.ended = true;
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return;
        };
        // A process that is gone, or a group that is empty, is what is wanted: no error to tell.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = kill_process(pid, self.stop);
            let deadline = Instant::now() + grace;
            while Instant::now() < deadline && !matches!(self.child.try_wait(), Ok(Some(_))) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
    }

    /// The lines of its standard output and standard error, as they come.
    fn lines(&mut self) -> tokio::sync::mpsc::UnboundedReceiver<String> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        if let Some(output) = self.child.stdout.take() {
            forward(output, sender.clone());
        }
        if let Some(output) = self.child.stderr.take() {
            forward(output, sender);
        }
        receiver
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(5));
    }
}

/// Runs `command` to its end and hands each line that it prints to `line`. Its last lines are the error.
pub(crate) async fn run(name: &str, command: Command, line: impl FnMut(&str)) -> Result<()> {
    run_with(name, command, Stdio::null(), line).await
}

/// Like [`run`], with something to read.
pub(crate) async fn run_with(
    name: &str,
    mut command: Command,
    input: impl Into<Stdio>,
    mut line: impl FnMut(&str),
) -> Result<()> {
    command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = Process::start(name, command, Signal::TERM)?;
    let mut lines = process.lines();
    let mut tail = VecDeque::new();
    while let Some(text) = lines.recv().await {
        line(&text);
        // Bars that redraw themselves would push the reason out of the tail.
        if bar(&text).is_none() {
            tail.push_back(text);
        }
        if tail.len() > 30 {
            tail.pop_front();
        }
    }
    let status = loop {
        if let Some(status) = process.exit()? {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    if !status.success() {
        let tail: Vec<_> = tail.into_iter().collect();
        bail!("{name} failed ({status}):\n{}", tail.join("\n"));
    }
    Ok(())
}

/// The "done/all" of a progress bar of cargo's.
pub(crate) fn bar(line: &str) -> Option<&str> {
    let count = line
        .trim_start()
        .strip_prefix("Building [")?
        .split("] ")
        .nth(1)?
        .split(':')
        .next()?;
    count.contains('/').then_some(count)
}

/// A command whose process is told to end when this one dies, however it dies (where the system can).
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    static GUARD: OnceLock<Option<PathBuf>> = OnceLock::new();
    let guard = GUARD.get_or_init(|| {
        let setpriv = find("setpriv", &[])?;
        let help = Command::new(&setpriv).arg("--help").output().ok()?;
        String::from_utf8_lossy(&help.stdout)
            .contains("--pdeathsig")
            .then_some(setpriv)
    });
    if let Some(setpriv) = guard {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "TERM"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Takes from a command what a surrounding `cargo run` sets, and what would make build scripts run again.
pub fn as_from_a_shell(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let of_cargo_run = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ]
        .iter()
        .any(|prefix| text.starts_with(prefix));
        if of_cargo_run || text == "CARGO" || text == "LD_LIBRARY_PATH" {
            command.env_remove(&name);
        }
    }
}

/// A cargo that shows its progress.
pub(crate) fn cargo(program: &Path) -> Command {
    let mut command = command(program);
    as_from_a_shell(&mut command);
    command
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100")
        .env("CARGO_TERM_COLOR", "never");
    command
}

/// Where `program` is: on the `PATH`, or in one of `more`.
pub(crate) fn find(program: &str, more: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(more.iter().cloned())
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// The `PATH` with `first` before it.
pub(crate) fn path_with(first: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(first.to_owned()).chain(std::env::split_paths(&path)))
        .context("the PATH cannot be extended")
}

/// A loopback port that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
    Ok(listener.local_addr()?.port())
}

/// Waits until `process` answers on `port`; its `log` tells why it does not.
pub(crate) async fn wait_for_port(
    process: &mut Process,
    port: u16,
    log: &Path,
    within: Duration,
) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_until(process, log, within, || {
        TcpStream::connect_timeout(&address, Duration::from_millis(200))
            .ok()
            .map(drop)
    })
    .await
}

/// Waits until `ready` answers, `process` ends, or time is up.
pub(crate) async fn wait_until<T>(
    process: &mut Process,
    log: &Path,
    within: Duration,
    ready: impl Fn() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = process.exit()? {
            bail!("{} ended at once ({status}):\n{}", process.name, tail(log));
        }
        if let Some(answer) = ready() {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!(
                "{} was not ready after {} s:\n{}",
                process.name,
                within.as_secs(),
                tail(log)
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends what `command` prints to the file `log`.
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

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn forward(output: impl Read + Send + 'static, sender: tokio::sync::mpsc::UnboundedSender<String>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        // Bars end with a carriage return, all else with a newline.
        while let Ok(count) = read_until_either(&mut reader, &mut line) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if count == 0 || (!text.is_empty() && sender.send(text).is_err()) {
                break;
            }
            line.clear();
        }
    });
}

fn read_until_either(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut taken = 0;
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(taken);
        }
        let end = available
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n'));
        let count = end.map_or(available.len(), |position| position + 1);
        line.extend_from_slice(&available[..count]);
        reader.consume(count);
        taken += count;
        if end.is_some() {
            return Ok(taken);
        }
    }
}

/// Starts processes from one thread that lives as long as this process does: the death signal of a
/// process goes out when the *thread* that started it ends, and threads of a runtime come and go.
fn spawn(command: Command) -> Result<Child> {
    type Job = (Command, mpsc::Sender<std::io::Result<Child>>);
    static STARTER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        jobs
    });
    let program = command.get_program().to_owned();
    let (answer, child) = mpsc::channel();
    starter
        .send((command, answer))
        .ok()
        .context("the thread that starts processes has ended")?;
    child
        .recv()
        .context("the thread that starts processes has ended")?
        .with_context(|| format!("cannot run {}", program.display()))
}
