//! Lists and views of jobs.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use landfall_domain::{
    ByteRange, Counts, DatasetRef, DeadChunk, DeadCode, JobId, JobState, MAX_LISTED_DEAD_CHUNKS,
    ObjectOrder, ObjectRef,
};
use landfall_ledger::{
    ChunkOutcome, JobHead, JobIndex, JobView, JobsQuery, Ledger, LedgerTable, MemoryTable,
    Progress, SHARD_CHUNKS, Seal, job_of_item,
};

fn dead_chunk(ordinal: u32) -> DeadChunk {
    let start = u64::from(ordinal) * 100;
    DeadChunk {
        ordinal,
        range: ByteRange {
            start,
            end: start + 100,
        },
        first_line: 7,
        code: DeadCode::StoreRefused,
        reason: "refused".to_owned(),
        attempt: 1,
    }
}

fn head(key: &str) -> JobHead {
    let job = JobId::for_object("inbox", key, "1");
    let object = ObjectRef {
        bucket: "inbox".to_owned(),
        key: key.to_owned(),
        version: Some("1".to_owned()),
        etag: String::new(),
        size: 1_000,
    };
    let dataset = DatasetRef {
        name: object.dataset_name().unwrap_or_default().to_owned(),
        version: None,
    };
    JobHead {
        dataset: Some(dataset),
        chunk_bytes: 100,
        ..JobHead::new(job, object, ObjectOrder::new(1, "", job).unwrap())
    }
}

fn done(rows: u64) -> ChunkOutcome {
    ChunkOutcome::Done(Counts {
        rows,
        ..Counts::default()
    })
}

#[tokio::test]
async fn pages_list_every_job_once_from_the_newest_to_the_oldest() {
    let table = MemoryTable::default();
    for number in 0..7 {
        let dataset = if number % 2 == 0 { "a" } else { "b" };
        table
            .create(&head(&format!("{dataset}/{number}.csv")))
            .await
            .unwrap();
    }
    let mut query = JobsQuery {
        limit: 3,
        ..JobsQuery::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = table.jobs(&query).await.unwrap();
        seen.extend(page.heads.into_iter().map(|head| head.created_at));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|a, b| a >= b));

    let of_b = JobsQuery {
        datasets: Some(vec!["b".to_owned()]),
        limit: 10,
        ..JobsQuery::default()
    };
    let keys: Vec<_> = table.jobs(&of_b).await.unwrap().heads;
    assert_eq!(keys.len(), 3);
    assert!(
        keys.iter()
            .all(|head| head.object.dataset_name() == Some("b"))
    );
}

#[tokio::test]
async fn a_view_shows_the_progress_of_a_job_until_it_closes() {
    let table = Arc::new(MemoryTable::default());
    let ledger = Ledger::new(table.clone());
    let head = ledger.start(&head("a/1.csv")).await.unwrap();
    let now = Timestamp::now();

    let view = JobView::new(&head, &Progress::default(), now);
    assert_eq!(view.counts, None);
    assert_eq!(view.progress, Some(0.0));
    assert_eq!(view.chunks.planned, None);

    ledger.expect_chunk(head.job, 0).await.unwrap();
    ledger.mark_chunk(head.job, 0, &done(60)).await.unwrap();
    let progress = Progress::read(&*table, &head).await.unwrap();
    let later = now + SignedDuration::from_secs(10);
    let view = JobView::new(&head, &progress, later);
    // One chunk of 100 bytes, of an object of 1,000.
    assert_eq!(view.progress, Some(0.1));
    assert_eq!(view.counts.unwrap().rows, 60);
    assert!(view.rows_per_second.unwrap() <= 6.0);

    assert_eq!(table.generation("a").await.unwrap(), 0);
    ledger.expect_chunk(head.job, 1).await.unwrap();
    let seal = Seal {
        chunks: 2,
        problem: None,
        warnings: Vec::new(),
    };
    let head = ledger.seal(head.job, &seal).await.unwrap();
    let half = JobView::read(&*table, &head).await.unwrap();
    assert_eq!(half.progress, Some(0.5));
    assert_eq!(half.chunks.remaining, Some(1));
    let mark = ledger
        .mark_chunk(head.job, 1, &ChunkOutcome::Dead(dead_chunk(1)))
        .await;
    let head = mark.unwrap().to_close.unwrap();
    let sums = ledger.sums(&head).await.unwrap().unwrap();
    let (state, problem) = head.outcome(&sums);
    let closed = ledger.record_close(&head, state, problem, sums);
    let head = closed.await.unwrap();
    let view = JobView::read(&*table, &head).await.unwrap();
    assert_eq!(view.state, JobState::Partial);
    assert_eq!(view.progress, Some(1.0));
    assert_eq!((view.chunks.done, view.chunks.dead), (1, 1));
    assert_eq!(view.dead_chunks.first, [dead_chunk(1)]);
    let problem = view.problem.unwrap().message;
    let expected = "1 of 2 chunks could not be processed, so rows may be missing; remove the cause, then redrive the \
                    job or upload the file again; chunk 1 (bytes 100 to 200, from line 7): refused";
    assert_eq!(problem, expected);
    assert_eq!(view.chunks.remaining, Some(0));
    assert_eq!(view.counts.unwrap().rows, 60);
    assert_eq!(table.generation("a").await.unwrap(), 1);
    assert_eq!(table.generation("b").await.unwrap(), 0);
}

#[tokio::test]
async fn the_progress_of_an_unsealed_job_includes_all_its_shards() {
    let table = MemoryTable::default();
    let head = table.create(&head("a/1.csv")).await.unwrap();
    for shards in [0, 1, 4, 5, 20, 21, 85] {
        for shard in 0..shards {
            table.create_shard(head.job, shard).await.unwrap();
            let first = shard * SHARD_CHUNKS;
            table.add_chunk(head.job, first, &done(2)).await.unwrap();
        }
        let progress = Progress::read(&table, &head).await.unwrap();
        assert_eq!(progress.done, shards);
        assert_eq!(progress.counts.rows, u64::from(shards) * 2);
    }
}

#[tokio::test]
async fn a_job_is_listed_as_open_until_its_event_is_published() {
    let table = Arc::new(MemoryTable::default());
    let ledger = Ledger::new(table.clone());
    let mut started = Vec::new();
    for number in 0..3 {
        let head = ledger.start(&head(&format!("a/{number}.csv"))).await;
        started.push(head.unwrap());
    }
    let open = async |after, limit| {
        let page = table.open_jobs(after, limit).await.unwrap();
        let jobs: Vec<JobId> = page.heads.iter().map(|head| head.job).collect();
        (jobs, page.next)
    };
    let [oldest, other, newest] = [started[0].job, started[1].job, started[2].job];
    let (jobs, next) = open(None, 2).await;
    assert_eq!(jobs, [oldest, other]);
    assert_eq!(open(next.as_ref(), 2).await, (vec![newest], None));

    let seal = Seal {
        chunks: 0,
        problem: None,
        warnings: Vec::new(),
    };
    let sealed = ledger.seal(oldest, &seal).await.unwrap();
    let sums = ledger.sums(&sealed).await.unwrap().unwrap();
    let closed = ledger.record_close(&sealed, JobState::Succeeded, None, sums);
    let closed = closed.await.unwrap();
    assert_eq!(open(None, 9).await.0, [oldest, other, newest]);
    ledger.record_published(&closed).await.unwrap();
    assert_eq!(open(None, 9).await.0, [other, newest]);

    // A job of an earlier release is missing until it is added.
    table.unlist(other);
    assert_eq!(open(None, 9).await.0, [newest]);
    for _ in 0..2 {
        ledger.list_as_open(other).await.unwrap();
        assert_eq!(open(None, 9).await.0, [other, newest]);
    }
    ledger.list_as_open(oldest).await.unwrap();
    assert_eq!(open(None, 9).await.0, [other, newest]);
}

#[test]
fn the_key_of_an_item_contains_its_job() {
    let job = JobId::for_object("b", "k", "v");
    assert_eq!(job_of_item(&format!("job/{job}")), Some(job));
    assert_eq!(job_of_item(&format!("job/{job}/12")), Some(job));
    assert_eq!(job_of_item("dataset#products"), None);
}

#[tokio::test]
async fn many_dead_chunks_are_counted_and_the_first_are_listed() {
    let table = Arc::new(MemoryTable::default());
    let ledger = Ledger::new(Arc::clone(&table) as Arc<dyn LedgerTable>);
    let head = ledger.start(&head("a/many.csv")).await.unwrap();
    let chunks = SHARD_CHUNKS + 30;
    for ordinal in 0..chunks {
        ledger.expect_chunk(head.job, ordinal).await.unwrap();
    }
    let seal = Seal {
        chunks,
        problem: None,
        warnings: Vec::new(),
    };
    ledger.seal(head.job, &seal).await.unwrap();
    let mut to_close = None;
    for ordinal in 0..chunks {
        let dead = ChunkOutcome::Dead(dead_chunk(ordinal));
        let mark = ledger.mark_chunk(head.job, ordinal, &dead).await.unwrap();
        to_close = mark.to_close;
    }
    let sums = ledger.sums(&to_close.unwrap()).await.unwrap().unwrap();
    assert_eq!(sums.dead, chunks);
    assert_eq!(sums.dead_chunks.by_code[&DeadCode::StoreRefused], chunks);
    let listed: Vec<DeadChunk> = (0..20).map(dead_chunk).collect();
    assert_eq!(MAX_LISTED_DEAD_CHUNKS, listed.len());
    assert_eq!(sums.dead_chunks.first, listed);
}
