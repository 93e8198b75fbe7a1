//! Datasets that are merged by column: columns that files lack, deletes, and definitions that change.

use std::sync::Arc;

use landfall_domain::{ColumnSet, Parts, Row, StoreCounts, Value, fold_by_key};
use tokio::task::JoinSet;

use crate::databases::{Database, dataset, redefined};
use crate::evolution::assert_refused;
use crate::generated::{Rows, assert_rows, key_texts, value_of};
use crate::rows::{TYPES, counts, deletion, order, row, text};
use crate::worker::Worker;

pub(crate) const CATALOG: &str = r#"
mode = "merge"
key = ["sku"]
unknown_columns = "drop"
fields = [
    { name = "sku", type = "text" },
    { name = "title", type = "text" },
    { name = "description", type = "text" },
    { name = "price", type = "decimal" },
]
"#;

/// Removes from a row all but these columns, beside its key.
pub(crate) fn partial(mut row: Row, columns: &[usize]) -> Row {
    let own: ColumnSet = columns.iter().copied().collect();
    for (column, value) in row.values.iter_mut().enumerate().skip(1) {
        if !own.contains(column) {
            *value = Value::Null;
        }
    }
    row.extra = row.extra.filter(|_| own.contains(row.values.len()));
    let parts = Parts {
        own,
        ..Parts::default()
    };
    row.parts = Some(Arc::new(parts));
    row
}

fn decimal(number: &str) -> Value {
    Value::Decimal(number.parse().unwrap())
}

pub(crate) fn product(sku: &str, words: &str, price: &str) -> Row {
    let description = text(&format!("about {words}"));
    row(0, vec![text(sku), text(words), description, decimal(price)])
}

/// The first file has all columns, the second one only keys and prices.
pub(crate) async fn columns_that_a_file_lacks_stay(database: &Database) {
    let files = [
        (
            1,
            vec![product("a", "one", "1.5"), product("b", "two", "2")],
        ),
        (
            2,
            ["a", "b", "c"]
                .map(|sku| partial(product(sku, "", "9.25"), &[3]))
                .into(),
        ),
    ];
    let product = |sku, title, price| {
        let about = |title: &str| text(&format!("about {title}"));
        vec![
            text(sku),
            Option::map_or(title, Value::Null, text),
            title.map_or(Value::Null, about),
            decimal(price),
        ]
    };
    let expected = [
        product("a", Some("one"), "9.25"),
        product("b", Some("two"), "9.25"),
        product("c", None, "9.25"),
    ];
    for (files, expected_counts) in [
        ([0, 1, 0, 1], [counts(2, 0, 0, 0), counts(1, 2, 0, 0)]),
        ([1, 0, 1, 0], [counts(3, 0, 0, 0), counts(0, 2, 0, 0)]),
    ]
    .map(|(order, counts)| (order.map(|place: usize| files[place].clone()), counts))
    {
        let worker = Worker::of(database, CATALOG).await;
        let mut expected_counts = expected_counts.into_iter();
        for (moment, rows) in files {
            let again = counts(0, 0, rows.len() as u64, 0);
            let expected = expected_counts.next().unwrap_or(again);
            worker.applies(moment, rows, expected).await;
        }
        assert_eq!(worker.values_by(0).await, expected);
        let version = order(2).at(0).to_string();
        assert!(
            worker
                .read()
                .await
                .iter()
                .all(|found| found.version == version)
        );
        worker.drop_table().await;
    }
}

/// A value of each type is set, kept, and set to null.
pub(crate) async fn every_type_is_merged(database: &Database) {
    let definition = format!("mode = \"merge\"\n{TYPES}");
    let worker = Worker::of(database, &definition).await;
    let dataset = &worker.dataset;
    let fields = dataset.fields.len();
    let whole = |number: u64| {
        let others = dataset.fields[1..].iter();
        let values = others.map(|field| value_of(field.kind, number));
        let mut whole = row(0, [Value::Integer(7)].into_iter().chain(values).collect());
        whole.extra = Some(format!("{{\"more\":{number}}}"));
        whole
    };
    let mut expected = vec![Value::Null; fields];
    expected[0] = Value::Integer(7);
    let mut model = Rows::new();
    // From the last column to the first, and the newest first.
    for column in (1..=fields).rev() {
        let moment = i64::try_from(column).unwrap();
        let change = partial(whole(column as u64), &[column]);
        worker.apply(moment, vec![change.clone()]).await;
        if column < fields {
            expected[column] = change.values[column].clone();
        }
        let extra = Some(format!("{{\"more\":{fields}}}"));
        let version = order(i64::try_from(fields).unwrap()).at(0).to_string();
        let row = (expected.clone(), extra, version);
        model.insert(key_texts(dataset, &expected), row);
        assert_rows(database, dataset, &model, &format!("column {column}")).await;
    }
    // A null is a value.
    for column in 1..fields {
        let mut nulls = whole(1);
        nulls.values[column] = Value::Null;
        let moment = 100 + i64::try_from(column).unwrap();
        let change = partial(nulls, &[column]);
        worker
            .applies(moment, vec![change], counts(0, 1, 0, 0))
            .await;
        expected[column] = Value::Null;
        let row = model.values_mut().next().unwrap();
        (row.0, row.2) = (expected.clone(), order(moment).at(0).to_string());
        assert_rows(database, dataset, &model, &format!("null {column}")).await;
    }
    worker.drop_table().await;
}

/// Deletes are older or newer than single columns.
pub(crate) async fn deletes_and_columns(database: &Database) {
    let worker = Worker::of(
        database,
        &format!("operation = {{ column = \"op\" }}\n{CATALOG}"),
    )
    .await;
    let title = |sku: &str| vec![partial(product(sku, "new", "0"), &[1])];
    let price = |sku: &str| vec![partial(product(sku, "", "7"), &[3])];
    let delete = |sku: &str| {
        vec![deletion(vec![
            text(sku),
            Value::Null,
            Value::Null,
            Value::Null,
        ])]
    };
    let deleted = |deleted| StoreCounts {
        deleted,
        ..StoreCounts::default()
    };
    worker
        .apply(1, vec![product("a", "old", "1"), product("b", "old", "1")])
        .await;
    // Older than the price, newer than everything else.
    worker.applies(9, price("a"), counts(0, 1, 0, 0)).await;
    worker.applies(5, delete("a"), counts(0, 1, 0, 0)).await;
    worker.applies(5, delete("a"), counts(0, 0, 1, 0)).await;
    // The delete first.
    worker.applies(5, delete("b"), deleted(1)).await;
    worker.applies(9, price("b"), counts(1, 0, 0, 0)).await;
    for sku in ["a", "b"] {
        // Columns that are older than the delete stay null.
        worker.applies(3, title(sku), counts(0, 0, 0, 1)).await;
    }
    let row = |sku, title| vec![text(sku), title, Value::Null, decimal("7")];
    let expected = [row("a", Value::Null), row("b", Value::Null)];
    assert_eq!(worker.values_by(0).await, expected);
    for sku in ["a", "b"] {
        worker.applies(7, title(sku), counts(0, 1, 0, 0)).await;
    }
    let expected = [row("a", text("new")), row("b", text("new"))];
    assert_eq!(worker.values_by(0).await, expected);
    // Newer than all columns, and older than some of them.
    worker.applies(20, delete("a"), deleted(1)).await;
    worker.applies(15, price("a"), counts(0, 0, 0, 1)).await;
    worker.applies(8, delete("b"), counts(0, 1, 0, 0)).await;
    assert_eq!(worker.values_by(0).await, [row("b", Value::Null)]);
    worker.drop_table().await;
}

/// An upsert dataset starts to merge, and stops, while chunks of all definitions are late.
pub(crate) async fn a_dataset_merges_for_a_while(database: &Database) {
    let whole = CATALOG.replace("mode = \"merge\"", "");
    let old = Worker::of(database, &whole).await;
    old.apply(1, vec![product("a", "one", "1"), product("b", "one", "1")])
        .await;
    let merging = old.other().await.redefined(CATALOG).await;
    let price = |sku, price| vec![partial(product(sku, "", price), &[3])];
    merging
        .applies(3, price("a", "3"), counts(0, 1, 0, 0))
        .await;
    // Whole rows of the older definition are older than some columns, and newer than others.
    old.applies(2, vec![product("a", "two", "2")], counts(0, 1, 0, 0))
        .await;
    let values = |sku, title: &str, price| {
        let about = text(&format!("about {title}"));
        vec![text(sku), text(title), about, decimal(price)]
    };
    let expected = [values("a", "two", "3"), values("b", "one", "1")];
    assert_eq!(merging.values_by(0).await, expected);
    // Upserts again, in big chunks too, while partial rows are late.
    let upserting = merging.other().await.redefined(&whole).await;
    let many = (0..2_500).map(|number| product(&format!("k{number:04}"), "many", "4"));
    merging.apply(6, price("k0007", "6")).await;
    let rows: Vec<_> = many.clone().chain([product("a", "four", "4")]).collect();
    upserting
        .applies(4, rows.clone(), counts(2_499, 2, 0, 0))
        .await;
    upserting.applies(4, rows, counts(0, 0, 2_501, 0)).await;
    merging
        .applies(5, price("b", "5"), counts(0, 1, 0, 0))
        .await;
    upserting
        .applies(2, vec![product("b", "two", "2")], counts(0, 1, 0, 0))
        .await;
    let found = upserting.values_by(0).await;
    let expected = [
        values("a", "four", "4"),
        values("b", "two", "5"),
        values("k0000", "many", "4"),
    ];
    assert_eq!(found[..3], expected);
    assert_eq!(found[9], values("k0007", "many", "6"));
    assert_eq!(found.len(), 2_502);
    upserting.drop_table().await;
}

/// A field is added while rows of both definitions arrive in any order.
pub(crate) async fn a_field_is_added_to_a_merge(database: &Database) {
    let small = Worker::of(database, CATALOG).await;
    let price = |sku| vec![partial(product(sku, "", "5"), &[3])];
    small.apply(5, price("a")).await;
    let new = "{ name = \"brand\", type = \"text\" },\n    { name = \"title\"";
    let grown = CATALOG.replace("{ name = \"title\"", new);
    let grown = small.other().await.redefined(&grown).await;
    let brand = |sku| {
        let values = [
            text(sku),
            text("acme"),
            Value::Null,
            Value::Null,
            Value::Null,
        ];
        vec![partial(row(0, values.into()), &[1])]
    };
    // No record had the new column, so an older one sets it.
    grown.applies(2, brand("a"), counts(0, 1, 0, 0)).await;
    grown.applies(3, brand("b"), counts(1, 0, 0, 0)).await;
    small.applies(6, price("b"), counts(0, 1, 0, 0)).await;
    let row = |sku| {
        vec![
            text(sku),
            text("acme"),
            Value::Null,
            Value::Null,
            decimal("5"),
        ]
    };
    assert_eq!(grown.values_by(0).await, [row("a"), row("b")]);
    grown.drop_table().await;
}

pub(crate) async fn merges_and_snapshots_exclude_each_other(database: &Database) {
    let merging = Worker::of(database, CATALOG).await;
    let snapshot = CATALOG.replace("\"merge\"", "\"snapshot\"");
    let definition = redefined(&merging.dataset, &snapshot);
    assert_refused(
        database,
        &definition,
        &["merge", "snapshot", "dataset name"],
    )
    .await;
    merging
        .applies(1, vec![product("a", "one", "1")], counts(1, 0, 0, 0))
        .await;
    merging.drop_table().await;
    let snapshots = dataset(&snapshot);
    database.store().await.prepare(&snapshots).await.unwrap();
    let definition = redefined(&snapshots, CATALOG);
    assert_refused(database, &definition, &["merge", "snapshot"]).await;
    database.drop_table(&snapshots).await;
}

/// With an order, the columns of the record with the greatest value win, in one chunk and in several.
pub(crate) async fn the_value_of_a_field_decides_for_each_column(database: &Database) {
    let changed =
        "{ name = \"changed\", type = \"integer\", required = true },\n    { name = \"title\"";
    let ordered = CATALOG.replace("{ name = \"title\"", changed);
    let definition = format!("order = \"changed\"\n{ordered}");
    let record = |changed, columns: &[usize]| {
        let mut values = product("a", &format!("of {changed}"), "0").values.to_vec();
        values.insert(1, Value::Integer(changed));
        values[4] = Value::Decimal(changed.into());
        let columns: Vec<_> = columns.iter().copied().chain([1]).collect();
        partial(row(u64::try_from(10 - changed).unwrap(), values), &columns)
    };
    let records = [
        record(5, &[2]),
        record(9, &[4]),
        record(3, &[2, 3, 4]),
        record(7, &[3]),
    ];
    let about = text("about of 7");
    let nine = [Value::Integer(9), text("of 5"), about, decimal("9")];
    for ends in [&[4][..], &[1, 2, 3, 4], &[2, 4]] {
        let worker = Worker::of(database, &definition).await;
        let mut start = 0;
        for (end, moment) in ends.iter().zip(1..) {
            let order = order(moment);
            let versions = worker.dataset.versions(order);
            let rows = records[start..*end].to_vec();
            start = *end;
            let folded = fold_by_key(rows, &worker.dataset, |row| versions.of(row));
            let rows = Arc::new(folded.rows);
            let applied = worker.store.apply(&worker.dataset, &order, &rows);
            assert_eq!(applied.await.unwrap().total(), 1);
        }
        assert_eq!(worker.values_by(0).await[0][1..], nine);
        worker.drop_table().await;
    }
}

/// Workers of both modes apply the same rows while one of them introduces the merge.
pub(crate) async fn a_merge_begins_while_upserts_run(database: &Database) {
    let whole = CATALOG.replace("mode = \"merge\"", "");
    let upserts = dataset(&whole);
    database.store().await.prepare(&upserts).await.unwrap();
    let merges = redefined(&upserts, CATALOG);
    let skus: Vec<String> = (0..50).map(|number| format!("k{number}")).collect();
    let mut running = JoinSet::new();
    for (dataset, moments) in [(&upserts, [2, 4, 6, 8]), (&merges, [9, 7, 5, 3])] {
        let (store, dataset, skus) = (database.store().await, dataset.clone(), skus.clone());
        running.spawn(async move {
            for moment in moments {
                store.prepare(&dataset).await.unwrap();
                let rows = skus.iter().map(|sku| {
                    let whole = product(sku, &moment.to_string(), &moment.to_string());
                    if moment % 2 == 0 {
                        whole
                    } else {
                        partial(whole, &[3])
                    }
                });
                let folded = fold_by_key(rows.collect(), &dataset, |_| order(moment).at(0));
                let rows = Arc::new(folded.rows);
                // The queue delivers a chunk again whose store was contended.
                while let Err(error) = store.apply(&dataset, &order(moment), &rows).await {
                    assert!(error.is_retryable(), "{error}");
                }
            }
        });
    }
    running.join_all().await;
    let worker = Worker::new(database, merges).await;
    for values in worker.values_by(0).await {
        assert_eq!(values[1..], [text("8"), text("about 8"), decimal("9")]);
    }
    assert_eq!(worker.read().await.len(), skus.len());
    worker.drop_table().await;
}
