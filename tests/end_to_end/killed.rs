//! `cargo local` that is killed.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use landfall_local::{remove_cargo_variables, workspace};
use tempfile::TempDir;

/// Processes by id: the name of each.
type Processes = BTreeMap<u32, String>;

/// How long a server or function may outlive `cargo local`.
const LIMIT: Duration = Duration::from_secs(2);
/// What stops them and then removes their files, which takes as long as the disk does.
const CLEANING: [&str; 3] = ["sh", "sleep", "rm"];

#[test]
fn a_killed_cargo_local_leaves_no_processes() {
    // The data and the functions of the stack are in it, by which its processes are found.
    let directory = TempDir::new().unwrap();
    // PostgreSQL runs as another user.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("cargo");
    command
        .args(["local", "--sql", "postgres", "--rows", "1000"])
        .current_dir(workspace().unwrap())
        .env("TMPDIR", directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    remove_cargo_variables(&mut command);
    let mut local = command.spawn().unwrap();
    let mut shown = String::new();
    let mut output = BufReader::new(local.stderr.take().unwrap());
    while !shown.contains("Running until Ctrl-C") {
        if output.read_line(&mut shown).unwrap() == 0 {
            break;
        }
    }
    let before = processes_of(directory.path());
    local.kill().unwrap();
    local.wait().unwrap();
    let killed = Instant::now();

    let ran = |name: &str| before.values().any(|found| found.starts_with(name));
    for name in ["landfall-local", "python", "postgres", "bootstrap", "sh"] {
        assert!(ran(name), "no {name} in {before:?} after:\n{shown}");
    }
    assert!(ran("secantus") || ran("mongod"), "{before:?}");
    loop {
        let mut left = processes_of(directory.path());
        left.extend(before.clone().into_iter().filter(|(id, _)| is_running(*id)));
        if left.is_empty() {
            break;
        }
        let cleans = left.values().all(|name| CLEANING.contains(&name.as_str()));
        let limit = if cleans { 10 * LIMIT } else { LIMIT };
        assert!(killed.elapsed() < limit, "{left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let files: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert!(files.is_empty(), "{files:?}");
}

/// Returns the processes that have this directory in their arguments or environment.
fn processes_of(directory: &Path) -> Processes {
    let directory = directory.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| {
        // A process that has ended meanwhile has none.
        let has_it = ["cmdline", "environ"].iter().any(|file| {
            let content = fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&content).contains(directory)
        });
        let name = fs::read_to_string(format!("/proc/{id}/comm")).ok();
        Some((id, name.filter(|_| has_it)?.trim().to_owned()))
    })
    .collect()
}

/// Whether there is a process with this id, unless it has ended and waits for its parent.
fn is_running(id: u32) -> bool {
    // The state follows the name in parentheses.
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !state.is_empty() && !state.starts_with('Z')
}
