//! Definitions change: additions are created, and incompatible changes are refused.

use landfall_domain::{Dataset, Row, Value};
use landfall_stores::StoreError;

use crate::databases::{Database, dataset};
use crate::rows::{PAIRS, TYPES, apply, counts, note, notes, order, pair, row, text};

/// Another definition of the same dataset.
fn redefined(dataset: &Dataset, definition: &str) -> Dataset {
    let definition = format!("name = \"{}\"\n{definition}", dataset.name);
    Dataset::from_toml("test.toml", &definition).unwrap()
}

/// Returns [`PAIRS`] with a field of this name and type between the two.
fn with_field(name: &str, kind: &str) -> String {
    let note = "{ name = \"note\"";
    PAIRS.replace(
        note,
        &format!("{{ name = \"{name}\", type = \"{kind}\" }}, {note}"),
    )
}

async fn assert_refused(database: &Database, definition: &Dataset, expected: &[&str]) {
    let error = database.store().await.prepare(definition).await;
    let error = error.expect_err("refused");
    assert!(matches!(error, StoreError::Schema { .. }), "{error}");
    let message = error.to_string();
    for part in expected {
        assert!(message.contains(part), "{part}: {message}");
    }
}

pub(crate) async fn a_new_field_is_added(database: &Database) {
    let small = dataset(PAIRS);
    let grown = redefined(&small, &with_field("pieces", "integer"));
    let store = database.store().await;
    store.prepare(&small).await.unwrap();
    let store = store.as_ref();
    apply(store, &small, 1, vec![pair("a", "1"), pair("b", "1")]).await;
    store.prepare(&grown).await.unwrap();
    let with = |id: &str, pieces, note: &str| row(0, vec![text(id), pieces, text(note)]);
    let rows = vec![
        with("b", Value::Integer(2), "1"),
        with("c", Value::Integer(3), "1"),
    ];
    assert_eq!(apply(store, &grown, 2, rows).await, counts(1, 1, 0, 0));
    // A job planned before comes late, in a process that has only the older definition.
    let late = database.store().await;
    late.prepare(&small).await.unwrap();
    let rows = vec![pair("b", "3"), pair("d", "3")];
    let late = late.as_ref();
    assert_eq!(apply(late, &small, 3, rows).await, counts(1, 1, 0, 0));
    let found = notes(&database.read(&small).await);
    let expected = [("a", 1, "1"), ("b", 3, "3"), ("c", 2, "1"), ("d", 3, "3")];
    let expected = expected.map(|(id, moment, text)| (id.to_owned(), note(text, moment)));
    assert_eq!(found, expected.into());
    if !database.is_mongodb() {
        let mut found = database.read(&grown).await;
        found.sort_by(|one, other| one.values[0].cmp_key(&other.values[0]));
        let pieces: Vec<&Value> = found.iter().map(|found| &found.values[1]).collect();
        let (two, three) = (Value::Integer(2), Value::Integer(3));
        assert_eq!(pieces, [&Value::Null, &two, &three, &Value::Null]);
    }
    database.drop_table(&small).await;
}

pub(crate) async fn another_type_is_refused(database: &Database) {
    let there = dataset(TYPES);
    let store = database.store().await;
    store.prepare(&there).await.unwrap();
    let mut nulls = vec![Value::Null; there.fields.len()];
    nulls[0] = Value::Integer(1);
    let rows = vec![row(0, nulls)];
    apply(store.as_ref(), &there, 1, rows.clone()).await;
    let before = database.read(&there).await;
    // Includes types that share a column type in some store.
    let types = [
        "text",
        "integer",
        "decimal",
        "float",
        "boolean",
        "date",
        "timestamp",
        "json",
    ];
    for (index, field) in types.iter().enumerate() {
        let other = types[(index + 1) % types.len()];
        for other in [other, if *field == "text" { "date" } else { "text" }] {
            if other == *field {
                continue;
            }
            let type_of = |kind: &str| format!("{{ name = \"{field}\", type = \"{kind}\" }}");
            let changed = TYPES.replace(&type_of(field), &type_of(other));
            // With a new field, too: all or nothing is created.
            let new = format!(
                "{}, {{ name = \"later\", type = \"text\" }}",
                type_of(other)
            );
            let changed = changed.replace(&type_of(other), &new);
            assert_ne!(changed, TYPES);
            let changed = redefined(&there, &changed);
            assert_refused(database, &changed, &[field, other, "keep the old type"]).await;
        }
    }
    // Nothing that was refused blocks another definition.
    let integer = "{ name = \"integer\", type = \"integer\" }";
    let later = format!("{integer}, {{ name = \"later\", type = \"integer\" }}");
    let later = redefined(&there, &TYPES.replace(integer, &later));
    let other = database.store().await;
    for definition in [&there, &later] {
        other.prepare(definition).await.unwrap();
    }
    assert_eq!(database.read(&there).await, before);
    assert_eq!(
        apply(store.as_ref(), &there, 2, rows).await,
        counts(0, 0, 1, 0)
    );
    database.drop_table(&there).await;
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
    let there = dataset(DEFINITION);
    let store = database.store().await;
    store.prepare(&there).await.unwrap();
    let rows = vec![row(0, vec![text("m"), text("a"), text("1")])];
    apply(store.as_ref(), &there, 1, rows.clone()).await;
    for key in [
        "[\"id\"]",
        "[\"id\", \"maker\"]",
        "[\"maker\", \"id\", \"note\"]",
        "[\"note\"]",
    ] {
        let changed = DEFINITION.replace("[\"maker\", \"id\"]", key);
        let changed = redefined(&there, &changed);
        assert_refused(database, &changed, &["keep the old key"]).await;
    }
    assert_eq!(
        apply(store.as_ref(), &there, 2, rows).await,
        counts(0, 0, 1, 0)
    );
    assert_eq!(database.read(&there).await.len(), 1);
    database.drop_table(&there).await;
}

pub(crate) async fn eight_workers_add_fields_at_once(database: &Database) {
    const WORKERS: i64 = 8;
    let bare = dataset(PAIRS);
    let mut running = Vec::new();
    for worker in 0..WORKERS {
        let store = database.store().await;
        let dataset = redefined(&bare, &with_field(&format!("f{worker}"), "integer"));
        running.push(tokio::spawn(async move {
            for round in 1..=3 {
                store.prepare(&dataset).await.unwrap();
                let id = format!("{worker} {round}");
                let values = vec![text(&id), Value::Integer(worker), text("")];
                apply(store.as_ref(), &dataset, round, vec![row(0, values)]).await;
            }
        }));
    }
    for task in running {
        task.await.unwrap();
    }
    assert_eq!(database.read(&bare).await.len(), 24);
    // All fields are registered: none was lost to a concurrent worker.
    for worker in 0..WORKERS {
        let name = format!("f{worker}");
        let other = redefined(&bare, &with_field(&name, "date"));
        assert_refused(database, &other, &[&name]).await;
        if !database.is_mongodb() {
            let same = redefined(&bare, &with_field(&name, "integer"));
            let found = database.read(&same).await;
            let of_worker = |values: &[Value]| values[1] == Value::Integer(worker);
            let found = found.iter().filter(|found| of_worker(&found.values));
            assert_eq!(found.count(), 3);
        }
    }
    database.drop_table(&bare).await;
}

/// Only for SQL.
pub(crate) async fn an_older_definition_keeps_newer_totals(database: &Database) {
    let old = dataset(PAIRS);
    let new = format!(
        "{}\n[[totals]]\nname = \"{}_by_note\"\nby = [\"note\"]\n\
         columns = {{ pieces = \"sum(pieces)\", fewest = \"min(pieces)\" }}\n",
        with_field("pieces", "integer"),
        old.name
    );
    let new = redefined(&old, &new);
    let planned_before = database.store().await;
    planned_before.prepare(&old).await.unwrap();
    let store = database.store().await;
    store.prepare(&new).await.unwrap();
    let product = |id: &str, pieces: i64, note: &str| -> Row {
        row(0, vec![text(id), Value::Integer(pieces), text(note)])
    };
    let rows = vec![product("a", 5, "x"), product("b", 7, "x")];
    apply(store.as_ref(), &new, 1, rows).await;
    // It moves a row with an unknown number of pieces to another group, and adds one without any.
    let rows = vec![pair("a", "y"), pair("c", "y")];
    apply(planned_before.as_ref(), &old, 2, rows).await;
    let mut groups = database.snapshot(&new).await.totals.remove(0);
    groups.sort_by(|one, other| one[0].cmp_key(&other[0]));
    let group = |note: &str, pieces: i64, rows| {
        let sum = Value::Decimal(pieces.into());
        vec![
            text(note),
            sum,
            Value::Integer(pieces),
            Value::Integer(rows),
        ]
    };
    assert_eq!(groups, [group("x", 7, 1), group("y", 5, 2)]);
    let stale = vec![product("a", 9, "z")];
    let stale = store.apply(&new, &order(1), &stale.into()).await.unwrap();
    // The same version as the first object: the rows exist, or did, and a newer row stays.
    assert_eq!(stale, counts(0, 0, 0, 1));
    database.drop_table(&new).await;
}
