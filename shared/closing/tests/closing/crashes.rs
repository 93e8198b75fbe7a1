//! A job closes once, with exact counts, whichever step a function dies at: before the step takes effect, or after it
//! with the response lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use landfall_aws::{AwsError, Publisher};
use landfall_closing::{CloseError, Closer};
use landfall_domain::{
    CompletionEvent, Counts, JobId, JobState, ObjectOrder, ObjectRef, Problem, StoreCounts,
    StoreKind,
};
use landfall_ledger::{
    ChunkOutcome, JobHead, Ledger, LedgerError, LedgerTable, Mark, MemoryTable, Pinned, Seal, Shard,
};

use crate::fakes::datasets;

/// When the crash happens.
#[derive(Clone, Copy, Debug)]
enum Crash {
    Before(usize),
    After(usize),
    Never,
}

/// A table and a bus whose caller dies at one of the steps.
struct Flaky {
    table: MemoryTable,
    published: Mutex<Vec<CompletionEvent>>,
    crash: Crash,
    steps: AtomicUsize,
}

impl Flaky {
    fn new(crash: Crash) -> Arc<Self> {
        Arc::new(Self {
            table: MemoryTable::default(),
            published: Mutex::default(),
            crash,
            steps: AtomicUsize::new(0),
        })
    }

    async fn step<T>(
        &self,
        effect: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let died = || LedgerError::Missing(format!("response to step {step}"));
        match self.crash {
            Crash::Before(at) if at == step => Err(died()),
            Crash::After(at) if at == step => effect.await.and(Err(died())),
            _ => effect.await,
        }
    }
}

#[async_trait]
impl LedgerTable for Flaky {
    async fn create(&self, head: &JobHead) -> Result<JobHead, LedgerError> {
        self.step(self.table.create(head)).await
    }
    async fn head(&self, job: JobId) -> Result<Option<JobHead>, LedgerError> {
        self.step(self.table.head(job)).await
    }
    async fn create_shard(&self, job: JobId, shard: u32) -> Result<(), LedgerError> {
        self.step(self.table.create_shard(job, shard)).await
    }
    async fn shards(&self, job: JobId, shards: &[u32]) -> Result<Vec<Shard>, LedgerError> {
        self.step(self.table.shards(job, shards)).await
    }
    async fn add_chunk(
        &self,
        job: JobId,
        ordinal: u32,
        outcome: &ChunkOutcome,
    ) -> Result<(Shard, bool), LedgerError> {
        self.step(self.table.add_chunk(job, ordinal, outcome)).await
    }
    async fn size_shard(&self, job: JobId, shard: u32, chunks: u32) -> Result<Shard, LedgerError> {
        self.step(self.table.size_shard(job, shard, chunks)).await
    }
    async fn add_full(&self, job: JobId, shard: u32) -> Result<JobHead, LedgerError> {
        self.step(self.table.add_full(job, shard)).await
    }
    async fn add_problem(&self, job: JobId, problem: &Problem) -> Result<(), LedgerError> {
        self.step(self.table.add_problem(job, problem)).await
    }
    async fn seal(&self, job: JobId, seal: &Seal) -> Result<JobHead, LedgerError> {
        self.step(self.table.seal(job, seal)).await
    }
    async fn raise_generation(&self, dataset: &str) -> Result<(), LedgerError> {
        self.step(self.table.raise_generation(dataset)).await
    }
    async fn close(
        &self,
        job: JobId,
        state: JobState,
        problem: Option<&Problem>,
        counts: &Counts,
        dead: u32,
        closed_at: &str,
    ) -> Result<JobHead, LedgerError> {
        let close = self
            .table
            .close(job, state, problem, counts, dead, closed_at);
        self.step(close).await
    }
    async fn set_published(&self, job: JobId, at: &str) -> Result<JobHead, LedgerError> {
        self.step(self.table.set_published(job, at)).await
    }
}

/// The bus, whose responses can be lost too.
struct Bus(Arc<Flaky>);

#[async_trait]
impl Publisher for Bus {
    async fn publish(&self, event: &CompletionEvent) -> Result<(), AwsError> {
        let accepted = async {
            self.0.published.lock().unwrap().push(event.clone());
            Ok(())
        };
        let result = self.0.step(accepted).await;
        result.map_err(|error| AwsError::unavailable("PutEvents", "bus", error))
    }
}

/// What a worker closes jobs with; the splitter uses the ledger alone.
struct Functions {
    ledger: Ledger,
    closer: Closer,
}

fn functions(crash: Crash) -> (Arc<Flaky>, Functions) {
    let flaky = Flaky::new(crash);
    let bus = Arc::new(Bus(Arc::clone(&flaky)));
    let ledger = Ledger::new(Arc::clone(&flaky) as Arc<dyn LedgerTable>);
    let closer = Closer::new(ledger.clone(), bus, datasets(), Vec::new(), "rejects");
    (flaky, Functions { ledger, closer })
}

fn job() -> JobHead {
    let job = JobId::of("inbox", "products/a.csv", "v1");
    let object = ObjectRef {
        bucket: "inbox".to_owned(),
        key: "products/a.csv".to_owned(),
        version: Some("v1".to_owned()),
        etag: "e".to_owned(),
        size: 1,
    };
    let order = ObjectOrder::new(1, "01", job).unwrap();
    JobHead::new(job, object, order, Pinned::default())
}

fn counts_of(ordinal: u32) -> Counts {
    let store = StoreCounts {
        inserted: u64::from(ordinal),
        updated: 1,
        ..StoreCounts::default()
    };
    Counts {
        rows: u64::from(ordinal) + 2,
        rejected: 1,
        stores: [(StoreKind::Mongodb, store)].into(),
    }
}

impl Functions {
    /// Splits the object, called again until it succeeds, and delivers the close message if there is one.
    async fn split(&self, chunks: u32) {
        for _ in 0..3 {
            let attempt = async {
                let head = self.ledger.start(&job()).await?;
                let head = if head.chunks.is_some() {
                    head
                } else {
                    for ordinal in 0..chunks {
                        self.ledger.expect_chunk(head.job, ordinal).await?;
                    }
                    let seal = Seal {
                        chunks,
                        problem: None,
                    };
                    self.ledger.seal(head.job, &seal).await?
                };
                self.closer.close(head).await
            };
            if attempt.await.is_ok() {
                return;
            }
        }
        panic!("one crash cannot stop three attempts");
    }

    /// Marks a chunk and closes the job, until two deliveries of the chunk's message have succeeded.
    async fn work(&self, ordinal: u32) {
        let mut succeeded = 0;
        for _ in 0..4 {
            succeeded += u32::from(self.deliver(ordinal).await.is_ok());
            if succeeded == 2 {
                return;
            }
        }
        panic!("one crash cannot stop four deliveries");
    }

    async fn deliver(&self, ordinal: u32) -> Result<(), CloseError> {
        let mark = match self.ledger.find_mark(job().job, ordinal).await? {
            Some(mark) => mark,
            None => self.mark(ordinal, &done(ordinal)).await?,
        };
        if let Some(head) = mark.to_close {
            self.closer.close(head).await?;
        }
        Ok(())
    }

    async fn mark(&self, ordinal: u32, outcome: &ChunkOutcome) -> Result<Mark, LedgerError> {
        self.ledger.mark_chunk(job().job, ordinal, outcome).await
    }
}

fn done(ordinal: u32) -> ChunkOutcome {
    ChunkOutcome::Done(counts_of(ordinal))
}

/// Runs a job of so many chunks. Returns the number of steps.
async fn run(chunks: u32, crash: Crash, seal_first: bool) -> usize {
    let (flaky, functions) = functions(crash);
    if seal_first {
        functions.split(chunks).await;
    } else {
        // Messages are sent while the object is still being scanned.
        let head = flaky.table.create(&job()).await.unwrap();
        for ordinal in 0..chunks {
            flaky
                .table
                .create_shard(head.job, landfall_ledger::shard_of(ordinal))
                .await
                .unwrap();
        }
    }
    for ordinal in (0..chunks).rev() {
        let head = flaky.table.head(job().job).await.unwrap().unwrap();
        assert_eq!(
            head.state,
            JobState::Open,
            "closed before its last chunk: {crash:?}"
        );
        functions.work(ordinal).await;
    }
    if !seal_first {
        functions.split(chunks).await;
    }

    let head = flaky.table.head(job().job).await.unwrap().unwrap();
    assert_eq!(head.state, JobState::Succeeded, "{crash:?}");
    assert!(head.published, "{crash:?}");
    let mut expected = Counts::default();
    for ordinal in 0..chunks {
        expected += &counts_of(ordinal);
    }
    assert_eq!(head.counts, Some(expected), "{crash:?}");
    let published = flaky.published.lock().unwrap();
    assert!(!published.is_empty(), "{crash:?}");
    assert!(
        published.iter().all(|event| *event == published[0]),
        "{crash:?}"
    );
    flaky.steps.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_crash_at_any_step_is_recovered_from() {
    // No chunk, one, some, a whole shard, one more than a shard.
    for chunks in [0, 1, 3, 128, 129] {
        for seal_first in [true, false] {
            let steps = run(chunks, Crash::Never, seal_first).await;
            // The steps of chunks in the middle of a shard are all alike.
            let is_tested =
                |step: &usize| *step < 12 || *step + 24 > steps || step.is_multiple_of(37);
            for step in (0..steps).filter(is_tested) {
                run(chunks, Crash::Before(step), seal_first).await;
                run(chunks, Crash::After(step), seal_first).await;
            }
        }
    }
}

#[tokio::test]
async fn a_job_with_dead_chunks_is_partial_and_counts_the_others() {
    let (flaky, functions) = functions(Crash::Never);
    functions.split(2).await;
    functions.mark(0, &ChunkOutcome::Dead).await.unwrap();
    // A late worker does not count a dead chunk.
    assert!(!functions.mark(0, &done(0)).await.unwrap().added);
    functions.work(1).await;
    let published = flaky.published.lock().unwrap();
    assert_eq!(published[0].state, JobState::Partial);
    assert_eq!(published[0].counts, counts_of(1));
}

#[tokio::test]
async fn a_different_second_plan_is_refused() {
    let (_flaky, functions) = functions(Crash::Never);
    functions.split(2).await;
    let other = Seal {
        chunks: 3,
        problem: None,
    };
    let refused = functions.ledger.seal(job().job, &other).await;
    assert!(matches!(
        refused,
        Err(LedgerError::PlanChanged {
            sealed: 2,
            planned: 3,
            ..
        })
    ));
}

#[tokio::test]
async fn a_job_stays_open_while_a_chunk_is_missing_even_after_a_shorter_plan() {
    let (flaky, functions) = functions(Crash::Never);
    functions.split(5).await;
    // A second splitter found the object deleted after two chunks, and set the size of the shard before its seal was
    // refused.
    flaky.table.size_shard(job().job, 0, 2).await.unwrap();
    for ordinal in [0, 1, 2, 4] {
        functions.work(ordinal).await;
    }
    assert!(flaky.published.lock().unwrap().is_empty());
    functions.work(3).await;
    assert_eq!(
        flaky.published.lock().unwrap()[0].state,
        JobState::Succeeded
    );
}
