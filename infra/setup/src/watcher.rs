//! Stops processes when this one dies, in whatever way.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::Signal;

/// Waits until the pipe from this process closes, then stops the process group whose id it has read.
const PROGRAM: &str = "read -r group || exit; cat >/dev/null; \
    kill -\"$1\" \"-$group\"; sleep 1; kill -9 \"-$group\"";

/// A process that stops a process group when this process dies, even from SIGKILL: first with a signal, and after one
/// second with SIGKILL. Dropping it ends only the watch.
#[derive(Debug)]
pub struct Watcher(Child);

impl Watcher {
    /// Starts a watcher. Start it before the group, which is otherwise left behind if this process dies between the
    /// two.
    pub fn start(stop_signal: Signal) -> Result<Self> {
        Command::new("sh")
            .args(["-c", PROGRAM, "sh", &stop_signal.as_raw().to_string()])
            // Out of reach of what stops this process with its group, such as Ctrl-C.
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
            .context("cannot run sh")
    }

    /// Watches the process group with this id.
    pub fn watch(&mut self, group: u32) -> Result<()> {
        let pipe = self.0.stdin.as_mut().context("a pipe is missing")?;
        writeln!(pipe, "{group}").context("the watcher has ended")
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have been killed already. It must end before its pipe closes.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
