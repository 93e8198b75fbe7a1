//! The memory of the functions' processes, read from `/proc`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::processes::function_processes;

const INTERVAL: Duration = Duration::from_millis(200);

/// The peak resident memory of a function's processes (Linux's `VmHWM`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peak {
    /// Number of processes, concurrent or not.
    pub processes: usize,
    /// Peak of the largest process.
    pub mebibytes: f64,
}

/// Samples the processes of an endpoint's functions.
#[derive(Debug)]
pub struct MemoryWatch {
    stop: Arc<AtomicBool>,
    watcher: JoinHandle<HashMap<u32, (String, f64)>>,
}

impl MemoryWatch {
    /// Starts sampling.
    pub fn start(endpoint: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stop_requested = Arc::clone(&stop);
        let endpoint = endpoint.to_owned();
        let watcher = std::thread::spawn(move || {
            let mut peaks = HashMap::new();
            while !stop_requested.load(Ordering::Relaxed) {
                sample(&endpoint, &mut peaks);
                std::thread::sleep(INTERVAL);
            }
            sample(&endpoint, &mut peaks);
            peaks
        });
        Self { stop, watcher }
    }

    /// Stops sampling and returns the peaks by function name.
    pub fn stop(self) -> Result<BTreeMap<String, Peak>> {
        self.stop.store(true, Ordering::Relaxed);
        let Ok(processes) = self.watcher.join() else {
            bail!("the thread that samples memory panicked");
        };
        let mut functions: BTreeMap<String, Peak> = BTreeMap::new();
        for (function, mebibytes) in processes.into_values() {
            let peak = functions.entry(function).or_default();
            peak.processes += 1;
            peak.mebibytes = peak.mebibytes.max(mebibytes);
        }
        Ok(functions)
    }
}

fn sample(endpoint: &str, peaks: &mut HashMap<u32, (String, f64)>) {
    for process in function_processes(endpoint) {
        // A process that ends during the sample keeps its previous one.
        if let Some(mebibytes) = peak(process.id) {
            peaks.insert(process.id, (process.function, mebibytes));
        }
    }
}

fn peak(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}
