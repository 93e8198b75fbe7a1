//! Sources: two servers whose rows change all the time, and that the tables follow, each at its own pace, while the
//! puller, the worker and a server are killed; a walk that takes longer than the function; and requests for each row of
//! another dataset.

mod children;
mod long;
mod pace;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use landfall_ledger::{DynamoTable, SourceTable};
use landfall_local::{Sql, Stack};
use landfall_sources::{Outcome, Phase, RunEntry};
use tokio::time::{Instant, sleep};

use crate::delivery::{drain, send_back, set_delivery};
use crate::support::{documents, kill, set_timeout, set_variable, sqlite, start, tick};
use server::Server;

/// Longer than any step takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(3);
/// The seconds of a minute in the schedules of sources, which are minutes on AWS.
const MINUTE: &str = "1";
/// The seconds between two runs of each source.
const PACES: [(&str, i64); 2] = [("stock", 5), ("events", 3)];
const ROWS: i64 = 300;

const DATASETS: [(&str, &str); 2] = [
    (
        "stock",
        "name = \"stock\"\nmode = \"snapshot\"\nmax_delete_share = 1.0\nkey = [\"id\"]\n\
         fields = [{ name = \"id\", type = \"integer\" }, { name = \"name\", type = \"text\" }]\n\
         unknown_columns = \"drop\"\n",
    ),
    (
        "events",
        "name = \"events\"\nkey = [\"id\"]\nfields = [\n\
         { name = \"id\", type = \"integer\" },\n\
         { name = \"name\", type = \"text\" },\n\
         { name = \"at\", type = \"timestamp\" },\n]\n",
    ),
];

fn definitions(stock: &str, events: &str) -> [(&'static str, String); 2] {
    let [(_, pace_of_stock), (_, pace_of_events)] = PACES;
    let stock = format!(
        "dataset = \"stock\"\nurl = \"{stock}\"\nevery = \"{pace_of_stock} minutes\"\nrecords = \"rows\"\n\
         complete = true\n\
         paging = {{ kind = \"keyset\", parameter = \"after\", field = \"id\", type = \"integer\" }}\n\
         limits = {{ requests_per_second = 100 }}\n"
    );
    let events = format!(
        "dataset = \"events\"\nurl = \"{events}\"\nevery = \"{pace_of_events} minutes\"\nrecords = \"rows\"\n\
         paging = {{ kind = \"cursor\", parameter = \"after\", cursor = \"next\" }}\n\
         limits = {{ requests_per_second = 100 }}\n\
         [incremental]\nfield = \"at\"\ntype = \"timestamp\"\nparameter = \"since\"\noverlap = \"5 seconds\"\n"
    );
    [("stock", stock), ("events", events)]
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_follow_two_servers_while_processes_are_killed() {
    let (mut stock, events) = (Server::start(), Server::start());
    for server in [&stock, &events] {
        server.put(1..=ROWS, "first");
    }
    let stack = Arc::new(start(Sql::Sqlite, &[]).await);
    let puller = &stack.outputs().puller_function;
    set_variable(
        &stack,
        puller,
        "LANDFALL_SOURCE_MINUTE_SECONDS",
        Some(MINUTE),
    )
    .await;
    set_timeout(&stack, puller, long::TIMEOUT).await;
    for (name, definition) in DATASETS {
        stack.put_dataset(name, definition).await.unwrap();
    }
    for (name, definition) in definitions(stock.url(), events.url()) {
        stack.put_source(name, &definition).await.unwrap();
    }
    let ticks = tokio::spawn(tick(Arc::clone(&stack), puller.clone()));
    follow(&stack, &stock, &events).await;

    let is_over = AtomicBool::new(false);
    let (stock_rows, events_rows) = (stock.rows(), events.rows());
    let changing = async {
        let mut changes = 0;
        while !is_over.load(Ordering::Relaxed) {
            changes += stock_rows.change(true) + events_rows.change(false);
            sleep(Duration::from_millis(50)).await;
        }
        changes
    };
    let killing = async {
        kill_a_puller(&stack, &stock).await;
        kill_a_worker(&stack).await;
        kill_a_server(&mut stock).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (changes, (), ()) = tokio::join!(changing, killing, pace::check(&stack));
    assert!(changes > 200, "{changes}");
    tokio::join!(
        follow(&stack, &stock, &events),
        long::check(&stack),
        children::check(&stack),
    );
    ticks.abort();
    check_runs(&stack).await;
}

/// Kills the puller while it waits for the second page of a walk.
async fn kill_a_puller(stack: &Stack, stock: &Server) {
    stock.hold_a_second_page().await;
    let killed = kill(stack, &stack.outputs().puller_function);
    assert!(killed > 0, "no puller ran");
}

/// Kills the server in the middle of a walk. It is back some seconds later.
async fn kill_a_server(stock: &mut Server) {
    stock.hold_a_second_page().await;
    stock.kill();
    sleep(Duration::from_secs(2)).await;
    stock.restart();
}

/// Kills the worker while it waits for the lock of the database, with the rows of a source.
async fn kill_a_worker(stack: &Stack) {
    set_delivery(stack, false).await;
    let table = ledger(stack);
    let stop_at = Instant::now() + WITHIN;
    let messages = loop {
        let run = table.source("events").await.unwrap().record.run;
        let is_waiting = run.is_some_and(|run| matches!(run.phase, Phase::Ingesting { .. }));
        let messages = drain(stack).await;
        if is_waiting && !messages.is_empty() {
            break messages;
        }
        send_back(stack, &messages).await;
        assert!(Instant::now() < stop_at, "no chunk of a source was planned");
        sleep(Duration::from_millis(100)).await;
    };
    let lock = sqlite(stack);
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    set_delivery(stack, true).await;
    send_back(stack, &messages).await;
    // Until a worker has the messages.
    let stop_at = Instant::now() + WITHIN;
    while !has_hidden_messages(stack).await {
        assert!(Instant::now() < stop_at, "no worker has received a message");
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let killed = kill(stack, &stack.outputs().worker_function);
    assert!(killed > 0, "no worker ran");
    lock.execute_batch("ROLLBACK").unwrap();
    // As the queue does after a minute.
    send_back(stack, &messages).await;
}

async fn has_hidden_messages(stack: &Stack) -> bool {
    use aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessagesNotVisible as Hidden;
    let sqs = aws_sdk_sqs::Client::new(stack.sdk_config());
    let found = sqs.get_queue_attributes();
    let found = found.queue_url(&stack.outputs().chunk_queue_url);
    let found = found.attribute_names(Hidden).send().await.unwrap();
    found.attributes().unwrap()[&Hidden] != "0"
}

/// Waits until both databases have the rows of both servers.
async fn follow(stack: &Stack, stock: &Server, events: &Server) {
    let stop_at = Instant::now() + WITHIN;
    loop {
        let mut differs = Vec::new();
        for (name, server) in [("stock", stock), ("events", events)] {
            let expected = server.rows().names();
            if in_sql(stack, name) != expected || in_mongodb(stack, name).await != expected {
                differs.push(name);
            }
        }
        if differs.is_empty() {
            return;
        }
        if Instant::now() >= stop_at {
            let logs = stack.function_logs(60).await.unwrap();
            let runs = [runs(stack, "stock").await, runs(stack, "events").await];
            panic!("{differs:?} were not followed:\n{runs:#?}\n{logs}");
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Checks that each source ran at its own times, and that no run stored something without an object.
async fn check_runs(stack: &Stack) {
    for (name, seconds) in PACES {
        let runs = runs(stack, name).await;
        // The first one is due at once.
        let periods = runs.iter().filter(|run| run.number > 1);
        let periods: Vec<i64> = periods
            .map(|run| run.started.as_second() / seconds)
            .collect();
        let different: BTreeSet<i64> = periods.iter().copied().collect();
        assert_eq!(
            different.len(),
            periods.len(),
            "{name} ran too often: {runs:#?}"
        );
        let stored = runs.iter().filter(|run| run.outcome == Outcome::Succeeded);
        assert!(
            stored.clone().count() >= 2,
            "{name} stored too little: {runs:#?}"
        );
        for run in stored {
            assert!(run.object.is_some() && run.job.is_some(), "{run:?}");
            assert!(run.progress.records > 0 && run.requests > 0, "{run:?}");
        }
    }
}

async fn runs(stack: &Stack, name: &str) -> Vec<RunEntry> {
    let table = ledger(stack);
    let last = table.source(name).await.unwrap().record.runs;
    table.source_runs(name, 1, last).await.unwrap()
}

fn ledger(stack: &Stack) -> DynamoTable {
    let client = aws_sdk_dynamodb::Client::new(stack.sdk_config());
    DynamoTable::new(client, &stack.outputs().ledger_table)
}

fn in_sql(stack: &Stack, table: &str) -> BTreeMap<i64, String> {
    let connection = sqlite(stack);
    // There is no table before the first rows.
    let Ok(mut select) = connection.prepare(&format!("SELECT id, name FROM {table}")) else {
        return BTreeMap::new();
    };
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

async fn in_mongodb(stack: &Stack, collection: &str) -> BTreeMap<i64, String> {
    let found = documents(stack.mongodb_uri(), collection).await;
    // A tombstone has no name.
    let rows = found.iter().filter(|row| row.contains_key("name"));
    let rows = rows.map(|row| {
        let name = row.get_str("name").unwrap().to_owned();
        (row.get_i64("_id").unwrap(), name)
    });
    rows.collect()
}
