//! Totals equal a GROUP BY at every commit.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use landfall_domain::{Dataset, Measure, Row, Total, Value, latest_by_key};
use landfall_stores::StoreError;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::client::{Snapshot, Table};
use crate::databases::{Database, dataset_of, redefined};
use crate::rows::{apply_at_once, counts, deletion, order, row, text};
use crate::worker::Worker;

const FIELDS: &str = r#"
key = ["id"]
fields = [
    { name = "id", type = "integer" },
    { name = "name", type = "text" },
    { name = "pieces", type = "integer" },
    { name = "price", type = "decimal" },
    { name = "day", type = "date" },
    { name = "seen", type = "timestamp" },
    { name = "active", type = "boolean" },
]
"#;

/// Groups by one text, by several fields, and without extremes; every measure.
pub(crate) const TOTALS: &str = r#"
[[totals]]
name = "{}_by_name"
by = ["name"]

[totals.columns]
products = "count"
all_pieces = "sum(pieces)"
all_prices = "sum(price)"
fewest = "min(pieces)"
most = "max(pieces)"
cheapest = "min(price)"
dearest = "max(price)"
first_day = "min(day)"
last_day = "max(day)"
first_seen = "min(seen)"
last_seen = "max(seen)"

[[totals]]
name = "{}_by_day"
by = ["day", "name", "active"]
columns = { n = "count", pieces = "sum(pieces)" }

[[totals]]
name = "{}_by_price"
by = ["price"]
columns = { last_seen = "max(seen)" }
"#;

/// Returns a dataset with these totals; `{}` is its name.
pub(crate) fn dataset_with(totals: &str) -> Dataset {
    dataset_of(|name| definition(name, totals))
}

pub(crate) fn definition(name: &str, totals: &str) -> String {
    format!("{FIELDS}{}", totals.replace("{}", name))
}

/// Returns a row with these texts for the fields outside the key; the empty text is null.
fn product(dataset: &Dataset, id: i64, texts: [&str; 6]) -> Row {
    let rest = dataset.fields[1..].iter().zip(texts);
    let rest = rest.map(|(field, text)| match text {
        "" => Value::Null,
        text => field.parse(text).unwrap(),
    });
    row(0, std::iter::once(Value::Integer(id)).chain(rest).collect())
}

fn deleted_row(dataset: &Dataset, id: i64) -> Row {
    let mut values = vec![Value::Null; dataset.fields.len()];
    values[0] = Value::Integer(id);
    deletion(values)
}

/// Returns a row of few different values, so that groups have many rows, and lose and regain their extremes.
fn any_product(dataset: &Dataset, id: i64, random: &mut StdRng) -> Row {
    let long = "a long name, ".repeat(400);
    let other = format!("{long}.");
    let names = ["", "chair", "Chair", "chair ", "lamp", &long, &other];
    let day = ["", "2026-11-20", "2026-11-21", "0001-01-01"];
    let seen = [
        "",
        "2026-11-20T08:30:00.000001Z",
        "2026-11-20T08:30:00Z",
        "1969-07-20T20:17:40Z",
    ];
    let prices = ["", "1.5", "0.01", "-7", "12345678901234.000000001", "1.25"];
    let pieces = random.random_range(-3..4).to_string();
    let pick = |random: &mut StdRng, texts: &[&'static str]| *texts.choose(random).unwrap();
    let name = *names.choose(random).unwrap();
    product(
        dataset,
        id,
        [
            name,
            if random.random_bool(0.1) { "" } else { &pieces },
            pick(random, &prices),
            pick(random, &day),
            pick(random, &seen),
            pick(random, &["", "true", "false"]),
        ],
    )
}

/// Returns the expected table of totals: its groups by the texts of their values.
fn grouped(dataset: &Dataset, rows: &Table, total: &Total) -> BTreeMap<String, Vec<Value>> {
    let index = |name: &str| {
        let mut fields = dataset.fields.iter();
        fields.position(|field| field.name == name).unwrap()
    };
    let mut groups: BTreeMap<String, Vec<&Vec<Value>>> = BTreeMap::new();
    for row in rows {
        let by: Vec<_> = total.by.iter().map(|name| &row[index(name)]).collect();
        groups.entry(format!("{by:?}")).or_default().push(row);
    }
    let measured = |rows: &[&Vec<Value>]| {
        let count = Value::Integer(i64::try_from(rows.len()).unwrap());
        let columns = total.columns.iter().map(|column| {
            let values = |field: &str| {
                let index = index(field);
                let values = rows.iter().map(move |row| row[index].clone());
                values.filter(|value| *value != Value::Null)
            };
            let extreme = |field: &str, largest: bool| {
                let mut values: Vec<_> = values(field).collect();
                values.sort_by(Value::cmp_key);
                if largest {
                    values.reverse();
                }
                values.first().cloned().unwrap_or(Value::Null)
            };
            match &column.measure {
                Measure::Count => count.clone(),
                Measure::Sum(field) => Value::Decimal(
                    values(field)
                        .map(|value| match value {
                            Value::Integer(number) => number.into(),
                            Value::Decimal(number) => number,
                            other => panic!("no sum of {other:?}"),
                        })
                        .sum(),
                ),
                Measure::Min(field) => extreme(field, false),
                Measure::Max(field) => extreme(field, true),
            }
        });
        columns.chain([count.clone()]).collect()
    };
    groups
        .into_iter()
        .map(|(by, rows)| (by, measured(&rows)))
        .collect()
}

/// Asserts that totals equal those of the rows.
fn assert_exact(dataset: &Dataset, snapshot: &Snapshot) {
    for (total, kept) in dataset.totals.iter().zip(&snapshot.totals) {
        let expected = grouped(dataset, &snapshot.rows, total);
        let count = kept.len();
        let kept: BTreeMap<_, _> = kept
            .iter()
            .map(|row| {
                let (by, columns) = row.split_at(total.by.len());
                (format!("{by:?}"), columns.to_vec())
            })
            .collect();
        assert_eq!(kept.len(), count, "{}: a group stands twice", total.name);
        assert_eq!(kept, expected, "{}", total.name);
    }
}

pub(crate) async fn check(database: &Database, dataset: &Dataset) {
    assert_exact(dataset, &database.snapshot(dataset).await);
}

pub(crate) async fn totals_at_every_commit(database: &Database) {
    const KEYS: i64 = 60;
    const CHUNKS: i64 = 120;
    let dataset = dataset_with(TOTALS);
    database.store().await.prepare(&dataset).await.unwrap();
    let mut random = StdRng::seed_from_u64(5);
    let mut chunks = Vec::new();
    for moment in 1..=CHUNKS {
        let mut ids: Vec<i64> = (0..KEYS).collect();
        ids.shuffle(&mut random);
        ids.truncate(random.random_range(1..30));
        let deletes = moment % 3 == 0;
        let rows = ids.into_iter().map(|id| {
            if deletes && random.random_bool(0.4) {
                deleted_row(&dataset, id)
            } else {
                any_product(&dataset, id, &mut random)
            }
        });
        let rows: Arc<Vec<Row>> = latest_by_key(rows.collect(), &dataset).0.into();
        chunks.push((moment, rows));
    }
    let again = chunks.iter().filter(|(moment, _)| moment % 5 == 0).cloned();
    chunks.extend(again.collect::<Vec<_>>());
    // Older ones come late, but not all of them.
    for some in chunks.chunks_mut(40) {
        some.shuffle(&mut random);
    }
    let done = AtomicBool::new(false);
    let watch = async {
        while !done.load(Ordering::Relaxed) {
            check(database, &dataset).await;
            // Reading a file never yields.
            tokio::task::yield_now().await;
        }
    };
    let work = async {
        apply_at_once(database, &dataset, 8, &chunks).await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(watch, work);
    check(database, &dataset).await;
    database.drop_table(&dataset).await;
}

/// Returns a worker for a dataset with all totals.
pub(crate) async fn worker_of(database: &Database) -> Worker<'_> {
    Worker::new(database, dataset_with(TOTALS)).await
}

/// Returns rows of these ids and any values.
pub(crate) fn any_products(dataset: &Dataset, ids: Range<i64>, random: &mut StdRng) -> Vec<Row> {
    ids.map(|id| any_product(dataset, id, random)).collect()
}

pub(crate) async fn extremes_come_and_go(database: &Database) {
    let worker = worker_of(database).await;
    let dataset = &worker.dataset;
    let chair = |id, price| product(dataset, id, ["chair", "1", price, "2026-11-20", "", ""]);
    let lamp = |id, price| product(dataset, id, ["lamp", "", price, "", "", "true"]);
    let deleted = |id| deleted_row(dataset, id);
    let steps = [
        vec![chair(1, "1"), chair(2, "2"), chair(3, "3"), lamp(4, "4")],
        // The least one becomes the greatest.
        vec![chair(1, "9")],
        // It moves to another group, and the only row of a group leaves it.
        vec![lamp(1, "9"), chair(4, "")],
        // A row is deleted, and the last one of a group.
        vec![deleted(2), deleted(1)],
        // Unchanged rows change nothing.
        vec![chair(3, "3")],
        vec![deleted(3), deleted(4), deleted(5)],
        vec![chair(3, "3")],
    ];
    for (moment, rows) in (1..).zip(steps) {
        for _ in 0..2 {
            worker.apply(moment, rows.clone()).await;
            check(database, dataset).await;
        }
    }
    let by_name = &database.snapshot(dataset).await.totals[0];
    assert_eq!(by_name.len(), 1, "empty groups are gone");
    assert_eq!(by_name[0][0], text("chair"));
    worker.drop_table().await;
}

pub(crate) async fn sums_beyond_64_bits(database: &Database) {
    let worker = worker_of(database).await;
    let (most, least) = (i64::MAX.to_string(), i64::MIN.to_string());
    let price = "9999999999999999.999999999";
    for (moment, pieces) in [(1, &most), (2, &least), (3, &most)] {
        let row = |id| product(&worker.dataset, id, ["", pieces, price, "", "", ""]);
        worker.apply(moment, (0..20).map(row).collect()).await;
        check(database, &worker.dataset).await;
    }
    worker.drop_table().await;
}

pub(crate) async fn totals_of_existing_rows(database: &Database) {
    let worker = Worker::new(database, dataset_with("")).await;
    let random = &mut StdRng::seed_from_u64(6);
    let mut rows = |ids| any_products(&worker.dataset, ids, random);
    worker.apply(1, rows(0..200)).await;
    let with = definition(&worker.dataset.name, TOTALS);
    let with = worker.redefined(&with).await;
    check(database, &with.dataset).await;
    with.apply(2, rows(100..300)).await;
    check(database, &with.dataset).await;
    // A job planned before the totals were defined, in a process with the older definition.
    worker.other().await.apply(3, rows(0..150)).await;
    check(database, &with.dataset).await;
    with.drop_table().await;
}

pub(crate) async fn two_prepare_totals_at_once(database: &Database) {
    let worker = Worker::new(database, dataset_with("")).await;
    let without = &worker.dataset;
    let with = redefined(without, &definition(&without.name, TOTALS));
    let random = &mut StdRng::seed_from_u64(7);
    let mut rows = || any_products(&with, 0..150, random);
    worker.apply(1, rows()).await;
    let mut running = JoinSet::new();
    for moment in 2..10 {
        let (store, rows) = (database.store().await, rows().into());
        let dataset = if moment % 2 == 0 { &with } else { without }.clone();
        running.spawn(async move {
            let deliver = async || {
                store.prepare(&dataset).await?;
                store.apply(&dataset, &order(moment), &rows).await
            };
            // The queue delivers again what fails for a while.
            if let Err(error) = deliver().await {
                assert!(error.is_retryable(), "{error}");
                println!("delivered again: {error}");
                deliver().await.unwrap();
            }
        });
    }
    running.join_all().await;
    check(database, &with).await;
    database.drop_table(&with).await;
}

pub(crate) async fn totals_are_rebuilt(database: &Database) {
    let worker = worker_of(database).await;
    let (dataset, store) = (&worker.dataset, &worker.store);
    let random = &mut StdRng::seed_from_u64(8);
    let mut rows = || any_products(dataset, 0..150, random);
    worker.apply(1, rows()).await;
    // Changed by hand.
    let name = &dataset.name;
    let change = format!("UPDATE {name} SET pieces = 7, name = 'changed by hand' WHERE id < 50");
    database.execute(&change).await;
    let groups = store.rebuild_totals(dataset).await.unwrap();
    let snapshot = database.snapshot(dataset).await;
    assert_exact(dataset, &snapshot);
    let expected = dataset.totals.iter().zip(&snapshot.totals);
    let expected = expected.map(|(total, table)| (total.name.clone(), table.len() as u64));
    assert_eq!(groups, expected.collect::<Vec<_>>());
    worker.apply(2, rows()).await;
    check(database, dataset).await;

    // Another definition of the same table is refused, and rebuilt by the same command.
    let fewer = TOTALS.split("[[totals]]").nth(1).unwrap();
    let fewer = format!("[[totals]]{}", fewer.replace("max(price)", "sum(price)"));
    let fewer = definition(name, &fewer);
    let other = redefined(dataset, &fewer);
    let error = database.store().await.prepare(&other).await.unwrap_err();
    assert!(matches!(error, StoreError::Schema { .. }), "{error}");
    assert!(error.to_string().contains("totals rebuild"), "{error}");
    check(database, dataset).await;
    let groups = store.rebuild_totals(&other).await.unwrap();
    assert_eq!(groups.len(), 1);
    worker.redefined(&fewer).await.apply(3, rows()).await;
    check(database, &other).await;
    database.drop_table(&other).await;
}

pub(crate) async fn a_prune_updates_totals(database: &Database) {
    let worker = worker_of(database).await;
    let dataset = &worker.dataset;
    let random = &mut StdRng::seed_from_u64(9);
    let mut rows = |ids| any_products(dataset, ids, random);
    worker.apply(1, rows(0..200)).await;
    worker.apply(2, rows(100..250)).await;
    for _ in 0..2 {
        assert_eq!(worker.prune(2).await, 100);
        check(database, dataset).await;
    }
    // Rows older than the snapshot come too late.
    worker.applies(1, rows(0..200), counts(0, 0, 0, 200)).await;
    check(database, dataset).await;
    worker.drop_table().await;
}
