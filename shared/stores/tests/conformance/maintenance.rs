//! Indexes of big tables are created beside writers, and small ones at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use landfall_domain::{Dataset, Row, Start, Value, latest_by_key};
use landfall_stores::{Current, Maintenance, Prepared, Store, StoreError, StoreOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{sleep, timeout};

use crate::databases::{Database, redefined};
use crate::rows::{PAIRS, dies_after, notes, order, pair, row, text};
use crate::totals;
use crate::worker::Worker;

const OPTIONS: StoreOptions = StoreOptions {
    connections: 2,
    timeout: Duration::from_mins(1),
    step_rows: 30,
    small_table_rows: 50,
};

const INDEXED: &str = r#"
key = ["id"]
fields = [{ name = "id", type = "text" }, { name = "note", type = "text", index = true }]
"#;

const UNORDERED: &str = r#"
key = ["id"]
fields = [{ name = "id", type = "text" }, { name = "changed", type = "integer", required = true }]
"#;

fn pairs(first: usize, note: &str) -> Vec<Row> {
    let ids = first..first + 200;
    ids.map(|number| pair(&format!("key {number:05}"), note))
        .collect()
}

/// Returns what a new process finds when it prepares the dataset.
async fn prepared(database: &Database, dataset: &Dataset) -> Prepared {
    let store = database.store_with(OPTIONS).await;
    store.prepare(dataset).await.unwrap()
}

/// Maintains the dataset by processes some of which die, until nothing is left.
async fn maintain_with_crashes(database: &Database, dataset: &Dataset) {
    let mut random = StdRng::seed_from_u64(1);
    let (mut crashes, mut steps) = (0, 0);
    loop {
        let store: Arc<dyn Store> = database.store_with(OPTIONS).await;
        let current = Current::default();
        let step = store.maintain(dataset, &current);
        let polls = if crashes < 3 {
            random.random_range(0..12)
        } else {
            u32::MAX
        };
        let Some(step) = dies_after(polls, step).await else {
            crashes += 1;
            continue;
        };
        match step.unwrap() {
            Maintenance::Done => break,
            Maintenance::Continues => steps += 1,
            // The server still works on what a process began that died.
            Maintenance::Busy => sleep(Duration::from_millis(20)).await,
        }
    }
    assert!(crashes + steps > 0, "nothing was done");
}

pub(crate) async fn an_index_of_a_big_table_is_left_to_maintenance(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(1, pairs(0, "1")).await;
    let indexed = redefined(&worker.dataset, INDEXED);
    for _ in 0..2 {
        let found = prepared(database, &indexed).await;
        assert_eq!(found, Prepared::NeedsMaintenance);
    }
    // Chunks go on without the index, and while it is created.
    let store = database.store_with(OPTIONS).await;
    store.prepare(&indexed).await.unwrap();
    let done = AtomicBool::new(false);
    let write = async {
        let mut moment = 1;
        while !done.load(Ordering::Relaxed) || moment < 5 {
            moment += 1;
            let first = usize::try_from(moment).unwrap() * 50;
            let rows = Arc::new(pairs(first, "new"));
            let counts = store.apply(&indexed, &order(moment), &rows).await;
            assert_eq!(counts.unwrap().stale, 0);
        }
        usize::try_from(moment).unwrap() * 50 + 200
    };
    let maintain = async {
        maintain_with_crashes(database, &indexed).await;
        done.store(true, Ordering::Relaxed);
    };
    let (rows, ()) = tokio::join!(write, maintain);
    assert_eq!(prepared(database, &indexed).await, Prepared::Complete);
    assert_eq!(notes(&database.read(&indexed).await).len(), rows);
    // An older definition asks for nothing.
    let step = store.maintain(&worker.dataset, &Current::default()).await;
    assert_eq!(step.unwrap(), Maintenance::Done);
    worker.drop_table().await;
}

pub(crate) async fn small_tables_get_their_indexes_at_once(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let few = pairs(0, "1").into_iter().take(40);
    worker.apply(1, few.collect()).await;
    let indexed = redefined(&worker.dataset, INDEXED);
    assert_eq!(prepared(database, &indexed).await, Prepared::Complete);
    let store = database.store_with(OPTIONS).await;
    let step = store.maintain(&indexed, &Current::default()).await;
    assert_eq!(step.unwrap(), Maintenance::Done);
    worker.drop_table().await;
}

pub(crate) async fn totals_of_a_big_table_are_left_to_maintenance(database: &Database) {
    let worker = Worker::new(database, totals::dataset_with("")).await;
    let random = &mut StdRng::seed_from_u64(2);
    let mut rows = |ids| totals::any_products(&worker.dataset, ids, random);
    worker.apply(1, rows(0..200)).await;
    let with = redefined(
        &worker.dataset,
        &totals::definition(&worker.dataset.name, totals::TOTALS),
    );
    let store = database.store_with(OPTIONS).await;
    let found = store.prepare(&with).await.unwrap();
    assert_eq!(found, Prepared::NeedsMaintenance);
    let apply = async |moment, rows: Vec<Row>| {
        let rows: Arc<Vec<Row>> = latest_by_key(rows, &with).0.into();
        store.apply(&with, &order(moment), &rows).await.unwrap()
    };
    apply(2, rows(100..300)).await;
    let reader = database.reader().await;
    let groups = reader.totals(&with, &with.totals[0], &Start::First, 5);
    let error = groups.await.unwrap_err();
    assert!(matches!(error, StoreError::Building(_)), "{error}");

    let done = AtomicBool::new(false);
    let write = async {
        let mut moment = 2;
        while !done.load(Ordering::Relaxed) || moment < 5 {
            moment += 1;
            apply(moment, rows(moment * 20..moment * 20 + 150)).await;
        }
    };
    let maintain = async {
        maintain_with_crashes(database, &with).await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(write, maintain);
    totals::check(database, &with).await;
    assert_eq!(prepared(database, &with).await, Prepared::Complete);
    let groups = reader.totals(&with, &with.totals[0], &Start::First, 5);
    assert!(!groups.await.unwrap().groups.is_empty());
    apply(1_000, rows(50..400)).await;
    totals::check(database, &with).await;
    database.drop_table(&with).await;
}

const VALIDITY: &str = "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
     WHERE indrelid = '{}'::regclass AND NOT indisprimary";

pub(crate) async fn an_invalid_index_is_created_again(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(1, pairs(0, "1")).await;
    let indexed = redefined(&worker.dataset, INDEXED);
    let store = database.store_with(OPTIONS).await;
    store.prepare(&indexed).await.unwrap();
    assert_eq!(
        store.maintain(&indexed, &Current::default()).await.unwrap(),
        Maintenance::Continues
    );
    // As if the server had stopped before it was valid and registered.
    let name = &indexed.name;
    let forget = format!(
        "UPDATE pg_index SET indisvalid = false \
         WHERE indrelid = '{name}'::regclass AND NOT indisprimary; \
         UPDATE _landfall SET definition = replace(definition, '\"indexes\":[\"note\"]', '\"indexes\":[]') \
         WHERE dataset = '{name}'"
    );
    database.execute(&forget).await;
    assert_eq!(
        prepared(database, &indexed).await,
        Prepared::NeedsMaintenance
    );
    maintain_with_crashes(database, &indexed).await;
    assert_eq!(prepared(database, &indexed).await, Prepared::Complete);
    let valid = database.booleans(&VALIDITY.replace("{}", name)).await;
    assert_eq!(valid, [true]);
    worker.drop_table().await;
}

pub(crate) async fn one_session_at_a_time(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(1, pairs(0, "1")).await;
    let indexed = redefined(&worker.dataset, INDEXED);
    let store = database.store_with(OPTIONS).await;
    store.prepare(&indexed).await.unwrap();
    // An open transaction, for which the server waits.
    let name = &indexed.name;
    let open = format!("BEGIN; LOCK TABLE {name} IN ROW EXCLUSIVE MODE");
    let open = database.execute(&open).await;
    let waits = {
        let current = Current::default();
        timeout(
            Duration::from_millis(300),
            store.maintain(&indexed, &current),
        )
        .await
    };
    waits.unwrap_err();
    // The process has died, and the server still waits.
    let other = database.store_with(OPTIONS).await;
    assert_eq!(
        other.maintain(&indexed, &Current::default()).await.unwrap(),
        Maintenance::Busy
    );
    // A chunk that would have to wait for it fails with an error that says so.
    let hurried = database.store_with(StoreOptions {
        timeout: Duration::from_secs(2),
        ..OPTIONS
    });
    let wider = INDEXED.replace(
        "index = true }",
        "index = true }, { name = \"more\", type = \"text\" }",
    );
    let wider = redefined(&worker.dataset, &wider);
    let error = hurried.await.prepare(&wider).await.unwrap_err();
    assert!(matches!(error, StoreError::Maintained { .. }), "{error}");
    drop(open);
    maintain_with_crashes(database, &indexed).await;
    assert_eq!(prepared(database, &indexed).await, Prepared::Complete);
    worker.drop_table().await;
}

pub(crate) async fn an_order_of_a_big_table_gets_room(database: &Database) {
    let worker = Worker::of(database, UNORDERED).await;
    let rows = |moment: i64| -> Vec<Row> {
        let keys = (0..200).map(|number| format!("key {number:05}"));
        let rows = keys.map(|key| row(0, vec![text(&key), Value::Integer(moment)]));
        rows.collect()
    };
    worker.apply(1, rows(1)).await;
    let ordered = redefined(
        &worker.dataset,
        &format!("order = \"changed\"\n{UNORDERED}"),
    );
    if prepared(database, &ordered).await == Prepared::Blocked {
        maintain_with_crashes(database, &ordered).await;
    }
    assert_eq!(prepared(database, &ordered).await, Prepared::Complete);
    let store = database.store_with(OPTIONS).await;
    for (moment, changed) in [(3, 5), (4, 4)] {
        let rows = Arc::new(rows(changed));
        let counts = store.apply(&ordered, &order(moment), &rows).await.unwrap();
        assert_eq!(counts.updated, if changed == 5 { 200 } else { 0 });
    }
    worker.drop_table().await;
}
