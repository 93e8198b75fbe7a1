//! Fixed rejects of a file, and what the file would be without its faults.

use std::collections::BTreeMap;

use bytes::Bytes;
use landfall_domain::{CompletionEvent, JobId, JobState, WarningCode};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::files::{File, Kind};
use crate::world::World;

pub struct Fixed {
    /// The object with the fixed rejects.
    pub file: File,
    /// A later object with the same lines and other values, which change nothing.
    pub again: File,
    /// Version of the object of the first job.
    pub first: String,
    /// The object of the first job without its faults.
    pub whole: Bytes,
    job: JobId,
    lines: u64,
}

impl Fixed {
    /// Fixes the rejects of some of the files, as a person who has downloaded them. Files with some of the columns have
    /// none here.
    pub fn of(world: &World, files: &[File], kind: Kind, rng: &mut StdRng) -> Vec<Self> {
        if kind == Kind::Merged {
            return Vec::new();
        }
        let fixed = files.iter().filter_map(|file| {
            let job = JobId::for_object("inbox", &file.key, &file.version);
            let prefix = format!("products/{job}/");
            let buckets = world.buckets.latest.lock().unwrap();
            let objects = buckets.iter();
            let of_job = objects
                .filter(|((bucket, key), _)| bucket == "rejects" && key.starts_with(&prefix));
            let text: String = of_job
                .map(|(_, bytes)| String::from_utf8_lossy(bytes))
                .collect();
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            let lines: Vec<Value> = lines.collect();
            (!lines.is_empty() && rng.random_bool(0.7)).then(|| Self::new(file, job, lines, rng))
        });
        fixed.collect()
    }

    fn new(file: &File, job: JobId, mut lines: Vec<Value>, rng: &mut StdRng) -> Self {
        let text = std::str::from_utf8(&file.bytes).unwrap();
        let mut whole = String::new();
        let mut from = 0;
        lines.sort_by_key(|line| line["offset"].as_u64());
        for line in &mut lines {
            let sku = format!("s{}", rng.random_range(0..8));
            line["record"] =
                json!({"sku": sku, "name": "fixed", "description": "", "changed": "2"});
            let start = usize::try_from(line["offset"].as_u64().unwrap()).unwrap();
            let end = start + line["raw"].as_str().unwrap().len();
            let header = text.lines().next().unwrap();
            let last = match header.rsplit_once(',') {
                Some((_, "op")) => ",",
                Some((_, "changed")) => ",2",
                _ => "",
            };
            whole += &text[from..start];
            whole.extend([&*sku, ",fixed,", last]);
            from = end;
        }
        whole += &text[from..];
        let count = lines.len() as u64;
        let mut of_lines = |name: &str, time_ms| {
            let lines = lines.iter_mut().map(|line| {
                line["record"]["name"] = name.into();
                line.to_string()
            });
            File {
                key: format!("products/_rejects/{job}/{name}.ndjson"),
                version: format!("{name} {}", file.version),
                bytes: lines.collect::<Vec<_>>().join("\n").into(),
                time_ms,
                codec: None,
            }
        };
        Self {
            // Later than every file.
            file: of_lines("fixed", 1_050),
            again: of_lines("again", 1_055),
            first: file.version.clone(),
            whole: whole.into(),
            job,
            lines: count,
        }
    }

    /// Checks the completions of the jobs of the fixed rejects.
    pub fn check(&self, events: &BTreeMap<JobId, CompletionEvent>) {
        for file in [&self.file, &self.again] {
            let of_file = |event: &&CompletionEvent| event.object.key == file.key;
            let event = events.values().find(of_file).unwrap();
            assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
            assert_eq!(event.rejects_of, Some(self.job));
            assert_eq!((event.counts.rows, event.counts.rejected), (self.lines, 0));
            let mut codes = event.warnings.iter().map(|warning| warning.code);
            let warns = codes.any(|code| code == WarningCode::UnchangedRejects);
            let stores = event.counts.stores.values();
            assert!(!warns || stores.clone().any(|counts| counts.unchanged > 0));
            for counts in stores {
                assert_eq!((counts.total(), counts.pruned), (self.lines, 0));
                let without_effect = counts.unchanged + counts.stale;
                assert!(file.key == self.file.key || without_effect == self.lines);
            }
        }
    }
}
