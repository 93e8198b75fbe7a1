//! Definitions change: additions are created, and incompatible changes are refused.

use landfall_domain::{Dataset, Value};
use landfall_stores::StoreError;
use tokio::task::JoinSet;

use crate::databases::{Database, dataset, redefined};
use crate::rows::{PAIRS, TYPES, counts, note, order, pair, row, text};
use crate::worker::Worker;

/// Returns [`PAIRS`] with a field of this name and type between the two.
pub(crate) fn with_field(name: &str, kind: &str) -> String {
    let note = "{ name = \"note\"";
    PAIRS.replace(
        note,
        &format!("{{ name = \"{name}\", type = \"{kind}\" }}, {note}"),
    )
}

/// Asserts that a definition is refused for good, with a message that contains these texts.
pub(crate) async fn assert_refused(database: &Database, definition: &Dataset, expected: &[&str]) {
    let error = database.store().await.prepare(definition).await;
    let error = error.expect_err("refused");
    assert!(matches!(error, StoreError::Schema { .. }), "{error}");
    assert!(!error.is_retryable(), "{error}");
    let message = error.to_string();
    for part in expected {
        assert!(message.contains(part), "{part}: {message}");
    }
}

pub(crate) async fn a_new_field_is_added(database: &Database) {
    let small = Worker::of(database, PAIRS).await;
    small.apply(1, vec![pair("a", "1"), pair("b", "1")]).await;
    let grown = small.redefined(&with_field("pieces", "integer")).await;
    let with = |id, pieces| row(0, vec![text(id), Value::Integer(pieces), text("1")]);
    let rows = vec![with("b", 2), with("c", 3)];
    grown.applies(2, rows, counts(1, 1, 0, 0)).await;
    // A job planned before comes late, in a process that has only the older definition.
    let late = small.other().await;
    let rows = vec![pair("b", "3"), pair("d", "3")];
    late.applies(3, rows, counts(1, 1, 0, 0)).await;
    let expected = [("a", 1, "1"), ("b", 3, "3"), ("c", 2, "1"), ("d", 3, "3")];
    let expected = expected.map(|(id, moment, text)| (id.to_owned(), note(text, moment)));
    assert_eq!(small.notes().await, expected.into());
    if !database.is_mongodb() {
        let found = grown.values_by(0).await;
        let pieces: Vec<_> = found.iter().map(|values| values[1].to_text()).collect();
        assert_eq!(pieces, [None, Some("2".into()), Some("3".into()), None]);
    }
    small.drop_table().await;
}

pub(crate) async fn another_type_is_refused(database: &Database) {
    let worker = Worker::of(database, TYPES).await;
    let dataset = &worker.dataset;
    let mut nulls = vec![Value::Null; dataset.fields.len()];
    nulls[0] = Value::Integer(1);
    let rows = vec![row(0, nulls)];
    worker.apply(1, rows.clone()).await;
    let before = worker.read().await;
    // Includes types that share a column type in some store.
    let types: Vec<_> = dataset.fields[1..]
        .iter()
        .map(|field| field.kind.as_str())
        .collect();
    for (index, field) in types.iter().enumerate() {
        let other = types[(index + 1) % types.len()];
        for other in [other, if *field == "text" { "date" } else { "text" }] {
            if other == *field {
                continue;
            }
            let type_of = |kind: &str| format!("{{ name = \"{field}\", type = \"{kind}\" }}");
            // With a new field, too: all or nothing is created.
            let new = "{ name = \"later\", type = \"text\" }";
            let new = format!("{}, {new}", type_of(other));
            let changed = TYPES.replace(&type_of(field), &new);
            assert_ne!(changed, TYPES);
            let changed = redefined(dataset, &changed);
            assert_refused(database, &changed, &[field, other, "keep the old type"]).await;
        }
    }
    // Nothing that was refused blocks another definition.
    let integer = "{ name = \"integer\", type = \"integer\" }";
    let later = format!("{integer}, {{ name = \"later\", type = \"integer\" }}");
    let other = worker.other().await;
    other.redefined(&TYPES.replace(integer, &later)).await;
    assert_eq!(worker.read().await, before);
    worker.applies(2, rows, counts(0, 0, 1, 0)).await;
    worker.drop_table().await;
}

pub(crate) async fn another_key_is_refused(database: &Database) {
    const DEFINITION: &str = r#"
key = ["maker", "id"]
fields = [
    { name = "maker", type = "text" },
    { name = "id", type = "text" },
    { name = "note", type = "text" },
]
"#;
    let worker = Worker::of(database, DEFINITION).await;
    let rows = vec![row(0, ["m", "a", "1"].map(text).into())];
    worker.apply(1, rows.clone()).await;
    for key in [
        "[\"id\"]",
        "[\"id\", \"maker\"]",
        "[\"maker\", \"id\", \"note\"]",
        "[\"note\"]",
    ] {
        let changed = DEFINITION.replace("[\"maker\", \"id\"]", key);
        let changed = redefined(&worker.dataset, &changed);
        assert_refused(database, &changed, &["keep the old key"]).await;
    }
    worker.applies(2, rows, counts(0, 0, 1, 0)).await;
    assert_eq!(worker.read().await.len(), 1);
    worker.drop_table().await;
}

pub(crate) async fn eight_workers_add_fields_at_once(database: &Database) {
    const WORKERS: i64 = 8;
    let bare = dataset(PAIRS);
    let mut running = JoinSet::new();
    for worker in 0..WORKERS {
        let store = database.store().await;
        let dataset = redefined(&bare, &with_field(&format!("f{worker}"), "integer"));
        running.spawn(async move {
            for round in 1..=3 {
                store.prepare(&dataset).await.unwrap();
                let id = format!("{worker} {round}");
                let values = vec![text(&id), Value::Integer(worker), text("")];
                let rows = vec![row(0, values)].into();
                store.apply(&dataset, &order(round), &rows).await.unwrap();
            }
        });
    }
    running.join_all().await;
    assert_eq!(database.read(&bare).await.len(), 24);
    // All fields are registered: none was lost to a concurrent worker.
    for worker in 0..WORKERS {
        let name = format!("f{worker}");
        let other = redefined(&bare, &with_field(&name, "date"));
        assert_refused(database, &other, &[&name]).await;
        if !database.is_mongodb() {
            let same = redefined(&bare, &with_field(&name, "integer"));
            let found = database.read(&same).await.into_iter();
            let of_worker = found.filter(|found| found.values[1] == Value::Integer(worker));
            assert_eq!(of_worker.count(), 3);
        }
    }
    database.drop_table(&bare).await;
}

/// Only for SQL.
pub(crate) async fn an_older_definition_keeps_newer_totals(database: &Database) {
    let old = Worker::of(database, PAIRS).await;
    let new = format!(
        "{}\n[[totals]]\nname = \"{}_by_note\"\nby = [\"note\"]\n\
         columns = {{ pieces = \"sum(pieces)\", fewest = \"min(pieces)\" }}\n",
        with_field("pieces", "integer"),
        old.dataset.name
    );
    let new = Worker::new(database, redefined(&old.dataset, &new)).await;
    let product = |id, pieces, note| row(0, vec![text(id), Value::Integer(pieces), text(note)]);
    let rows = vec![product("a", 5, "x"), product("b", 7, "x")];
    new.apply(1, rows).await;
    // It moves a row with an unknown number of pieces to another group, and adds one without any.
    old.apply(2, vec![pair("a", "y"), pair("c", "y")]).await;
    let mut groups = database.snapshot(&new.dataset).await.totals.remove(0);
    groups.sort_by(|one, other| one[0].cmp_key(&other[0]));
    let group = |note, pieces: i64, rows| {
        let (sum, fewest) = (Value::Decimal(pieces.into()), Value::Integer(pieces));
        vec![text(note), sum, fewest, Value::Integer(rows)]
    };
    assert_eq!(groups, [group("x", 7, 1), group("y", 5, 2)]);
    // The same version as the first object: the rows exist, or did, and a newer row stays.
    let stale = vec![product("a", 9, "z")];
    new.applies(1, stale, counts(0, 0, 0, 1)).await;
    new.drop_table().await;
}
