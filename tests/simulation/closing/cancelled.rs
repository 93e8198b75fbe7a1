//! Snapshots that are cancelled while they close: either they delete nothing, or the cancellation is refused.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use landfall_aws::{Datasets, Objects, Publisher};
use landfall_closing::{CancelError, Closer, cancel_job};
use landfall_domain::{
    Counts, Dataset, DatasetRef, JobState, Mode, ObjectOrder, Row, StoreKind, Value,
};
use landfall_ledger::{CancelRefusal, ChunkOutcome, JobHead, Ledger, LedgerTable, Seal};
use landfall_stores::Store;

use super::far;
use crate::fakes::{Buckets, Bus, Table, head_of, locked, metrics};
use crate::queue::Queue;
use crate::stores::Map;

const DEFINITION: &str = r#"
name = "products"
key = ["sku"]
mode = "snapshot"
fields = [{ name = "sku", type = "text" }]
"#;

/// Closes a snapshot that lacks a row, and cancels it after so many steps of the close. Returns whether that was
/// possible, or `None` if the close had ended before.
async fn cancelled_after(steps: usize) -> Option<bool> {
    let buckets = Arc::new(Buckets::default());
    let place = ("config".to_owned(), "datasets/products.toml".to_owned());
    locked(&buckets.latest).insert(place, DEFINITION.into());
    let datasets = Arc::new(Datasets::new(buckets as Arc<dyn Objects>, "config"));
    let (bus, queue) = (Arc::<Bus>::default(), Queue::default());
    let ledger = Ledger::new(Arc::<Table>::default() as Arc<dyn LedgerTable>);
    let store = Map::new(StoreKind::Sqlite);
    let dataset = Dataset::from_toml("products.toml", DEFINITION).unwrap();
    let row = Row {
        offset: 0,
        deleted: false,
        values: vec![Value::Text("old".into())].into(),
        extra: None,
        parts: None,
    };
    let job = head_of("products/a.csv").job;
    let order = |time| ObjectOrder::new(time, "01", job).unwrap();
    let (older, rows) = (order(1), Arc::new(vec![row]));
    store.apply(&dataset, &older, &rows).await.unwrap();
    let head = JobHead {
        dataset: Some(DatasetRef {
            name: "products".to_owned(),
            version: None,
        }),
        mode: Mode::Snapshot,
        order: order(2),
        ..head_of("products/a.csv")
    };
    ledger.start(&head).await.unwrap();
    ledger.expect_chunk(job, 0).await.unwrap();
    let seal = Seal {
        chunks: 1,
        problem: None,
        warnings: Vec::new(),
    };
    ledger.seal(job, &seal).await.unwrap();
    let done = ChunkOutcome::Done(Counts::default());
    let mark = ledger.mark_chunk(job, 0, &done).await.unwrap();
    let closer = Closer::new(
        ledger.clone(),
        Arc::clone(&bus) as Arc<dyn Publisher>,
        Arc::<Queue>::default(),
        datasets,
        vec![Arc::clone(&store) as Arc<dyn Store>],
        "rejects",
        metrics(),
    );

    let mut close = pin!(closer.close(mark.to_close.unwrap(), far()));
    for _ in 0..steps {
        let polled = std::future::poll_fn(|context| Poll::Ready(close.as_mut().poll(context)));
        if polled.await.is_ready() {
            return None;
        }
    }
    let head = ledger.head(job).await.unwrap().unwrap();
    let cancelled = match cancel_job(&ledger, &queue, head, "operator").await {
        Ok(_) => true,
        Err(CancelError::Refused(CancelRefusal::Closing | CancelRefusal::Closed(_))) => false,
        Err(other) => panic!("{other}"),
    };
    let head = close.await.unwrap();
    let floor = ledger.floor(head.dataset.as_ref().unwrap()).await.unwrap();
    let events = locked(&bus.events);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].state, head.state);
    let rows = locked(&store.rows);
    if cancelled {
        assert_eq!(head.state, JobState::Cancelled);
        assert!(rows.contains_key("old"), "after {steps} steps");
        assert_eq!(head.prune, None);
        assert_eq!(floor, None);
    } else {
        assert_eq!(head.state, JobState::Succeeded);
        assert!(!rows.contains_key("old"), "after {steps} steps");
        assert_eq!(head.cancelled, None);
    }
    Some(cancelled)
}

#[tokio::test]
async fn a_snapshot_that_is_cancelled_while_it_closes_prunes_everything_or_nothing() {
    let mut outcomes = Vec::new();
    for steps in 0.. {
        let Some(cancelled) = cancelled_after(steps).await else {
            break;
        };
        outcomes.push(cancelled);
    }
    // Both happen: it can be cancelled until it is decided what the prune deletes.
    let last = outcomes.iter().rposition(|cancelled| *cancelled).unwrap();
    assert!(last > 2 && last + 2 < outcomes.len(), "{outcomes:?}");
    assert!(outcomes[..=last].iter().all(|cancelled| *cancelled));
}
