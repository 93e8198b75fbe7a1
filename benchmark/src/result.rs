//! The results of a part: the content of `target/benchmark/<part>.json`.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::memory;

/// One part of the benchmark.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) title: String,
    /// Whether it ran with `--quick`, whose results are too rough to compare.
    pub(crate) quick: bool,
    pub(crate) measured_at: String,
    pub(crate) machine: Machine,
    /// Names and versions of the servers and programs involved.
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) measurements: Vec<Measurement>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) loads: Vec<Load>,
    pub(crate) ratios: Vec<Ratio>,
    pub(crate) figures: Vec<Figure>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<Missing>,
}

/// The machine of a measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
}

impl Machine {
    /// Returns this machine. What Linux does not report stays empty.
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map(|(_, name)| name.trim().to_owned());
        Self {
            processor: processor.unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (as_float(memory::bytes("MemTotal")) / f64::from(1 << 30)).round(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// The seconds of one operation, run by run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) name: String,
    /// Exact description of the operation.
    pub(crate) what: String,
    /// Rows of the file, repeated keys included.
    pub(crate) rows: u64,
    pub(crate) median_seconds: f64,
    pub(crate) rows_per_second: f64,
    pub(crate) runs: Vec<Run>,
}

/// One run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// From the file on disk to the last commit; for Landfall, from the start of the put to the event.
    pub(crate) seconds: f64,
    /// Of these, before the first byte was sent to the database: reading and sorting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preparing_seconds: Option<f64>,
    /// Of these, until the put was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) put_seconds: Option<f64>,
    /// CPU seconds by group of processes; `others` is the rest of the machine, `idle` is unused time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) cpu_seconds: BTreeMap<String, f64>,
}

/// The throughput and latency of one request, sent repeatedly.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) name: String,
    /// Exact description of the server.
    pub(crate) what: String,
    /// Each connection sends its next request after the answer.
    pub(crate) connections: usize,
    pub(crate) median: LoadRun,
    pub(crate) runs: Vec<LoadRun>,
}

/// One run of a load, or the medians of all runs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LoadRun {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// The speed of one operation relative to others, from medians: their total seconds divided by its seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) name: String,
    pub(crate) of: String,
    pub(crate) over: Vec<String>,
    pub(crate) value: f64,
    /// The same relative to floors whose rows were already in memory. Landfall's time still includes reading the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) over_prepared: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) goal: Option<f64>,
}

/// A single figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<f64>,
}

/// Something that could not be measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) name: String,
    pub(crate) why: String,
}

impl Part {
    /// Adds a run of an operation.
    pub(crate) fn add(&mut self, name: &str, what: &str, rows: u64, run: Run) {
        let index = self
            .measurements
            .iter()
            .position(|measurement| measurement.name == name)
            .unwrap_or_else(|| {
                self.measurements.push(Measurement {
                    name: name.to_owned(),
                    what: what.to_owned(),
                    rows,
                    median_seconds: 0.0,
                    rows_per_second: 0.0,
                    runs: Vec::new(),
                });
                self.measurements.len() - 1
            });
        let measurement = &mut self.measurements[index];
        measurement.runs.push(run);
        let seconds: Vec<_> = measurement.runs.iter().map(|run| run.seconds).collect();
        measurement.median_seconds = median(&seconds);
        measurement.rows_per_second = as_float(rows) / measurement.median_seconds;
    }

    /// Adds the ratio of a measurement to others, unless one of them is missing.
    pub(crate) fn compare(&mut self, name: &str, of: &str, over: &[&str], goal: Option<f64>) {
        let Some(own) = self.seconds(of) else {
            return;
        };
        let sum = |seconds: fn(&Self, &str) -> Option<f64>| -> Option<f64> {
            over.iter().map(|name| seconds(self, name)).sum()
        };
        let Some(others) = sum(Self::seconds) else {
            return;
        };
        let over_prepared = sum(Self::seconds_when_prepared).map(|seconds| seconds / own);
        self.ratios.push(Ratio {
            name: name.to_owned(),
            of: of.to_owned(),
            over: over.iter().map(|&name| name.to_owned()).collect(),
            value: others / own,
            over_prepared,
            goal,
        });
    }

    /// Adds a run of a load.
    pub(crate) fn load(&mut self, name: &str, what: &str, connections: usize, run: LoadRun) {
        let index = self.load_at(name, connections).unwrap_or_else(|| {
            self.loads.push(Load {
                name: name.to_owned(),
                what: what.to_owned(),
                connections,
                median: LoadRun::default(),
                runs: Vec::new(),
            });
            self.loads.len() - 1
        });
        let load = &mut self.loads[index];
        load.runs.push(run);
        let middle =
            |of: fn(&LoadRun) -> f64| median(&load.runs.iter().map(of).collect::<Vec<_>>());
        load.median = LoadRun {
            requests_per_second: middle(|run| run.requests_per_second),
            p50_ms: middle(|run| run.p50_ms),
            p99_ms: middle(|run| run.p99_ms),
        };
    }

    fn load_at(&self, name: &str, connections: usize) -> Option<usize> {
        self.loads
            .iter()
            .position(|load| load.name == name && load.connections == connections)
    }

    /// Adds the ratio of the requests per second of two loads, unless one of them is missing.
    pub(crate) fn compare_loads(&mut self, of: &str, over: &str, connections: usize) {
        let rate = |name| {
            let index = self.load_at(name, connections)?;
            Some(self.loads[index].median.requests_per_second)
        };
        let (Some(own), Some(other)) = (rate(of), rate(over)) else {
            return;
        };
        self.ratios.push(Ratio {
            name: format!("{connections} at once"),
            of: of.to_owned(),
            over: vec![over.to_owned()],
            value: own / other,
            over_prepared: None,
            goal: None,
        });
    }

    /// Returns the median seconds of a measurement.
    pub(crate) fn seconds(&self, name: &str) -> Option<f64> {
        self.measurements
            .iter()
            .find(|measurement| measurement.name == name)
            .map(|measurement| measurement.median_seconds)
    }

    /// Returns the median seconds of a measurement from the first byte sent to the database, if this was recorded.
    fn seconds_when_prepared(&self, name: &str) -> Option<f64> {
        let measurement = self.measurements.iter().find(|it| it.name == name)?;
        let seconds: Option<Vec<f64>> = measurement
            .runs
            .iter()
            .map(|run| Some(run.seconds - run.preparing_seconds?))
            .collect();
        Some(median(&seconds?))
    }

    /// Adds a figure.
    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: &str, at_most: Option<f64>) {
        self.figures.push(Figure {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            at_most,
        });
    }
}

/// Returns the median; NaN if there are no values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// Converts a count of rows or bytes.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of rows and bytes are far below 2^53"
)]
pub(crate) fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seconds: f64) -> Run {
        Run {
            seconds,
            ..Run::default()
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_is_of_medians_and_of_floors_one_after_the_other() {
        let mut part = Part::default();
        for seconds in [9.0, 5.0, 6.0] {
            part.add("own", "", 600, run(seconds));
        }
        part.add("a", "", 600, run(2.0));
        part.add("b", "", 600, run(1.0));
        part.compare("first", "own", &["a", "b"], Some(0.8));
        part.compare("none", "own", &["a", "c"], None);
        assert_eq!(part.ratios.len(), 1);
        assert!((part.ratios[0].value - 0.5).abs() < 1e-9);
        assert!((part.measurements[0].rows_per_second - 100.0).abs() < 1e-9);
    }

    #[test]
    fn loads_are_reported_and_compared_by_their_medians() {
        let mut part = Part::default();
        for rate in [100.0, 500.0, 200.0] {
            let run = LoadRun {
                requests_per_second: rate,
                p50_ms: 1.0,
                p99_ms: 1e3 / rate,
            };
            part.load("own", "", 16, run);
            part.load(
                "other",
                "",
                16,
                LoadRun {
                    requests_per_second: 400.0,
                    ..run
                },
            );
            part.load("other", "", 1, run);
        }
        assert_eq!(part.loads.len(), 3);
        assert!((part.loads[0].median.p99_ms - 5.0).abs() < 1e-9);
        part.compare_loads("own", "other", 16);
        part.compare_loads("own", "other", 1);
        assert_eq!(part.ratios.len(), 1);
        assert!((part.ratios[0].value - 0.5).abs() < 1e-9);
    }
}
