//! What remains of a program that is killed.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use landfall_setup::processes::{Process, command};
use rustix::process::Signal;

/// In the environment of the program to kill: the file for the ids of its processes.
const IDS: &str = "LANDFALL_TEST_IDS";
/// Starts another process, and both ignore SIGTERM.
const STUBBORN: &str = r#"trap "" TERM; sleep 600 & echo $$ $! >"$1.new"; mv "$1.new" "$1"; wait"#;

#[test]
fn a_killed_program_leaves_no_processes() {
    if let Some(ids) = std::env::var_os(IDS) {
        let mut shell = command("sh");
        shell.args(["-c", STUBBORN, "sh"]).arg(ids);
        let _process = Process::start("sh", shell, Signal::TERM).unwrap();
        thread::sleep(Duration::from_mins(10));
    }
    let directory = tempfile::tempdir().unwrap();
    let ids = directory.path().join("ids");
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_program_leaves_no_processes"])
        .env(IDS, &ids)
        .spawn()
        .unwrap();
    wait_for(Duration::from_secs(10), || ids.exists());
    let ids = fs::read_to_string(&ids).unwrap();
    let ids: Vec<_> = ids.split_whitespace().collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.iter().all(|id| is_running(id)));

    program.kill().unwrap();
    program.wait().unwrap();
    wait_for(Duration::from_secs(2), || {
        !ids.iter().any(|id| is_running(id))
    });
}

fn wait_for(limit: Duration, is_reached: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_reached() {
        assert!(Instant::now() < deadline, "not within {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether there is a process with this id, unless it has ended and waits for its parent.
fn is_running(id: &str) -> bool {
    let ps = Command::new("ps").args(["-o", "stat=", "-p", id]).output();
    let state = String::from_utf8(ps.unwrap().stdout).unwrap();
    !state.trim().is_empty() && !state.starts_with('Z')
}
