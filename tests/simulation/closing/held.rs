//! Prunes that are held back: every store is pruned or none, whichever step a function dies at and whatever happens to
//! the rows meanwhile. A confirmed prune runs once.

use std::sync::Arc;

use landfall_aws::{ChunkQueue as _, Datasets, Objects, Publisher, WorkMessage};
use landfall_closing::{CloseError, Closer, confirm_prune};
use landfall_domain::{
    CompletionEvent, Counts, Dataset, DatasetRef, Mode, ObjectOrder, ProblemCode, PruneState, Row,
    StoreCounts, StoreKind, Value,
};
use landfall_ledger::{ChunkOutcome, JobHead, Ledger, LedgerTable, Seal};
use landfall_stores::Store;

use super::{Caller, far};
use crate::fakes::{Buckets, Bus, Table, head_of, locked, metrics};
use crate::queue::Queue;
use crate::stores::Map;

const DEFINITION: &str = r#"
name = "products"
key = ["sku"]
mode = "snapshot"
fields = [{ name = "sku", type = "text" }]
"#;

/// Number of rows in the snapshot.
const ROWS: u32 = 10;

/// What happens to the older rows of a store when a function dies.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    /// There are many, and they are deleted.
    Shrinks,
    /// There are few, and many come late.
    Grows,
}

/// A sealed snapshot of one chunk, whose rows are in both stores.
struct Scene {
    caller: Caller,
    ledger: Ledger,
    closer: Closer,
    datasets: Datasets,
    queue: Queue,
    bus: Arc<Bus>,
    stores: [Arc<Map>; 2],
    head: JobHead,
}

fn dataset() -> Dataset {
    Dataset::from_toml("products.toml", DEFINITION).unwrap()
}

fn order(time: i64) -> ObjectOrder {
    ObjectOrder::new(time, "01", head_of("products/a.csv").job).unwrap()
}

fn rows(keys: std::ops::Range<u32>, deleted: bool) -> Arc<Vec<Row>> {
    let row = |key: u32| Row {
        offset: u64::from(key) + 1_000 * u64::from(deleted),
        deleted,
        values: vec![Value::Text(format!("{key:04}").as_str().into())].into(),
        extra: None,
        parts: None,
    };
    Arc::new(keys.map(row).collect())
}

impl Scene {
    async fn new(meanwhile: Meanwhile, dies_in: Option<usize>) -> Self {
        let buckets = Arc::new(Buckets::default());
        let definition = ("config".to_owned(), "datasets/products.toml".to_owned());
        locked(&buckets.latest).insert(definition, DEFINITION.into());
        let datasets = || Datasets::new(Arc::clone(&buckets) as Arc<dyn Objects>, "config");
        let bus = Arc::<Bus>::default();
        let table = Arc::<Table>::default() as Arc<dyn LedgerTable>;
        let ledger = Ledger::new(table);
        let stores = [StoreKind::Mongodb, StoreKind::Sqlite].map(Map::new);
        // In one of the stores, the share alone would allow the prune.
        let older = match meanwhile {
            Meanwhile::Shrinks => [500, 12],
            Meanwhile::Grows => [12, 14],
        };
        for (store, older) in stores.iter().zip(older) {
            for (time, keys) in [(1, 0..older), (2, 0..ROWS)] {
                let (dataset, order, rows) = (dataset(), order(time), rows(keys, false));
                store.apply(&dataset, &order, &rows).await.unwrap();
            }
        }
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
        ledger.expect_chunk(head.job, 0).await.unwrap();
        let seal = Seal {
            chunks: 1,
            problem: None,
            warnings: Vec::new(),
        };
        ledger.seal(head.job, &seal).await.unwrap();
        let of_closer = stores
            .each_ref()
            .map(|store| Arc::clone(store) as Arc<dyn Store>);
        Self {
            caller: Caller::new(dies_in),
            closer: Closer::new(
                ledger.clone(),
                Arc::clone(&bus) as Arc<dyn Publisher>,
                Arc::<Queue>::default(),
                Arc::new(datasets()),
                of_closer.into(),
                "rejects",
                metrics(),
            ),
            datasets: datasets(),
            queue: Queue::default(),
            ledger,
            bus,
            stores,
            head,
        }
    }

    async fn head(&self) -> JobHead {
        self.ledger.head(self.head.job).await.unwrap().unwrap()
    }

    async fn rows_change(&self, meanwhile: Meanwhile) {
        let changed = match meanwhile {
            Meanwhile::Shrinks => rows(20..500, true),
            Meanwhile::Grows => rows(0..500, false),
        };
        for store in &self.stores {
            let applied = store.apply(&dataset(), &order(1), &changed).await;
            applied.unwrap();
        }
    }

    async fn deliver_chunk(&self) -> Result<(), CloseError> {
        let earlier = self.ledger.find_mark(self.head.job, 0).await?;
        let mark = if let Some(mark) = earlier {
            mark
        } else {
            let counts = StoreCounts {
                updated: u64::from(ROWS),
                ..StoreCounts::default()
            };
            let counts = Counts {
                rows: u64::from(ROWS),
                stores: self
                    .stores
                    .iter()
                    .map(|store| (store.kind, counts))
                    .collect(),
                ..Counts::default()
            };
            let done = ChunkOutcome::Done(counts);
            self.ledger.mark_chunk(self.head.job, 0, &done).await?
        };
        if let Some(head) = mark.to_close {
            self.closer.close(head, far()).await?;
        }
        Ok(())
    }

    /// Delivers the chunk until two deliveries have succeeded.
    async fn close(&self, meanwhile: Meanwhile) {
        let mut succeeded = 0;
        while succeeded < 2 {
            if Box::pin(self.caller.call(self.deliver_chunk()))
                .await
                .is_some()
            {
                succeeded += 1;
            } else {
                self.rows_change(meanwhile).await;
            }
        }
    }

    /// Confirms the prune twice, and delivers each message of it twice.
    async fn confirm(&self) {
        let confirm = async || {
            let head = self.head().await;
            confirm_prune(&self.ledger, &self.datasets, &self.queue, head).await
        };
        let mut confirmed = 0;
        while confirmed < 2 {
            confirmed += u32::from(self.caller.call(confirm()).await.is_some());
        }
        let messages = locked(&self.queue.waiting).len();
        assert!(messages >= 2, "each confirmation is handed to a worker");
        let deliver = async || self.closer.close(self.head().await, far()).await;
        let mut delivered = 0;
        while delivered < messages * 2 {
            delivered += usize::from(self.caller.call(deliver()).await.is_some());
        }
    }

    fn live_rows(&self) -> [usize; 2] {
        self.stores.each_ref().map(|store| {
            let rows = locked(&store.rows);
            rows.values().filter(|(_, values)| values.is_some()).count()
        })
    }

    /// Returns the published events in their order, without repetitions. Those of one id must be equal.
    fn events(&self) -> Vec<CompletionEvent> {
        let mut events: Vec<CompletionEvent> = Vec::new();
        for event in locked(&self.bus.events).iter() {
            match events.iter().find(|other| other.id == event.id) {
                Some(first) => assert_eq!(first, event, "two different events have one id"),
                None => events.push(event.clone()),
            }
        }
        events
    }
}

/// Runs a snapshot. Returns the number of pauses, and whether its prune was held back.
async fn run(meanwhile: Meanwhile, dies_in: Option<usize>) -> (usize, bool) {
    let scene = Scene::new(meanwhile, dies_in).await;
    let before = scene.live_rows();
    Box::pin(scene.close(meanwhile)).await;
    let job = scene.head.job;
    let place = format!("{meanwhile:?}, {dies_in:?}");
    let events = scene.events();
    assert_eq!(events.len(), 1, "{place}");
    let first = &events[0];
    assert_eq!(first.id, CompletionEvent::id_for(job, 1));
    let is_held = first.prune == Some(PruneState::Held);
    if is_held {
        let problem = first.problem.as_ref().unwrap();
        assert_eq!(problem.code, ProblemCode::PruneHeld, "{place}");
        assert!(
            first
                .counts
                .stores
                .values()
                .all(|counts| counts.pruned == 0),
            "{place}"
        );
        if dies_in.is_none() {
            assert_eq!(scene.live_rows(), before);
        } else {
            let kept = scene.live_rows().iter().all(|rows| *rows > ROWS as usize);
            assert!(kept, "{place}: {:?}", scene.live_rows());
        }
        scene.confirm().await;
        let events = scene.events();
        assert_eq!(events.len(), 2, "{place}");
        assert_eq!(&events[0], first);
        let second = &events[1];
        assert_eq!(second.id, CompletionEvent::id_after_prune(job, 1));
        assert_eq!(second.prune, Some(PruneState::Done), "{place}");
        assert_eq!(second.problem, None, "{place}");
        if dies_in.is_none() {
            let pruned = second.counts.stores.values().map(|counts| counts.pruned);
            assert_eq!(pruned.collect::<Vec<_>>(), [490, 2]);
        }
        assert!(!scene.head().await.awaits_prune(), "{place}");
    } else {
        assert_eq!(first.problem, None, "{place}");
    }
    assert_eq!(scene.live_rows(), [ROWS as usize; 2], "{place}");
    (scene.caller.pauses.get(), is_held)
}

#[tokio::test]
async fn every_store_is_pruned_or_none() {
    for meanwhile in [Meanwhile::Shrinks, Meanwhile::Grows] {
        let (pauses, is_held) = Box::pin(run(meanwhile, None)).await;
        assert_eq!(is_held, matches!(meanwhile, Meanwhile::Shrinks));
        let mut outcomes = [0, 0];
        for pause in 0..pauses {
            let (_, is_held) = Box::pin(run(meanwhile, Some(pause))).await;
            outcomes[usize::from(is_held)] += 1;
        }
        // What the rows were when a function died decides before the decision is taken, and not afterwards.
        assert!(outcomes.iter().all(|runs| *runs > 0), "{outcomes:?}");
    }
}

#[tokio::test]
async fn a_close_message_prunes_nothing_without_a_confirmation() {
    let scene = Scene::new(Meanwhile::Shrinks, None).await;
    Box::pin(scene.close(Meanwhile::Shrinks)).await;
    let before = scene.live_rows();
    let message = WorkMessage::Close {
        job: scene.head.job,
    };
    scene.queue.send(&[message]).await.unwrap();
    for _ in 0..2 {
        scene.closer.close(scene.head().await, far()).await.unwrap();
    }
    assert_eq!(scene.live_rows(), before);
    assert_eq!(scene.events().len(), 1);
}
