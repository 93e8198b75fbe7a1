//! A job closes once, with exact counts, whichever step a function dies at: before the step takes effect, or after it
//! with the response lost.

use std::sync::Arc;

use landfall_aws::{Datasets, Publisher};
use landfall_closing::{CloseError, Closer};
use landfall_domain::{Counts, JobState, StoreCounts, StoreKind, WarningCode};
use landfall_ledger::{
    ChunkOutcome, JobHead, Ledger, LedgerError, LedgerTable, MemoryTable, Seal, shard_of,
};

use super::{Caller, far};
use crate::fakes::{Buckets, Bus, Table, dead_chunk, head_of, metrics};
use crate::queue::Queue;

/// What a worker closes jobs with; the splitter uses the ledger alone. One call may die.
struct Functions {
    table: Arc<Table>,
    bus: Arc<Bus>,
    ledger: Ledger,
    closer: Closer,
    caller: Caller,
}

fn job() -> JobHead {
    head_of("products/a.csv")
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
        warnings: [(WarningCode::RepeatedKeys, 1)].into(),
        null_columns: [("note".to_owned(), 1)].into(),
        truncated: [("at".to_owned(), 2)].into(),
    }
}

fn done(ordinal: u32) -> ChunkOutcome {
    ChunkOutcome::Done(counts_of(ordinal))
}

impl Functions {
    fn new(dies_in: Option<usize>) -> Self {
        let (table, bus) = (Arc::<Table>::default(), Arc::<Bus>::default());
        let ledger = Ledger::new(Arc::clone(&table) as Arc<dyn LedgerTable>);
        let datasets = Arc::new(Datasets::new(Arc::new(Buckets::default()), "config"));
        let publisher = Arc::clone(&bus) as Arc<dyn Publisher>;
        Self {
            closer: Closer::new(
                ledger.clone(),
                publisher,
                Arc::<Queue>::default(),
                datasets,
                Vec::new(),
                "rejects",
                metrics(),
            ),
            table,
            bus,
            ledger,
            caller: Caller::new(dies_in),
        }
    }

    fn stored(&self) -> &MemoryTable {
        &self.table.0
    }

    async fn head(&self) -> JobHead {
        self.stored().head(job().job).await.unwrap().unwrap()
    }

    /// Splits the object, called again until it succeeds, and delivers the close message if there is one.
    async fn split(&self, chunks: u32) {
        let attempt = async || {
            let mut head = self.ledger.start(&job()).await?;
            if head.chunks.is_none() {
                for ordinal in 0..chunks {
                    self.ledger.expect_chunk(head.job, ordinal).await?;
                }
                let seal = Seal {
                    chunks,
                    problem: None,
                    warnings: Vec::new(),
                };
                head = self.ledger.seal(head.job, &seal).await?;
            }
            self.closer.close(head, far()).await
        };
        if self.caller.call(attempt()).await.is_none() {
            self.caller
                .call(attempt())
                .await
                .expect("only one call dies");
        }
    }

    /// Marks a chunk and closes the job, until two deliveries of the chunk's message have succeeded.
    async fn work(&self, ordinal: u32) {
        let mut succeeded = 0;
        while succeeded < 2 {
            let delivered = self.caller.call(Box::pin(self.deliver(ordinal))).await;
            succeeded += u32::from(delivered.is_some());
        }
    }

    async fn deliver(&self, ordinal: u32) -> Result<(), CloseError> {
        let job = job().job;
        let mark = match self.ledger.find_mark(job, ordinal).await? {
            Some(mark) => mark,
            None => self.ledger.mark_chunk(job, ordinal, &done(ordinal)).await?,
        };
        if let Some(head) = mark.to_close {
            self.closer.close(head, far()).await?;
        }
        Ok(())
    }
}

/// Runs a job of so many chunks. Returns the number of pauses.
async fn run(chunks: u32, dies_in: Option<usize>, seal_first: bool) -> usize {
    let functions = Functions::new(dies_in);
    if seal_first {
        functions.split(chunks).await;
    } else {
        // Messages are sent while the object is still being scanned.
        let head = functions.stored().create(&job()).await.unwrap();
        for ordinal in 0..chunks {
            let shard = functions.stored().create_shard(head.job, shard_of(ordinal));
            shard.await.unwrap();
        }
    }
    for ordinal in (0..chunks).rev() {
        assert_eq!(
            functions.head().await.state,
            JobState::Open,
            "closed before its last chunk: {dies_in:?}"
        );
        functions.work(ordinal).await;
    }
    if !seal_first {
        functions.split(chunks).await;
    }

    assert!(
        dies_in < Some(functions.caller.pauses.get()),
        "nothing died"
    );
    let head = functions.head().await;
    assert_eq!(head.state, JobState::Succeeded, "{dies_in:?}");
    assert!(head.published, "{dies_in:?}");
    let mut expected = Counts::default();
    for ordinal in 0..chunks {
        expected += &counts_of(ordinal);
    }
    assert_eq!(head.counts, Some(expected), "{dies_in:?}");
    let published = functions.bus.events.lock().unwrap();
    assert!(!published.is_empty(), "{dies_in:?}");
    assert!(
        published.iter().all(|event| *event == published[0]),
        "{dies_in:?}"
    );
    functions.caller.pauses.get()
}

#[tokio::test]
async fn a_crash_at_any_step_is_recovered_from() {
    // No chunk, one, some, a whole shard, one more than a shard.
    for chunks in [0, 1, 3, 128, 129] {
        for seal_first in [true, false] {
            let steps = run(chunks, None, seal_first).await / 2;
            // The steps of chunks in the middle of a shard are all alike.
            let is_tested =
                |step: &usize| *step < 12 || *step + 24 > steps || step.is_multiple_of(37);
            for step in (0..steps).filter(is_tested) {
                run(chunks, Some(step * 2), seal_first).await;
                run(chunks, Some(step * 2 + 1), seal_first).await;
            }
        }
    }
}

#[tokio::test]
async fn a_job_with_dead_chunks_is_partial_and_counts_the_others() {
    let functions = Functions::new(None);
    functions.split(2).await;
    let (ledger, job) = (&functions.ledger, job().job);
    let dead = ChunkOutcome::Dead(dead_chunk(0));
    let dead = ledger.mark_chunk(job, 0, &dead).await;
    assert!(dead.unwrap().added);
    // A late worker does not count a dead chunk.
    let late = ledger.mark_chunk(job, 0, &done(0)).await;
    assert!(!late.unwrap().added);
    functions.work(1).await;
    let published = functions.bus.events.lock().unwrap();
    assert_eq!(published[0].state, JobState::Partial);
    assert_eq!(published[0].counts, counts_of(1));
    assert_eq!(published[0].dead, 1);
    assert_eq!(published[0].dead_chunks.first, [dead_chunk(0)]);
}

#[tokio::test]
async fn a_different_second_plan_is_refused() {
    let functions = Functions::new(None);
    functions.split(2).await;
    let other = Seal {
        chunks: 3,
        problem: None,
        warnings: Vec::new(),
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
    let functions = Functions::new(None);
    functions.split(5).await;
    // A second splitter found the object deleted after two chunks, and set the size of the shard before its seal was
    // refused.
    let shortened = functions.stored().size_shard(job().job, 0, 2);
    shortened.await.unwrap();
    for ordinal in [0, 1, 2, 4] {
        functions.work(ordinal).await;
    }
    assert!(functions.bus.events.lock().unwrap().is_empty());
    functions.work(3).await;
    assert_eq!(
        functions.bus.events.lock().unwrap()[0].state,
        JobState::Succeeded
    );
}
