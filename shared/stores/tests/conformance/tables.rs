//! Large and wide chunks; tables that are missing, grow, or do not fit.

use std::cell::Cell;
use std::collections::BTreeMap;

use landfall_domain::{Dataset, Row, Value};
use tokio::join;
use tokio::task::JoinSet;

use crate::databases::{Database, dataset, redefined};
use crate::evolution::{assert_refused, with_field};
use crate::rows::{PAIRS, TYPES, counts, note, pair, parsed, row, text};
use crate::worker::Worker;

pub(crate) async fn whole_chunks_at_once(database: &Database) {
    const ROWS: u64 = 20_000;
    let worker = Worker::of(database, TYPES).await;
    let (day, at) = ("2026-11-20", "2026-11-20T08:30:00Z");
    let rows = |text: &str| -> Vec<Row> {
        let texts = [text, "7", "1.25", "0.5", "true", day, at, "[1]"];
        let row = |id: u64| parsed(&worker.dataset, Value::Integer(id.cast_signed()), &texts);
        (0..ROWS).map(row).collect()
    };
    for (moment, text, expected) in [
        (1, "a", counts(ROWS, 0, 0, 0)),
        (2, "b", counts(0, ROWS, 0, 0)),
        (3, "b", counts(0, 0, ROWS, 0)),
        (3, "b", counts(0, 0, ROWS, 0)),
        (2, "c", counts(0, 0, 0, ROWS)),
    ] {
        worker.applies(moment, rows(text), expected).await;
    }
    assert_eq!(worker.read().await.len() as u64, ROWS);
    worker.drop_table().await;
}

/// Around the number, and the bytes, from which on `PostgreSQL` uses `COPY`.
pub(crate) async fn few_rows_and_some_more(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    for (moment, (count, bytes)) in (1..).zip([(63, 1), (64, 1), (65, 1), (66, 1), (64, 8_192)]) {
        let long = "x".repeat(bytes);
        let expected = (0..count).map(|id| (format!("{moment}-{id}"), note(&long, moment)));
        let expected: BTreeMap<_, _> = expected.collect();
        let rows = expected.keys().map(|id| pair(id, &long)).collect();
        worker.applies(moment, rows, counts(count, 0, 0, 0)).await;
        let mut found = worker.notes().await;
        found.retain(|id, _| expected.contains_key(id));
        assert_eq!(found, expected, "{count} rows of {bytes} bytes");
    }
    worker.drop_table().await;
}

pub(crate) async fn wide_rows(database: &Database) {
    let field = |n| format!("{{ name = \"f{n}\", type = \"integer\" }}, ");
    let fields: String = (0..300).map(field).collect();
    let definition = format!("key = [\"f7\"]\nfields = [{fields}]\n");
    let worker = Worker::of(database, &definition).await;
    let rows = |add: i64| -> Vec<Row> {
        let values = |id: i64| {
            (0..300)
                .map(|n| Value::Integer(if n == 7 { id } else { id + n + add }))
                .collect()
        };
        (0..400).map(|id| row(0, values(id))).collect()
    };
    for few in rows(0).chunks(50) {
        worker.applies(1, few.to_vec(), counts(50, 0, 0, 0)).await;
    }
    worker.applies(2, rows(1), counts(0, 400, 0, 0)).await;
    let expected = rows(1).into_iter().map(|row| row.values.into_vec());
    assert_eq!(worker.values_by(7).await, expected.collect::<Vec<_>>());
    worker.drop_table().await;
}

pub(crate) async fn tables_are_made_once_and_grow(database: &Database) {
    let small = dataset(PAIRS);
    let grown = with_field("price", "decimal");
    for definition in [&small, &redefined(&small, &grown)] {
        let mut running = JoinSet::new();
        for _ in 0..8 {
            let (store, dataset) = (database.store().await, definition.clone());
            running.spawn(async move { store.prepare(&dataset).await.unwrap() });
        }
        running.join_all().await;
        if definition == &small {
            let worker = Worker::new(database, small.clone()).await;
            worker.apply(1, vec![pair("a", "old")]).await;
        }
    }
    let worker = Worker::new(database, redefined(&small, &grown)).await;
    let price = || Value::Decimal("1.5".parse().unwrap());
    let rows = vec![
        row(0, vec![text("a"), price(), text("old")]),
        row(0, vec![text("b"), price(), text("new")]),
    ];
    worker.applies(2, rows.clone(), counts(1, 1, 0, 0)).await;
    assert_eq!(worker.read().await.len(), 2);
    // Dropped by someone: the failed call is retried, and creates it again.
    worker.drop_table().await;
    if let Err(error) = worker.try_apply(2, rows.clone()).await {
        assert!(error.is_retryable(), "{error}");
        let worker = worker.redefined(&grown).await;
        worker.applies(2, rows, counts(2, 0, 0, 0)).await;
    }
    assert_eq!(worker.read().await.len(), 2);
    worker.drop_table().await;
}

/// Workers that look at a table at the moment at which it is created or dropped.
pub(crate) async fn a_table_that_comes_and_goes(database: &Database) {
    let new = dataset(PAIRS);
    let prepare = async || database.store().await.prepare(&new).await;
    let is_over = Cell::new(false);
    let make = async {
        for _ in 0..25 {
            let _ = prepare().await;
            drop_rows(database, &new).await;
        }
        is_over.set(true);
    };
    let look = || async {
        while !is_over.get() {
            if let Err(error) = prepare().await {
                assert!(error.is_retryable(), "{error}");
            }
        }
    };
    join!(make, look(), look(), look());
    prepare().await.unwrap();
    database.drop_table(&new).await;
}

/// Drops the table of rows, like somebody at a console.
async fn drop_rows(database: &Database, dataset: &Dataset) {
    drop(
        database
            .execute(&format!("DROP TABLE IF EXISTS {}", dataset.name))
            .await,
    );
}

pub(crate) async fn tables_that_do_not_fit_are_refused(database: &Database) {
    if database.is_mongodb() {
        return;
    }
    let worker = Worker::of(database, PAIRS).await;
    let (text, integer) = ("\"note\", type = \"text\"", "\"note\", type = \"integer\"");
    for (from, to, expected) in [
        ("key = [\"id\"]", "key = [\"note\"]", "key is"),
        (text, integer, "note"),
    ] {
        let other = redefined(&worker.dataset, &PAIRS.replace(from, to));
        assert_refused(database, &other, &[expected]).await;
    }
    worker.drop_table().await;
}

pub(crate) async fn a_refused_chunk_leaves_nothing(database: &Database) {
    if database.is_mongodb() {
        return;
    }
    let definition = r#"
key = ["id"]
fields = [{ name = "id", type = "text" }, { name = "number", type = "integer" }]
"#;
    let worker = Worker::of(database, definition).await;
    let numbered = |id: &str, number| row(0, vec![text(id), Value::Integer(number)]);
    worker.apply(1, vec![numbered("a", 1)]).await;
    let index = "CREATE UNIQUE INDEX {}_number ON {} (number)".replace("{}", &worker.dataset.name);
    database.execute(&index).await;
    let rows = vec![numbered("a", 4711), numbered("b", 2), numbered("c", 4711)];
    let error = worker.try_apply(2, rows).await.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    assert!(!format!("{error} {error:?}").contains("4711"), "{error}");
    let expected = [vec![text("a"), Value::Integer(1)]];
    assert_eq!(worker.values_by(0).await, expected);
    worker.drop_table().await;
}

/// A chunk is refused if a trigger keeps rows out, which are then neither new nor old.
pub(crate) async fn a_trigger_keeps_rows_out(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let name = &worker.dataset.name;
    let both = |note| vec![pair("a", note), pair("b", note)];
    worker.apply(2, both("old")).await;
    for before in ["INSERT", "UPDATE"] {
        database
            .execute(&format!(
                "CREATE OR REPLACE FUNCTION {name}_skip() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN RETURN CASE WHEN NEW.note = ''skip'' THEN NULL ELSE NEW END; END'; \
                 CREATE TRIGGER skip_{before} BEFORE {before} ON {name} \
                 FOR EACH ROW EXECUTE FUNCTION {name}_skip()"
            ))
            .await;
    }
    for rows in [
        vec![pair("a", "new"), pair("c", "skip")],
        vec![pair("a", "new"), pair("b", "skip")],
    ] {
        let error = worker.try_apply(3, rows).await.unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains("trigger"), "{error}");
    }
    // Rows that exist do not reach the trigger.
    worker.applies(1, both("skip"), counts(0, 0, 0, 2)).await;
    let expected = ["a", "b"].map(|id| (id.to_owned(), note("old", 2)));
    assert_eq!(worker.notes().await, BTreeMap::from(expected));
    worker.drop_table().await;
    let function = format!("DROP FUNCTION {name}_skip");
    database.execute(&function).await;
}
