//! Jobs as the other functions leave them in the ledger, and the stream of changes to its items.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use landfall_domain::{Counts, DeadChunks, JobId, JobState};
use landfall_ledger::{ChunkOutcome, Close, HeadUpdate, JobHead, LedgerError, LedgerTable, Seal};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::fakes::Clock;
use crate::fakes::{Table, head_of};
use crate::schedule::pause;

/// The ledger with its stream.
pub struct Ledger {
    pub table: Arc<Table>,
    pub clock: Arc<Clock>,
    /// Keys of changed items that the socket has not processed yet.
    pub stream: Mutex<Vec<String>>,
    /// When each job was last changed.
    pub changed: Mutex<BTreeMap<JobId, u64>>,
    /// When the completion of each job was first recorded as published.
    pub published: Mutex<BTreeMap<JobId, u64>>,
}

impl Ledger {
    pub fn new(clock: Arc<Clock>) -> Self {
        Self {
            table: Arc::default(),
            clock,
            stream: Mutex::default(),
            changed: Mutex::default(),
            published: Mutex::default(),
        }
    }

    async fn write<T>(
        &self,
        job: JobId,
        item: &str,
        write: impl Future<Output = Result<T, LedgerError>>,
    ) {
        pause().await;
        // A write to memory completes at once, so the item and its stream record change together.
        write.await.unwrap();
        self.stream.lock().unwrap().push(format!("job/{job}{item}"));
        let now = self.clock.now();
        self.changed.lock().unwrap().insert(job, now);
    }
}

/// What becomes of one job.
pub struct Job {
    head: JobHead,
    writes: Vec<Write>,
}

enum Write {
    Create,
    CreateShard,
    Chunk(u32),
    SizeShard(u32),
    Head(Box<HeadUpdate>),
}

impl Write {
    fn head(update: HeadUpdate) -> Self {
        Self::Head(Box::new(update))
    }
}

impl Job {
    /// Makes up a job. Some never end: they stand for jobs that are still open, or closed and not yet published.
    pub fn random(rng: &mut StdRng, index: usize) -> Self {
        let folder = ["products/", "orders/", ""].choose(rng).unwrap();
        let key = format!("{folder}{index}.csv");
        let chunks = rng.random_range(0..5);
        let mut writes: Vec<Write> = (0..chunks).map(Write::Chunk).collect();
        writes.push(Write::head(HeadUpdate::Seal(Seal {
            chunks,
            problem: None,
            warnings: Vec::new(),
        })));
        writes.shuffle(rng);
        if chunks > 0 {
            writes.insert(0, Write::CreateShard);
            writes.extend([Write::SizeShard(chunks), Write::head(HeadUpdate::Full(0))]);
        }
        writes.insert(0, Write::Create);
        let states = [JobState::Succeeded, JobState::Partial, JobState::Failed];
        let now = Timestamp::now().to_string();
        let close = Close {
            attempt: 1,
            redrives: Vec::new(),
            state: *states.choose(rng).unwrap(),
            problem: None,
            counts: Counts::default(),
            dead: 0,
            dead_chunks: DeadChunks::default(),
            closed_at: now.clone(),
        };
        writes.extend([
            Write::head(HeadUpdate::Close(close)),
            Write::head(HeadUpdate::Published {
                attempt: 1,
                at: now,
            }),
        ]);
        if rng.random_bool(0.3) {
            writes.truncate(rng.random_range(1..writes.len()));
        }
        Self {
            head: head_of(&key),
            writes,
        }
    }

    pub fn id(&self) -> JobId {
        self.head.job
    }

    pub fn dataset(&self) -> Option<&str> {
        self.head.object.dataset_name()
    }

    /// Makes all writes. A repetition after a crash starts at the first.
    pub async fn run(&self, ledger: &Ledger) {
        let (job, table) = (self.id(), &ledger.table.0);
        for write in &self.writes {
            match write {
                Write::Create => ledger.write(job, "", table.create(&self.head)).await,
                Write::CreateShard => ledger.write(job, "/0", table.create_shard(job, 0)).await,
                Write::Chunk(ordinal) => {
                    let counts = Counts {
                        rows: 10,
                        rejected: 10,
                        ..Counts::default()
                    };
                    let outcome = ChunkOutcome::Done(counts);
                    let mark = table.add_chunk(job, *ordinal, &outcome);
                    ledger.write(job, "/0", mark).await;
                }
                Write::SizeShard(chunks) => {
                    let size = table.size_shard(job, 0, *chunks);
                    ledger.write(job, "/0", size).await;
                }
                Write::Head(update) => {
                    ledger.write(job, "", table.update_head(job, update)).await;
                    if let HeadUpdate::Published { .. } = &**update {
                        let mut published = ledger.published.lock().unwrap();
                        let at = ledger.changed.lock().unwrap()[&job];
                        published.entry(job).or_insert(at);
                    }
                }
            }
        }
    }
}
