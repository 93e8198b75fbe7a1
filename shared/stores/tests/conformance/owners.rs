//! Several stacks with one database.

use std::sync::Arc;

use landfall_domain::Dataset;
use landfall_stores::{Store, StoreError};

use crate::databases::{Database, dataset, redefined};
use crate::evolution::with_field;
use crate::rows::{PAIRS, counts, pair};
use crate::worker::Worker;

/// Asserts that a stack is refused for good, because of the stack that owns the dataset.
async fn assert_refused(store: &Arc<dyn Store>, dataset: &Dataset, owner: &str) {
    let error = store.prepare(dataset).await.expect_err("refused");
    assert!(matches!(error, StoreError::Schema { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains(&format!("DatabaseOwner={owner}")),
        "{message}"
    );
}

pub(crate) async fn the_first_stack_owns_a_dataset(database: &Database) {
    // Nobody owns what an earlier release wrote.
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(1, vec![pair("a", "1")]).await;
    let dataset = &worker.dataset;
    let (one, other) = ("1/eu/shop", "1/eu/shop-test");
    database.store_of(one).await.prepare(dataset).await.unwrap();
    assert_refused(&database.store_of(other).await, dataset, one).await;

    // The owner goes on, also with another definition, which no other stack can introduce.
    let grown = redefined(dataset, &with_field("pieces", "integer"));
    assert_refused(&database.store_of(other).await, &grown, one).await;
    database.store_of(one).await.prepare(&grown).await.unwrap();
    // Tools that belong to no stack leave the owner as it is.
    let tool = worker.other().await;
    tool.redefined(&with_field("later", "integer")).await;
    worker
        .applies(2, vec![pair("a", "2")], counts(0, 1, 0, 0))
        .await;
    assert_refused(&database.store_of(other).await, &grown, one).await;
    worker.drop_table().await;
}

pub(crate) async fn of_two_stacks_that_begin_at_once_one_owns_the_dataset(database: &Database) {
    for _ in 0..5 {
        let dataset = dataset(PAIRS);
        let stores = (
            database.store_of("one").await,
            database.store_of("two").await,
        );
        let (one, two) = tokio::join!(stores.0.prepare(&dataset), stores.1.prepare(&dataset));
        assert_ne!(one.is_ok(), two.is_ok(), "{one:?} {two:?}");
        let (first, owner, other) = if one.is_ok() {
            (stores.0, "one", "two")
        } else {
            (stores.1, "two", "one")
        };
        assert_refused(&database.store_of(other).await, &dataset, owner).await;
        let worker = Worker::with_store(database, dataset, first).await;
        worker.drop_table().await;
    }
}
