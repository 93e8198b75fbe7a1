//! What it costs to record changes: loads of the same rows into a dataset with and without a destination, in
//! `PostgreSQL`.
//!
//! `cargo run --release -p landfall-stores --example tracked -- [ROWS] [RUNS]` with the database in
//! `LANDFALL_TEST_POSTGRES_URL`. Each run loads new rows, and then changes each of them; two chunks are written at
//! once. Afterwards, the changes are leased and recorded as sent, which is timed, too. Fails if any is missing.

#![expect(clippy::unwrap_used, reason = "a measurement, not a program")]
#![allow(clippy::print_stdout, reason = "its output")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use landfall_domain::{Dataset, JobId, ObjectOrder, Row, Value};
use landfall_stores::{
    ChangeOutcome, ChangeResult, Lease, StoreOptions, connect_changes, connect_sql,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// Rows of a chunk.
const CHUNK: i64 = 40_000;
const DESTINATION: &str = "service";
/// Changes of a lease.
const LEASE: usize = 1_000;

fn dataset(name: &str) -> Dataset {
    let text = format!(
        r#"
        name = "{name}"
        key = ["id"]
        fields = [
            {{ name = "id", type = "text" }},
            {{ name = "name", type = "text" }},
            {{ name = "price", type = "decimal" }},
            {{ name = "pieces", type = "integer" }},
            {{ name = "at", type = "timestamp" }},
            {{ name = "note", type = "text" }},
        ]
        "#
    );
    Dataset::from_toml("tracked.toml", &text).unwrap()
}

fn order(moment: i64) -> ObjectOrder {
    ObjectOrder::new(moment, "", JobId::for_object("inbox", "k", "1")).unwrap()
}

fn chunk(dataset: &Dataset, first: i64, rows: i64, moment: i64) -> Arc<Vec<Row>> {
    let row = |id: i64| {
        let texts = [
            format!("product {id:08}"),
            format!("name {}", id % 1_000),
            format!("{}.25", id % 500),
            (id % 100 + moment).to_string(),
            "2026-11-20T08:30:00Z".to_owned(),
            "a note of about forty characters, no more".to_owned(),
        ];
        let fields = dataset.fields.iter().zip(&texts);
        let values: Vec<Value> = fields
            .map(|(field, text)| field.parse(text).unwrap())
            .collect();
        Row {
            offset: 0,
            deleted: false,
            values: values.into(),
            extra: None,
            parts: None,
        }
    };
    Arc::new((first..rows.min(first + CHUNK)).map(row).collect())
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| {
        arguments
            .next()
            .map_or(default, |number| number.parse().unwrap())
    };
    let (rows, runs): (i64, i64) = (number(500_000), number(3));
    let url = std::env::var("LANDFALL_TEST_POSTGRES_URL").unwrap();
    for run in 1..=runs {
        // In turn, and each first once.
        let mut names = ["untracked", "tracked"];
        if run % 2 == 0 {
            names.reverse();
        }
        for name in names {
            load(&url, name, rows).await;
        }
    }
}

async fn load(url: &str, name: &str, rows: i64) {
    let mut console = PgConnection::connect(url).await.unwrap();
    let drop = format!(
        "DROP TABLE IF EXISTS {name}, _deleted_{name}, _changed_{name}, _keys_{name}; \
         DO $$ BEGIN DELETE FROM _landfall WHERE dataset = '{name}'; \
         EXCEPTION WHEN undefined_table THEN END $$; CHECKPOINT"
    );
    let drop = sqlx::raw_sql(AssertSqlSafe(drop));
    console.execute(drop).await.unwrap();
    let dataset = dataset(name);
    let options = StoreOptions::default();
    let is_tracked = name == "tracked";
    if is_tracked {
        let changes = connect_changes(None, Some(url), options, None)
            .await
            .unwrap();
        changes
            .track(&dataset, &[DESTINATION.to_owned()])
            .await
            .unwrap();
    }
    let mut stores = Vec::new();
    for _ in 0..2 {
        let store = connect_sql(url, options, None).await.unwrap();
        store.prepare(&dataset).await.unwrap();
        stores.push(store);
    }
    for (moment, what) in [(1, "new rows"), (2, "changed rows")] {
        let chunks = (0..rows).step_by(usize::try_from(CHUNK).unwrap());
        let chunks: Vec<_> = chunks
            .map(|first| chunk(&dataset, first, rows, moment))
            .collect();
        let started = Instant::now();
        let chunks = stream::iter(chunks.into_iter().zip(stores.iter().cycle()));
        let applied = chunks.map(|(rows, store)| {
            let dataset = &dataset;
            async move { store.apply(dataset, &order(moment), &rows).await }
        });
        let applied: Vec<_> = applied.buffer_unordered(2).try_collect().await.unwrap();
        let took = started.elapsed();
        let total: u64 = applied
            .iter()
            .map(|counts| counts.inserted + counts.updated)
            .sum();
        assert_eq!(
            total,
            rows.unsigned_abs(),
            "rows that were inserted or updated"
        );
        println!("{name}: {rows} {what} in {took:.2?}");
    }
    if is_tracked {
        drain(url, &dataset, rows).await;
    }
}

/// Leases all changes, and records them as sent.
async fn drain(url: &str, dataset: &Dataset, rows: i64) {
    let store = connect_changes(None, Some(url), StoreOptions::default(), None)
        .await
        .unwrap();
    let (started, mut sent, mut number) = (Instant::now(), 0, 0);
    let (mut leasing, mut recording) = (Duration::ZERO, Duration::ZERO);
    loop {
        number += 1;
        let now = Timestamp::now();
        let lease = Lease {
            id: format!("lease-{number}"),
            now,
            until: now + SignedDuration::from_secs(60),
        };
        let begun = Instant::now();
        let due = store
            .lease(dataset, DESTINATION, &lease, LEASE)
            .await
            .unwrap();
        leasing += begun.elapsed();
        if due.is_empty() {
            break;
        }
        sent += due.len() as u64;
        let results = due.into_iter().map(|change| ChangeResult {
            key: change.key,
            version: change.version,
            outcome: ChangeOutcome::Sent {
                exists: true,
                id: None,
            },
        });
        let results: Vec<_> = results.collect();
        let begun = Instant::now();
        let recorded = store
            .record(dataset, DESTINATION, &lease, &results)
            .await
            .unwrap();
        assert_eq!(recorded, results.len() as u64, "leases that were held");
        recording += begun.elapsed();
    }
    assert_eq!(sent, rows.unsigned_abs(), "keys that were sent");
    let took = started.elapsed();
    println!(
        "{sent} keys sent in {took:.2?}: leased in {leasing:.2?}, recorded in {recording:.2?}"
    );
}
