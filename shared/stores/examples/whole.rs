//! Work on a whole big table of `PostgreSQL` beside a load: a new index, new totals, and the prune of a snapshot.
//!
//! `cargo run --release -p landfall-stores --example whole -- [ROWS] [prune]` with the database in
//! `LANDFALL_TEST_POSTGRES_URL`; with `prune`, the table gets no index and no totals before. The server makes the rows.
//! Prints how long each part takes, how long its longest step, and how long chunks take meanwhile. Fails if the outcome
//! is not what a plain computation says. Each 1,000,000 rows need about 300 MB of disk.

#![expect(clippy::unwrap_used, reason = "a measurement, not a program")]
#![allow(clippy::print_stdout, reason = "its output")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use landfall_domain::{Dataset, JobId, ObjectOrder, Row, Value};
use landfall_stores::{Current, Maintenance, Step, Store, StoreOptions, connect_sql};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

const NAME: &str = "whole";
const FIELDS: &str = r#"
name = "whole"
key = ["id"]
mode = "snapshot"
fields = [
    { name = "id", type = "integer" },
    { name = "name", type = "text"INDEX },
    { name = "pieces", type = "integer" },
]
"#;
const TOTALS: &str = r#"
[[totals]]
name = "whole_by_name"
by = ["name"]
columns = { rows = "count", all_pieces = "sum(pieces)", most = "max(pieces)" }
"#;
/// Rows of a chunk of the load.
const CHUNK: i64 = 10_000;

fn dataset(is_indexed: bool) -> Dataset {
    let (index, totals) = if is_indexed {
        (", index = true", TOTALS)
    } else {
        ("", "")
    };
    let text = FIELDS.replace("INDEX", index) + totals;
    Dataset::from_toml("whole.toml", &text).unwrap()
}

fn order(moment: i64) -> ObjectOrder {
    ObjectOrder::new(moment, "", JobId::for_object("inbox", "k", "1")).unwrap()
}

/// Returns new rows after the first `rows` ones.
fn chunk(rows: i64, number: i64) -> Arc<Vec<Row>> {
    let first = rows + number * CHUNK;
    let row = |id: i64| Row {
        offset: 0,
        deleted: false,
        values: vec![
            Value::Integer(id),
            Value::Text(format!("name {}", id % 1_000).as_str().into()),
            Value::Integer(id % 100),
        ]
        .into(),
        extra: None,
        parts: None,
    };
    Arc::new((first..first + CHUNK).map(row).collect())
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let rows: i64 = arguments
        .next()
        .map_or(5_000_000, |rows| rows.parse().unwrap());
    let is_indexed = arguments.next().is_none_or(|part| part != "prune");
    let url = std::env::var("LANDFALL_TEST_POSTGRES_URL").unwrap();
    let mut console = PgConnection::connect(&url).await.unwrap();
    let options = StoreOptions::default();
    let store = connect_sql(&url, options, None).await.unwrap();
    let drop = format!(
        "DROP TABLE IF EXISTS {NAME}, {NAME}_by_name, _deleted_{NAME}; \
         DO $$ BEGIN DELETE FROM _landfall WHERE dataset = '{NAME}'; \
         EXCEPTION WHEN undefined_table THEN END $$"
    );
    run(&mut console, &drop).await;
    store.prepare(&dataset(false)).await.unwrap();
    let started = Instant::now();
    let version = order(1).at(0);
    for first in (0..rows).step_by(1_000_000) {
        let end = rows.min(first + 1_000_000);
        let insert = format!(
            "INSERT INTO {NAME} (id, name, pieces, _version) SELECT id, 'name ' || id % 1000, id % 100, '\\x{version}' \
             FROM generate_series({first}, {end} - 1) id"
        );
        run(&mut console, &insert).await;
    }
    run(&mut console, &format!("ANALYZE {NAME}")).await;
    println!("{rows} rows made in {:.1?}", started.elapsed());

    let done = AtomicBool::new(false);
    let dataset = dataset(is_indexed);
    let load = load(&url, &dataset, rows, &done);
    let work = async {
        if is_indexed {
            maintain(&*store, &dataset).await;
        }
        prune(&*store, &dataset).await;
        done.store(true, Ordering::Relaxed);
    };
    let (loaded, ()) = tokio::join!(load, work);

    if is_indexed {
        let difference = format!(
            "SELECT count(*) FROM (SELECT name, count(*) AS rows, sum(pieces) AS pieces, max(pieces) AS most \
             FROM {NAME} GROUP BY name) a FULL JOIN {NAME}_by_name b USING (name) \
             WHERE (a.rows, a.pieces, a.most) IS DISTINCT FROM (b.rows, b.all_pieces, b.most)"
        );
        assert_eq!(count(&mut console, &difference).await, 0, "totals differ");
    }
    let left = count(&mut console, &format!("SELECT count(*) FROM {NAME}")).await;
    assert_eq!(
        left,
        loaded * CHUNK,
        "rows that the snapshot lacks are left"
    );
    println!("the outcome is right: {left} rows are left");
    run(&mut console, &drop).await;
}

/// Loads chunks of the snapshot until the work is done. Returns their number.
async fn load(url: &str, dataset: &Dataset, rows: i64, done: &AtomicBool) -> i64 {
    let store = connect_sql(url, StoreOptions::default(), None)
        .await
        .unwrap();
    let (mut chunks, mut times) = (0, Vec::new());
    while !done.load(Ordering::Relaxed) {
        let started = Instant::now();
        store.prepare(dataset).await.unwrap();
        let applied = store.apply(dataset, &order(2), &chunk(rows, chunks)).await;
        match applied {
            Ok(_) => chunks += 1,
            Err(error) => {
                println!("  a chunk is retried: {error}");
                continue;
            }
        }
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let longest = times.last().copied().unwrap_or_default();
    println!("{chunks} chunks meanwhile: median {median:.1?}, longest {longest:.1?}");
    chunks
}

async fn maintain(store: &dyn Store, dataset: &Dataset) {
    store.prepare(dataset).await.unwrap();
    let current = Current::default();
    let steps = async || store.maintain(dataset, &current).await.unwrap() == Maintenance::Done;
    timed("index and totals", steps).await;
}

/// Prunes everything that the load has not added.
async fn prune(store: &dyn Store, dataset: &Dataset) {
    let order = order(2);
    let counts = async || {
        let step = store.preview_prune(dataset, &order).await;
        matches!(step.unwrap(), Step::Done(_))
    };
    timed("count", counts).await;
    let deletes = async || {
        let step = store.prune(dataset, &order).await;
        matches!(step.unwrap(), Step::Done(_))
    };
    timed("prune", deletes).await;
}

/// Takes steps until one says that it was the last.
async fn timed(what: &str, step: impl AsyncFn() -> bool) {
    let started = Instant::now();
    let (mut steps, mut longest) = (0, Duration::ZERO);
    loop {
        let begun = Instant::now();
        let is_last = step().await;
        steps += 1;
        longest = longest.max(begun.elapsed());
        if is_last {
            break;
        }
    }
    let took = started.elapsed();
    println!("{what}: {took:.1?}, {steps} steps, the longest {longest:.1?}");
}

async fn run(console: &mut PgConnection, statements: &str) {
    console
        .execute(sqlx::raw_sql(AssertSqlSafe(statements)))
        .await
        .unwrap();
}

async fn count(console: &mut PgConnection, query: &str) -> i64 {
    let count = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
    count.fetch_one(console).await.unwrap()
}
