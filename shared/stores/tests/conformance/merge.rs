//! Datasets that are merged by column: each column ends with the value of the greatest version that had it.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_domain::{ColumnSet, Dataset, Parts, Row, StoreCounts, Value, fold_by_key};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::databases::{Database, dataset, dataset_of, redefined};
use crate::evolution::assert_refused;
use crate::generated::{Rows, assert_rows, key_texts, value_of};
use crate::random::{Repeat, seed};
use crate::rows::{TYPES, apply_at_once, counts, deletion, order, row, text};
use crate::totals;
use crate::worker::Worker;

const CATALOG: &str = r#"
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

/// Returns a row that has only these columns, beside its key.
fn partial(whole: Row, columns: &[usize]) -> Row {
    let own: ColumnSet = columns.iter().copied().collect();
    let fields = whole.values.len();
    let values = whole.values.iter().enumerate().map(|(column, value)| {
        if column == 0 || own.contains(column) {
            value.clone()
        } else {
            Value::Null
        }
    });
    Row {
        values: values.collect(),
        extra: whole.extra.clone().filter(|_| own.contains(fields)),
        parts: Some(Arc::new(Parts {
            own,
            ..Parts::default()
        })),
        ..whole
    }
}

fn decimal(number: &str) -> Value {
    Value::Decimal(number.parse().unwrap())
}

fn product(sku: &str, words: &str, price: &str) -> Row {
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

/// A record of a random key.
#[derive(Clone)]
struct Record {
    version: String,
    /// The values of the columns that it has, the last one being unknown columns; none if it deletes the key.
    columns: Option<BTreeMap<usize, Value>>,
}

/// What records leave, by definition.
fn expected(dataset: &Dataset, records: &BTreeMap<Vec<String>, (Value, Vec<Record>)>) -> Rows {
    let fields = dataset.fields.len();
    let mut rows = Rows::new();
    for (key, (first, records)) in records {
        let deletes = records.iter().filter(|record| record.columns.is_none());
        let deleted = deletes.map(|record| record.version.as_str()).max();
        let live =
            |record: &&Record| record.columns.is_some() && Some(record.version.as_str()) > deleted;
        let live: Vec<&Record> = records.iter().filter(live).collect();
        let Some(version) = live.iter().map(|record| &record.version).max() else {
            continue;
        };
        let value = |column: usize| {
            let have = live.iter().filter_map(|record| {
                let value = record.columns.as_ref()?.get(&column)?;
                Some((&record.version, value))
            });
            let last = have.max_by_key(|(version, _)| *version);
            last.map_or(Value::Null, |(_, value)| value.clone())
        };
        let mut values: Vec<Value> = (0..fields).map(value).collect();
        values[0] = first.clone();
        let extra = match value(fields) {
            Value::Text(text) => Some(text.to_string()),
            _ => None,
        };
        rows.insert(key.clone(), (values, extra, version.clone()));
    }
    rows
}

/// Rows with random columns, in chunks that come in any order and more than once, compared with the definition; then
/// the same by several workers at once.
pub(crate) async fn random_columns_in_any_order(database: &Database) {
    for case in 0..6 {
        let seed = if case < 4 { case } else { seed() };
        let repeat = Repeat(seed);
        random_case(database, &mut StdRng::seed_from_u64(seed)).await;
        drop(repeat);
    }
}

async fn random_case(database: &Database, random: &mut StdRng) {
    let (deletes, has_totals) = (random.random_bool(0.5), random.random_bool(0.5));
    let dataset = || dataset_of(|name| definition(name, deletes, has_totals));
    let first = dataset();
    let chunks = random_chunks(&first, deletes, random);
    let worker = Worker::new(database, first).await;
    let mut records = BTreeMap::new();
    for (step, (moment, rows)) in chunks.iter().enumerate() {
        let before = expected(&worker.dataset, &records);
        for row in rows {
            add_record(&worker.dataset, *moment, row, &mut records);
        }
        let after = expected(&worker.dataset, &records);
        let versions = order(*moment);
        let folded = fold_by_key(rows.clone(), &worker.dataset, |row| versions.at(row.offset));
        let count = folded.rows.len() as u64;
        let rows = folded.rows.into();
        let counted = worker.store.apply(&worker.dataset, &versions, &rows);
        let counted = counted.await.unwrap();
        let place = format!("step {step}, {count} rows of {moment}");
        let both = before
            .iter()
            .filter_map(|(key, row)| Some((row, after.get(key)?)));
        let is_changed = |(old, new): &(&_, &_)| {
            let (old, new): (&crate::generated::Expected, &crate::generated::Expected) = (old, new);
            (&old.0, &old.1) != (&new.0, &new.1)
        };
        let updated = both.filter(is_changed).count() as u64;
        let only = |some: &Rows, others: &Rows| {
            some.keys().filter(|key| !others.contains_key(*key)).count() as u64
        };
        assert_eq!(counted.updated, updated, "updated, {place}");
        assert_eq!(counted.inserted, only(&after, &before), "inserted, {place}");
        assert_eq!(counted.deleted, only(&before, &after), "deleted, {place}");
        assert_eq!(counted.total(), count, "{place}");
        if step % 8 == 0 || step + 1 == chunks.len() {
            check(database, &worker.dataset, &after, &place).await;
        }
    }
    let last = expected(&worker.dataset, &records);
    worker.drop_table().await;
    // The same records, in chunks of several workers at once.
    let second = dataset();
    let folded = |(moment, rows): &(i64, Vec<Row>)| {
        let versions = order(*moment);
        let folded = fold_by_key(rows.clone(), &second, |row| versions.at(row.offset));
        (*moment, folded.rows.into())
    };
    let chunks: Vec<_> = chunks.iter().map(folded).collect();
    apply_at_once(database, &second, 4, &chunks).await;
    check(database, &second, &last, "workers at once").await;
    database.drop_table(&second).await;
}

async fn check(database: &Database, dataset: &Dataset, expected: &Rows, after: &str) {
    assert_rows(database, dataset, expected, after).await;
    if !database.is_mongodb() {
        totals::check(database, dataset).await;
    }
}

fn definition(name: &str, deletes: bool, has_totals: bool) -> String {
    let operation = if deletes {
        "operation = { column = \"op\" }\n"
    } else {
        ""
    };
    let totals = if has_totals {
        format!(
            "[[totals]]\nname = \"{name}_totals\"\nby = [\"f1\"]\n\
             columns = {{ n = \"count\", s = \"sum(f2)\", least = \"min(f2)\", most = \"max(f3)\" }}\n"
        )
    } else {
        String::new()
    };
    let fields = [
        "text", "text", "integer", "decimal", "json", "date", "boolean",
    ];
    let fields = fields.iter().enumerate();
    let fields =
        fields.map(|(index, kind)| format!("{{ name = \"f{index}\", type = \"{kind}\" }}"));
    let fields: Vec<_> = fields.collect();
    format!(
        "mode = \"merge\"\nkey = [\"f0\"]\n{operation}fields = [{}]\n{totals}",
        fields.join(", ")
    )
}

/// Returns the rows of objects, in chunks that come in any order, some of them twice.
fn random_chunks(dataset: &Dataset, deletes: bool, random: &mut StdRng) -> Vec<(i64, Vec<Row>)> {
    let fields = dataset.fields.len();
    let keys = *[3, 30].get(random.random_range(0..2)).unwrap_or(&3);
    let mut chunks = Vec::new();
    for moment in 1..=12 {
        // Like files, some objects have the same columns in all rows.
        let same: Vec<usize> = columns(fields, random);
        let is_file = random.random_bool(0.5);
        let mut rows = Vec::new();
        for offset in 0..random.random_range(1..40) {
            let key = text(&format!("key {}", random.random_range(0..keys)));
            if deletes && random.random_ratio(1, 6) {
                let mut values = vec![Value::Null; fields];
                values[0] = key;
                let mut deleted = deletion(values);
                deleted.offset = offset;
                rows.push(deleted);
                continue;
            }
            let others = dataset.fields[1..].iter();
            let others: Vec<_> = others
                .map(|field| match random.random_range(0..5) {
                    0 => Value::Null,
                    _ => value_of(field.kind, random.random_range(0..3)),
                })
                .collect();
            let mut whole = row(offset, [key].into_iter().chain(others).collect());
            whole.extra = Some(format!("{{\"more\":{}}}", random.random_range(0..3)));
            let some = if is_file {
                same.clone()
            } else {
                columns(fields, random)
            };
            rows.push(partial(whole, &some));
        }
        let rest = rows.split_off(random.random_range(0..rows.len()));
        chunks.extend([(moment, rows), (moment, rest)]);
    }
    chunks.retain(|(_, rows)| !rows.is_empty());
    let again: Vec<_> = chunks
        .iter()
        .filter(|_| random.random_ratio(1, 4))
        .cloned()
        .collect();
    chunks.extend(again);
    chunks.shuffle(random);
    chunks
}

/// Returns random columns outside the key.
fn columns(fields: usize, random: &mut StdRng) -> Vec<usize> {
    let share = *[0.2, 0.5, 1.0]
        .get(random.random_range(0..3))
        .unwrap_or(&1.0);
    (1..=fields).filter(|_| random.random_bool(share)).collect()
}

fn add_record(
    dataset: &Dataset,
    moment: i64,
    row: &Row,
    records: &mut BTreeMap<Vec<String>, (Value, Vec<Record>)>,
) {
    let fields = dataset.fields.len();
    let value = |column: usize| match row.values.get(column) {
        Some(value) => value.clone(),
        None => row.extra.as_deref().map_or(Value::Null, text),
    };
    let has = (1..=fields).filter(|column| row.has(*column));
    let columns = (!row.deleted).then(|| has.map(|column| (column, value(column))).collect());
    let record = Record {
        version: order(moment).at(row.offset).to_string(),
        columns,
    };
    let key = key_texts(dataset, &row.values);
    let known = records
        .entry(key)
        .or_insert_with(|| (row.values[0].clone(), Vec::new()));
    known.1.push(record);
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
