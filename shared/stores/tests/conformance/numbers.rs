//! Which numbers have a row or a tombstone under a parent.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use landfall_domain::{Row, Value};
use landfall_stores::{MAX_NUMBERS, Reader};

use crate::databases::{Database, dataset};
use crate::rows::{deletion, row, text};
use crate::worker::Worker;

const CHATS: &str = r#"
key = ["application", "chat", "message"]
fields = [
    { name = "body", type = "text" },
    { name = "message", type = "integer" },
    { name = "application", type = "text" },
    { name = "chat", type = "integer" },
]
"#;

fn values(application: &str, chat: i64, message: i64) -> Vec<Value> {
    vec![
        text("hello"),
        Value::Integer(message),
        text(application),
        Value::Integer(chat),
    ]
}

fn message(application: &str, chat: i64, message: i64) -> Row {
    row(0, values(application, chat, message))
}

fn delete(application: &str, chat: i64, message: i64) -> Row {
    deletion(values(application, chat, message))
}

async fn found(
    reader: &dyn Reader,
    worker: &Worker<'_>,
    (application, chat): (&str, i64),
    numbers: RangeInclusive<i64>,
) -> BTreeSet<i64> {
    let parent = [text(application), Value::Integer(chat)];
    let found = reader.stored_numbers(&worker.dataset, &parent, numbers);
    found.await.unwrap()
}

pub(crate) async fn numbers_with_rows_and_tombstones(database: &Database) {
    let reader = database.reader().await;
    let reader = reader.as_ref();
    let chats = dataset(CHATS);
    // Without a table.
    let parent = [text("a"), Value::Integer(1)];
    let none = reader.stored_numbers(&chats, &parent, 1..=10).await;
    assert_eq!(none.unwrap(), BTreeSet::new());
    let worker = Worker::new(database, chats).await;
    let of = async |parent, numbers| found(reader, &worker, parent, numbers).await;
    assert_eq!(of(("a", 1), 1..=10).await, BTreeSet::new());

    let others = [("a", 2, 5), ("b", 1, 6), ("A", 1, 7), ("a ", 1, 8)];
    let others = others.map(|(application, chat, number)| message(application, chat, number));
    let rows = [1, 2, 4, 10, 11].map(|number| message("a", 1, number));
    worker
        .apply(10, rows.into_iter().chain(others).collect())
        .await;
    assert_eq!(of(("a", 1), 1..=10).await, [1, 2, 4, 10].into());
    assert_eq!(of(("a", 1), 3..=4).await, [4].into());
    assert_eq!(of(("a", 1), 12..=1_000).await, BTreeSet::new());
    assert_eq!(of(("a", 2), 1..=10).await, [5].into());
    assert_eq!(of(("a ", 1), 1..=10).await, [8].into());

    // A deleted row, a number whose row never came, and a row that comes back.
    let deletes = [1, 3, 4].map(|number| delete("a", 1, number));
    worker.apply(20, deletes.into()).await;
    worker.apply(30, vec![message("a", 1, 4)]).await;
    assert_eq!(of(("a", 1), 1..=10).await, [1, 2, 3, 4, 10].into());
    // A row that is older than the tombstone of its number stays away.
    worker.apply(15, vec![message("a", 1, 3)]).await;
    assert_eq!(of(("a", 1), 3..=3).await, [3].into());

    for (parent, numbers) in [
        (&parent[..1], 1..=10),
        (&parent[..], 1..=i64::from(MAX_NUMBERS) + 1),
        (&parent[..], i64::MIN..=i64::MAX),
    ] {
        let refused = reader.stored_numbers(&worker.dataset, parent, numbers);
        assert!(refused.await.is_err());
    }
    worker.drop_table().await;
}

pub(crate) async fn many_numbers(database: &Database) {
    let worker = Worker::of(database, CHATS).await;
    let reader = database.reader().await;
    let even = (1..=2_500).filter(|number| number % 2 == 0);
    worker
        .apply(10, even.map(|number| message("a", 1, number)).collect())
        .await;
    let thirds = (1..=2_500).filter(|number| number % 3 == 0);
    worker
        .apply(20, thirds.map(|number| delete("a", 1, number)).collect())
        .await;
    for from in [1, 1_001, 2_001] {
        let range = from..=from + i64::from(MAX_NUMBERS) - 1;
        let is_stored = |number: &i64| *number <= 2_500 && (number % 2 == 0 || number % 3 == 0);
        let expected = range.clone().filter(is_stored).collect();
        assert_eq!(
            found(reader.as_ref(), &worker, ("a", 1), range).await,
            expected
        );
    }
    worker.drop_table().await;
}
