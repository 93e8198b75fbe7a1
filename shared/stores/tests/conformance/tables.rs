//! Large and wide chunks; tables that are missing, grow, or do not fit.

use std::collections::BTreeMap;

use landfall_domain::{Dataset, Row, Value, latest_by_key};
use landfall_stores::StoreError;

use crate::databases::{Database, dataset};
use crate::rows::{PAIRS, TYPES, apply, counts, note, notes, order, pair, row, text};

pub(crate) async fn whole_chunks_at_once(database: &Database) {
    const ROWS: u64 = 20_000;
    let dataset = dataset(TYPES);
    let rows = |text: &str| -> Vec<Row> {
        let row = |id: u64| {
            let values = [
                text,
                "7",
                "1.25",
                "0.5",
                "true",
                "2026-11-20",
                "2026-11-20T08:30:00Z",
                "[1]",
            ];
            let rest = dataset.fields[1..].iter().zip(values);
            let rest = rest.map(|(field, text)| field.parse(text).unwrap());
            let id = Value::Integer(i64::try_from(id).unwrap());
            row(0, std::iter::once(id).chain(rest).collect())
        };
        (0..ROWS).map(row).collect()
    };
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let store = store.as_ref();
    for (moment, text, expected) in [
        (1, "a", counts(ROWS, 0, 0, 0)),
        (2, "b", counts(0, ROWS, 0, 0)),
        (3, "b", counts(0, 0, ROWS, 0)),
        (3, "b", counts(0, 0, ROWS, 0)),
        (2, "c", counts(0, 0, 0, ROWS)),
    ] {
        let rows = rows(text);
        assert_eq!(apply(store, &dataset, moment, rows).await, expected);
    }
    assert_eq!(database.read(&dataset).await.len() as u64, ROWS);
    database.drop_table(&dataset).await;
}

/// Around the number, and the bytes, from which on `PostgreSQL` uses `COPY`.
pub(crate) async fn few_rows_and_some_more(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    for (moment, (count, bytes)) in (1..).zip([(63, 1), (64, 1), (65, 1), (66, 1), (64, 8_192)]) {
        let long = "x".repeat(bytes);
        let expected = (0..count).map(|id| (format!("{moment}-{id}"), note(&long, moment)));
        let expected: BTreeMap<_, _> = expected.collect();
        let rows = expected.keys().map(|id| pair(id, &long)).collect();
        let inserted = apply(store.as_ref(), &dataset, moment, rows).await;
        assert_eq!(inserted, counts(count, 0, 0, 0));
        let mut found = notes(&database.read(&dataset).await);
        found.retain(|id, _| expected.contains_key(id));
        assert_eq!(found, expected, "{count} rows of {bytes} bytes");
    }
    database.drop_table(&dataset).await;
}

pub(crate) async fn wide_rows(database: &Database) {
    let fields: Vec<String> = (0..300)
        .map(|n| format!("{{ name = \"f{n}\", type = \"integer\" }}"))
        .collect();
    let dataset = dataset(&format!(
        "key = [\"f7\"]\nfields = [{}]\n",
        fields.join(", ")
    ));
    let rows = |add: i64| -> Vec<Row> {
        let values = |id: i64| {
            (0..300)
                .map(|n| Value::Integer(if n == 7 { id } else { id + n + add }))
                .collect()
        };
        (0..400).map(|id| row(0, values(id))).collect()
    };
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    for few in rows(0).chunks(50) {
        assert_eq!(
            apply(store.as_ref(), &dataset, 1, few.to_vec()).await,
            counts(50, 0, 0, 0)
        );
    }
    assert_eq!(
        apply(store.as_ref(), &dataset, 2, rows(1)).await,
        counts(0, 400, 0, 0)
    );
    let mut found: Vec<_> = database
        .read(&dataset)
        .await
        .into_iter()
        .map(|found| found.values)
        .collect();
    found.sort_by(|a, b| a[7].cmp_key(&b[7]));
    let expected: Vec<_> = rows(1)
        .into_iter()
        .map(|row| row.values.into_vec())
        .collect();
    assert_eq!(found, expected);
    database.drop_table(&dataset).await;
}

pub(crate) async fn tables_are_made_once_and_grow(database: &Database) {
    let small = dataset(PAIRS);
    let grown = r#"
key = ["id"]
fields = [
    { name = "id", type = "text" },
    { name = "price", type = "decimal" },
    { name = "note", type = "text" },
]
"#;
    let grown =
        Dataset::from_toml("t.toml", &format!("name = \"{}\"\n{grown}", small.name)).unwrap();
    for definition in [&small, &grown] {
        let mut running = Vec::new();
        for _ in 0..8 {
            let (store, dataset) = (database.store().await, definition.clone());
            running.push(tokio::spawn(async move { store.prepare(&dataset).await }));
        }
        for task in running {
            task.await.unwrap().unwrap();
        }
        if definition == &small {
            let store = database.store().await;
            apply(store.as_ref(), &small, 1, vec![pair("a", "old")]).await;
        }
    }
    let store = database.store().await;
    store.prepare(&grown).await.unwrap();
    let price = || Value::Decimal("1.5".parse().unwrap());
    let rows = vec![
        row(0, vec![text("a"), price(), text("old")]),
        row(0, vec![text("b"), price(), text("new")]),
    ];
    assert_eq!(
        apply(store.as_ref(), &grown, 2, rows.clone()).await,
        counts(1, 1, 0, 0)
    );
    assert_eq!(database.read(&grown).await.len(), 2);
    // Dropped by someone: the failed call is retried, and creates it again.
    database.drop_table(&grown).await;
    let (rows, _) = latest_by_key(rows, &grown);
    if let Err(error) = store.apply(&grown, &order(2), &rows.clone().into()).await {
        assert!(error.is_retryable(), "{error}");
        store.prepare(&grown).await.unwrap();
        assert_eq!(
            apply(store.as_ref(), &grown, 2, rows).await,
            counts(2, 0, 0, 0)
        );
    }
    assert_eq!(database.read(&grown).await.len(), 2);
    database.drop_table(&grown).await;
}

pub(crate) async fn tables_that_do_not_fit_are_refused(database: &Database) {
    if database.is_mongodb() {
        return;
    }
    let there = dataset(PAIRS);
    database.store().await.prepare(&there).await.unwrap();
    for (from, to, expected) in [
        ("key = [\"id\"]", "key = [\"note\"]", "key is"),
        (
            "\"note\", type = \"text\"",
            "\"note\", type = \"integer\"",
            "note",
        ),
    ] {
        let definition = format!("name = \"{}\"\n{}", there.name, PAIRS.replace(from, to));
        let other = Dataset::from_toml("t.toml", &definition).unwrap();
        let error = database.store().await.prepare(&other).await.unwrap_err();
        assert!(matches!(error, StoreError::Schema { .. }), "{error}");
        assert!(
            !error.is_retryable() && error.to_string().contains(expected),
            "{error}"
        );
    }
    database.drop_table(&there).await;
}

pub(crate) async fn a_refused_chunk_leaves_nothing(database: &Database) {
    if database.is_mongodb() {
        return;
    }
    let dataset = dataset(
        r#"
key = ["id"]
fields = [{ name = "id", type = "text" }, { name = "number", type = "integer" }]
"#,
    );
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let numbered = |id: &str, number| row(0, vec![text(id), Value::Integer(number)]);
    apply(store.as_ref(), &dataset, 1, vec![numbered("a", 1)]).await;
    database
        .execute(&format!(
            "CREATE UNIQUE INDEX {0}_number ON {0} (number)",
            dataset.name
        ))
        .await;
    let rows = vec![numbered("a", 4711), numbered("b", 2), numbered("c", 4711)];
    let error = store
        .apply(&dataset, &order(2), &rows.into())
        .await
        .unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    assert!(!format!("{error} {error:?}").contains("4711"), "{error}");
    let found = database.read(&dataset).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].values, [text("a"), Value::Integer(1)]);
    database.drop_table(&dataset).await;
}

/// A chunk is refused if a trigger keeps rows out, which are then neither new nor old.
pub(crate) async fn a_trigger_keeps_rows_out(database: &Database) {
    let dataset = dataset(PAIRS);
    let store = database.store().await;
    store.prepare(&dataset).await.unwrap();
    let (name, store) = (&dataset.name, store.as_ref());
    apply(store, &dataset, 2, vec![pair("a", "old"), pair("b", "old")]).await;
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
        let error = store.apply(&dataset, &order(3), &rows.into()).await;
        let error = error.unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains("trigger"), "{error}");
    }
    // Rows that exist do not reach the trigger.
    let rows = vec![pair("a", "skip"), pair("b", "skip")];
    let found = apply(store, &dataset, 1, rows).await;
    assert_eq!(found, counts(0, 0, 0, 2));
    let expected = ["a", "b"].map(|id| (id.to_owned(), note("old", 2)));
    let found = notes(&database.read(&dataset).await);
    assert_eq!(found, BTreeMap::from(expected));
    database.drop_table(&dataset).await;
    let function = format!("DROP FUNCTION {name}_skip");
    database.execute(&function).await;
}
