//! What operators do to jobs, at random moments.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use landfall_aws::WorkMessage;
use landfall_domain::JobId;
use landfall_ledger::LedgerTable;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::job_of;
use crate::files::File;
use crate::world::{Message, World};

/// The chunks of jobs that a worker has received.
type Received = HashMap<JobId, HashSet<u32>>;

/// Jobs that are cancelled.
#[derive(Default)]
pub struct Cancellations {
    /// When each is cancelled, from the last step to the first.
    pub(super) planned: Vec<(u32, JobId)>,
    /// The attempts of jobs for which a cancellation has ended, and the chunks that a worker had received before.
    pub(super) ended: HashMap<(JobId, u32), HashSet<u32>>,
    received: Received,
}

impl Cancellations {
    /// Cancels some of the jobs once, some of them twice, at any moment.
    pub(super) fn of(files: &[File], rng: &mut StdRng) -> Self {
        let mut planned = Vec::new();
        for file in files {
            let times = [0, 0, 1, 2].choose(rng).unwrap();
            planned.extend((0..*times).map(|_| (rng.random_range(0..400), job_of(file))));
        }
        planned.sort_unstable_by_key(|(step, _)| std::cmp::Reverse(*step));
        Self {
            planned,
            ..Self::default()
        }
    }

    /// Returns the job to cancel in this step, if it has started.
    pub(super) async fn next(&mut self, world: &World, step: u32) -> Option<JobId> {
        let (_, job) = self.planned.pop_if(|(planned, _)| *planned <= step)?;
        world.table.0.head(job).await.unwrap().map(|_| job)
    }

    pub(super) fn received(&mut self, messages: &[Message]) {
        for (body, _) in messages {
            if let Ok(WorkMessage::Chunk(chunk)) = WorkMessage::parse(body) {
                let received = self.received.entry(chunk.job).or_default();
                received.insert(chunk.ordinal);
            }
        }
    }

    /// Notes which chunks may be done in a job that has just been cancelled.
    pub(super) async fn ended(&mut self, world: &World, job: JobId) {
        let head = world.table.0.head(job).await.unwrap().unwrap();
        if head.cancelled.is_some() {
            let received = self.received.get(&job).cloned().unwrap_or_default();
            let ended = self.ended.entry((job, head.attempt));
            ended.or_insert(received);
        }
    }
}

/// A pause of the dataset.
pub(super) struct Pause {
    /// When it begins and ends, in milliseconds, until it has ended.
    planned: Option<(i64, i64)>,
    /// The chunks that were received before it began.
    received: Option<Received>,
}

impl Pause {
    /// Returns a pause that lasts from a second to about an hour, or none.
    pub(super) fn random(rng: &mut StdRng) -> Self {
        let seconds = 10_f64.powf(rng.random_range(0.0..3.6));
        #[expect(clippy::cast_possible_truncation, reason = "less than a day")]
        let millis = (seconds * 1_000.0) as i64;
        let from = rng.random_range(0..3_000);
        Self {
            planned: rng.random_bool(0.3).then_some((from, from + millis)),
            received: None,
        }
    }

    /// Returns when it ends.
    pub(super) fn end(&self) -> i64 {
        self.planned.map_or(0, |(_, until)| until)
    }

    /// Pauses or resumes the dataset, if it is time. Checks that no chunk was processed that was first received in
    /// between.
    pub(super) async fn apply(&mut self, world: &World, cancellations: &Cancellations) {
        let Some((from, until)) = self.planned else {
            return;
        };
        let now = world.queue.time.millis();
        let table = &world.table.0;
        match &self.received {
            None if now >= from => {
                let pause = landfall_ledger::Pause {
                    by: "operator".to_owned(),
                    at: world.queue.time.now().to_string(),
                };
                table.pause("products", &pause).await.unwrap();
                self.received = Some(cancellations.received.clone());
            }
            Some(before) if now >= until => {
                for job in cancellations.received.keys() {
                    let known = before.get(job);
                    let shards = table.shards(*job, &[0]).await.unwrap();
                    for ordinal in shards.iter().flat_map(|shard| &shard.done) {
                        let is_known = known.is_some_and(|known| known.contains(ordinal));
                        assert!(is_known, "chunk {ordinal} did not wait");
                    }
                }
                table.resume("products").await.unwrap();
                self.planned = None;
            }
            None | Some(_) => {}
        }
    }
}

/// Redrives of jobs, most of them of jobs that have no dead chunks, or are open.
pub(super) struct Redrives {
    /// How many are left.
    pub(super) left: usize,
    /// The jobs whose redrive died, so that somebody repeats it.
    pub(super) again: Vec<JobId>,
    /// Whether one must follow in this step.
    pub(super) is_due: bool,
    jobs: Vec<JobId>,
}

impl Redrives {
    pub(super) fn of(files: &[File], rng: &mut StdRng) -> Self {
        Self {
            left: *[0, 1, 3, 6].choose(rng).unwrap(),
            again: Vec::new(),
            is_due: false,
            jobs: files.iter().map(job_of).collect(),
        }
    }

    /// Returns the job to redrive in this step, if there is one. Sometimes, the stores accept every row from then on.
    pub(super) async fn next(&mut self, world: &World, rng: &mut StdRng) -> Option<JobId> {
        let job = self.jobs.choose(rng).copied()?;
        let is_due = std::mem::take(&mut self.is_due);
        if self.left == 0 || !(is_due || rng.random_bool(0.01)) {
            return None;
        }
        self.left -= 1;
        if let Some(job) = self.again.pop() {
            return Some(job);
        }
        if rng.random_bool(0.2) {
            for store in &world.stores {
                store.is_repaired.store(true, Ordering::Relaxed);
            }
        }
        world.table.0.head(job).await.unwrap().map(|_| job)
    }
}
