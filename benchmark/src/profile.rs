//! CPU time by group of processes, from `/proc`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::{Duration, Instant};

use landfall_local::FUNCTIONS;

/// Ticks per second of the times in `/proc`. `USER_HZ` is 100 on every Linux that functions run on.
const TICKS: f64 = 100.0;
/// The databases count as idle when they use less than this share of a core.
const QUIET: f64 = 0.1;
const LOOK: Duration = Duration::from_millis(300);
const SETTLED_WITHIN: Duration = Duration::from_mins(1);

/// Seconds used so far, by group of processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuUsage {
    groups: BTreeMap<String, f64>,
    busy: f64,
    idle: f64,
}

/// The group of a process.
struct Process {
    parent: u32,
    program: String,
    seconds: f64,
}

impl CpuUsage {
    /// Returns what this process and its descendants have used so far.
    pub(crate) fn now() -> Self {
        let processes: HashMap<u32, Process> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let id: u32 = entry.file_name().to_str()?.parse().ok()?;
                let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
                Some((id, process(&stat)?))
            })
            .collect();
        let mut groups = BTreeMap::new();
        for (id, process) in &processes {
            if let Some(group) = group(*id, &processes) {
                *groups.entry(group).or_default() += process.seconds;
            }
        }
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let (busy, idle) = machine(&stat);
        Self { groups, busy, idle }
    }

    /// Returns what was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> BTreeMap<String, f64> {
        let mut used: BTreeMap<String, f64> = self
            .groups
            .iter()
            .map(|(group, seconds)| {
                let before = before.groups.get(group).copied().unwrap_or_default();
                (group.clone(), (seconds - before).max(0.0))
            })
            .collect();
        let ours: f64 = used.values().sum();
        let others = self.busy - before.busy - ours;
        used.insert("others".to_owned(), others.max(0.0));
        used.insert("idle".to_owned(), (self.idle - before.idle).max(0.0));
        used
    }
}

/// Waits until the databases have finished the background work of an earlier load, which would slow the next one.
pub(crate) async fn wait_until_idle() {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let mut before = CpuUsage::now();
    while Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
        let now = CpuUsage::now();
        let used: f64 = now
            .since(&before)
            .iter()
            .filter(|(group, _)| is_database(group))
            .map(|(_, seconds)| seconds)
            .sum();
        if used < QUIET * LOOK.as_secs_f64() {
            return;
        }
        before = now;
    }
}

fn is_database(group: &str) -> bool {
    ["postgres", "mariadbd", "mongod", "secantusd-rs"].contains(&group)
}

/// Parses a line of `/proc/<pid>/stat`: own time, and that of children that have exited.
fn process(stat: &str) -> Option<Process> {
    let (_, rest) = stat.split_once('(')?;
    // The name of a program may contain parentheses.
    let (program, rest) = rest.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: f64 = fields
        .get(11..15)?
        .iter()
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        program: program.to_owned(),
        seconds: ticks / TICKS,
    })
}

/// Returns the program of the child of this process that a process descends from. Functions are separate process
/// groups, although the endpoint starts them.
fn group(id: u32, processes: &HashMap<u32, Process>) -> Option<String> {
    let own = std::process::id();
    if id == own {
        return Some("benchmark".to_owned());
    }
    let mut at = id;
    loop {
        let process = processes.get(&at)?;
        if process.parent == own {
            let program = process.program.as_str();
            return Some(if program.starts_with("python") {
                function(id).unwrap_or_else(|| "endpoint".to_owned())
            } else {
                program.to_owned()
            });
        }
        at = process.parent;
    }
}

/// Returns the name of the function that a process runs, without the name of the stack.
fn function(id: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{id}/environ")).ok()?;
    let name = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(b"AWS_LAMBDA_FUNCTION_NAME="))?;
    let name = String::from_utf8_lossy(name).to_lowercase();
    let known = FUNCTIONS.iter().find(|known| name.contains(*known));
    Some(known.map_or(name.clone(), |known| (*known).to_owned()))
}

/// Returns the busy and idle seconds of all cores. Waiting for disks counts as idle.
fn machine(stat: &str) -> (f64, f64) {
    let ticks: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        // Guest time is included in the first two.
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let all: f64 = ticks.iter().sum();
    let idle: f64 = ticks.get(3..5).into_iter().flatten().sum();
    ((all - idle) / TICKS, idle / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_with_its_children_that_ended() {
        let stat = "17 (a) (b) S 4 17 17 0 -1 4194304 1 2 3 4 100 50 25 25 20 0 1 0 5 6 7";
        let process = process(stat).unwrap();
        assert_eq!((process.parent, process.program.as_str()), (4, "a) (b"));
        assert!((process.seconds - 2.0).abs() < 1e-9);
        assert!(super::process("17 a S 4").is_none());
    }

    #[test]
    fn a_machine_is_busy_or_idle() {
        let (busy, idle) = machine("cpu  100 0 100 300 100 0 0 0 50 0\ncpu0 1 2 3\n");
        assert!((busy - 2.0).abs() < 1e-9 && (idle - 4.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_used_since_is_split_among_groups() {
        let used = |postgres, busy, idle| CpuUsage {
            groups: [("postgres".to_owned(), postgres)].into(),
            busy,
            idle,
        };
        let since = used(5.0, 20.0, 3.0).since(&used(1.0, 10.0, 2.0));
        assert!((since["postgres"] - 4.0).abs() < 1e-9);
        assert!((since["others"] - 6.0).abs() < 1e-9);
        assert!((since["idle"] - 1.0).abs() < 1e-9);
    }
}
