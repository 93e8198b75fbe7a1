//! Metrics of the stack in CloudWatch, as lines of the embedded metric format (EMF) in the function's log.
//!
//! CloudWatch reads the metrics from the log, so that a function waits for no call and needs no permission. Each metric
//! has the dimension `Stack`, and a second time `Stack` and `Dataset`. Only names of defined datasets become a
//! dimension: a name that comes from the key of an object could be any, and CloudWatch bills each. The job is in the
//! line, too, where Logs Insights finds it.
//!
//! Format:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use landfall_domain::{JobId, JobState};
use serde_json::{Map, Value, json};

use crate::{SettingError, required};

const NAMESPACE: &str = "Landfall";
const STACK: &str = "Stack";
const DATASET: &str = "Dataset";

/// A metric and its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// Records of a chunk, counted once per chunk.
    Rows(u64),
    /// Records of a chunk that are rejects, counted once per chunk.
    Rejects(u64),
    /// The time in which a chunk was processed, by its last attempt.
    ChunkSeconds(Duration),
    /// A chunk that could not be processed.
    DeadChunk,
    /// A failed attempt to reach a store that is down.
    StoreDown,
    /// A job that closed with this state. If the caller dies, it is counted twice.
    Closed(JobState),
    /// The age of the oldest job that is open.
    OldestOpenJobSeconds(Duration),
}

impl Metric {
    fn name(self) -> &'static str {
        match self {
            Self::Rows(_) => "Rows",
            Self::Rejects(_) => "Rejects",
            Self::ChunkSeconds(_) => "ChunkSeconds",
            Self::DeadChunk => "DeadChunks",
            Self::StoreDown => "StoreDown",
            Self::Closed(JobState::Succeeded) => "JobsSucceeded",
            Self::Closed(JobState::Partial) => "JobsPartial",
            Self::Closed(JobState::Failed) => "JobsFailed",
            Self::Closed(JobState::Cancelled) => "JobsCancelled",
            Self::Closed(JobState::Open) => "JobsOpen",
            Self::OldestOpenJobSeconds(_) => "OldestOpenJobSeconds",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::ChunkSeconds(_) | Self::OldestOpenJobSeconds(_) => "Seconds",
            _ => "Count",
        }
    }

    fn value(self) -> Value {
        match self {
            Self::Rows(count) | Self::Rejects(count) => count.into(),
            Self::ChunkSeconds(time) | Self::OldestOpenJobSeconds(time) => {
                time.as_secs_f64().into()
            }
            Self::DeadChunk | Self::StoreDown | Self::Closed(_) => 1.into(),
        }
    }
}

/// Writes the metrics of a stack.
#[derive(Clone)]
pub struct Metrics {
    stack: String,
    out: Arc<Mutex<dyn Write + Send>>,
}

impl Metrics {
    /// Returns metrics of this stack that are written to `out`, one line each time.
    pub fn new(stack: impl Into<String>, out: impl Write + Send + 'static) -> Self {
        Self {
            stack: stack.into(),
            out: Arc::new(Mutex::new(out)),
        }
    }

    /// Returns metrics of the stack in `LANDFALL_STACK`, which go to the function's log.
    pub fn from_environment() -> Result<Self, SettingError> {
        let stack: String = required("LANDFALL_STACK")?;
        Ok(Self::new(stack, std::io::stdout()))
    }

    /// Writes metrics of a defined dataset or of the whole stack. `job` is the one that they are about.
    pub fn write(&self, dataset: Option<&str>, job: Option<JobId>, metrics: &[Metric]) {
        let mut line = self.line(dataset, job, metrics).to_string();
        line.push('\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A lost metric is no reason to process a chunk again.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }

    fn line(&self, dataset: Option<&str>, job: Option<JobId>, metrics: &[Metric]) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let milliseconds = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or_default();
        let mut dimensions = vec![vec![STACK]];
        let mut line = Map::new();
        line.insert(STACK.to_owned(), self.stack.as_str().into());
        if let Some(dataset) = dataset {
            dimensions.push(vec![STACK, DATASET]);
            line.insert(DATASET.to_owned(), dataset.into());
        }
        if let Some(job) = job {
            line.insert("job".to_owned(), job.to_string().into());
        }
        let mut definitions = Vec::with_capacity(metrics.len());
        for metric in metrics {
            definitions.push(json!({"Name": metric.name(), "Unit": metric.unit()}));
            line.insert(metric.name().to_owned(), metric.value());
        }
        let directive = json!({
            "Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": definitions,
        });
        let metadata = json!({"Timestamp": milliseconds, "CloudWatchMetrics": [directive]});
        line.insert("_aws".to_owned(), metadata);
        line.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_embedded_metric_format() {
        let metrics = Metrics::new("shop", std::io::sink());
        let job = JobId::for_object("inbox", "products/1.csv", "1");
        let written = [
            Metric::Rows(12),
            Metric::ChunkSeconds(Duration::from_millis(1_500)),
            Metric::Closed(JobState::Partial),
        ];
        let mut line = metrics.line(Some("products"), Some(job), &written);
        let at = line["_aws"]["Timestamp"].take().as_u64();
        // In milliseconds: after 2025, and before 2100.
        assert!(at > Some(1_735_689_600_000) && at < Some(4_102_444_800_000));
        let expected = json!({
            "_aws": {
                "Timestamp": null,
                "CloudWatchMetrics": [{
                    "Namespace": "Landfall",
                    "Dimensions": [["Stack"], ["Stack", "Dataset"]],
                    "Metrics": [
                        {"Name": "Rows", "Unit": "Count"},
                        {"Name": "ChunkSeconds", "Unit": "Seconds"},
                        {"Name": "JobsPartial", "Unit": "Count"},
                    ],
                }],
            },
            "Stack": "shop", "Dataset": "products", "job": job,
            "Rows": 12, "ChunkSeconds": 1.5, "JobsPartial": 1,
        });
        assert_eq!(line, expected);

        let age = Metric::OldestOpenJobSeconds(Duration::from_secs(9));
        let of_stack = metrics.line(None, None, &[age]);
        let directive = &of_stack["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Dimensions"], json!([["Stack"]]));
        assert_eq!(of_stack["OldestOpenJobSeconds"], 9.0);
    }
}
