//! A destination: orders that files and single writes insert, change and delete, and a service that follows them,
//! although it is slow, answers 429 and 500, drops connections, and the relay is killed.

mod redo;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use landfall_aws::Secret;
use landfall_local::{Sql, Stack};
use rand::Rng;
use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::http::Api;
use crate::support::{invoke, kill, land, sqlite, start, tick};
use service::Service;

/// Longer than any step takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(2);
const ORDERS: i64 = 300;
/// Files that change orders, each followed by single writes.
const ROUNDS: i64 = 4;
const CHANGES: usize = 60;
const WRITES: usize = 10;
const PER_SECOND: usize = 100;
const TOKEN: &str = "token-of-the-shop";

const DATASET: &str = r#"
name = "orders"
key = ["id"]
fields = [
    { name = "id", type = "integer" },
    { name = "status", type = "text", required = true },
    { name = "revision", type = "integer", required = true },
]
[operation]
column = "op"
"#;

fn definition(url: &str) -> String {
    format!(
        r#"
dataset = "orders"
url = "{url}"
when = "status != draft"
id_from = "id"
[headers]
Authorization = "Bearer {{secret:shop_token}}"
[create]
path = "/orders"
[update]
path = "/orders/{{{{ remote_id }}}}"
[delete]
path = "/orders/{{{{ remote_id }}}}"
[lookup]
path = "/orders?id={{{{ id }}}}"
id_from = "items.0.id"
[limits]
per_second = {PER_SECOND}
concurrency = 8
timeout_seconds = 1
"#
    )
}

/// The rows as they stand, by id: the revision and the status.
#[derive(Default)]
struct Orders(BTreeMap<i64, (i64, &'static str)>);

#[tokio::test(flavor = "multi_thread")]
async fn a_service_follows_rows_while_the_relay_is_killed() {
    let service = Service::start(TOKEN);
    let stack = Arc::new(start(Sql::Sqlite, &[]).await);
    let relay = &stack.outputs().relay_function;
    put_secret(&stack).await;
    stack.put_dataset("orders", DATASET).await.unwrap();
    let definition = definition(service.url());
    stack.put_destination("shop", &definition).await.unwrap();
    // From here on, changes are recorded.
    assert!(invoke(&stack, relay).await, "{}", logs(&stack).await);

    let mut orders = Orders::default();
    let new: Vec<_> = (1..=ORDERS).map(|id| (id, Some("open"))).collect();
    land(&stack, "orders/0.csv", orders.file(0, &new)).await;
    let mut ticks = tokio::spawn(tick(Arc::clone(&stack), relay.clone()));
    service.begins(50).await;
    let api = Api::new(&stack);
    for round in 1..=ROUNDS {
        let file = orders.file(round * 2, &changes(CHANGES));
        land(&stack, &format!("orders/{round}.csv"), file).await;
        orders.write(&api, round * 2 + 1, changes(WRITES)).await;
        if round == 2 {
            ticks.abort();
            kill_the_relay(&stack, &service).await;
            ticks = tokio::spawn(tick(Arc::clone(&stack), relay.clone()));
        }
    }
    follow(&stack, &service, &orders).await;
    ticks.abort();
    service.check(PER_SECOND);
    assert!(!logs(&stack).await.contains(TOKEN));
}

async fn put_secret(stack: &Stack) {
    let secret = Secret::new(stack.sdk_config(), &stack.outputs().sources_secret);
    let (_, version) = secret.read_version().await.unwrap();
    let text = json!({ "shop_token": TOKEN }).to_string();
    assert!(secret.replace(&version, &text).await.unwrap());
}

/// Returns random changes of different orders: a status, or none to delete the row.
fn changes(count: usize) -> Vec<(i64, Option<&'static str>)> {
    let mut rng = rand::rng();
    let mut changes = BTreeMap::new();
    while changes.len() < count {
        // Some do not exist yet.
        let id = rng.random_range(1..=ORDERS + 50);
        let statuses = [Some("open"), Some("paid"), Some("draft"), None];
        changes.insert(id, statuses[rng.random_range(0..statuses.len())]);
    }
    changes.into_iter().collect()
}

impl Orders {
    fn change(&mut self, revision: i64, changes: &[(i64, Option<&'static str>)]) {
        for (id, status) in changes {
            match status {
                Some(status) => self.0.insert(*id, (revision, status)),
                None => self.0.remove(id),
            };
        }
    }

    /// Returns a file with changes.
    fn file(&mut self, revision: i64, changes: &[(i64, Option<&'static str>)]) -> Vec<u8> {
        self.change(revision, changes);
        let lines = changes.iter().map(|(id, status)| match status {
            Some(status) => format!("{id},{status},{revision},\n"),
            None => format!("{id},,,delete\n"),
        });
        let lines: String = lines.collect();
        format!("id,status,revision,op\n{lines}").into_bytes()
    }

    /// Sends single writes, and waits until they are stored.
    async fn write(&mut self, api: &Api, revision: i64, changes: Vec<(i64, Option<&'static str>)>) {
        self.change(revision, &changes);
        let writes = changes.iter().map(async |(id, status)| {
            let path = format!("datasets/orders/rows/{id}?wait=true");
            let request = match status {
                Some(status) => api
                    .request(Method::PUT, &path)
                    .json(&json!({"status": status, "revision": revision})),
                None => api.request(Method::DELETE, &path),
            };
            let answer = request.send().await.unwrap();
            let status = answer.status();
            let is_accepted = matches!(status, StatusCode::OK | StatusCode::ACCEPTED);
            assert!(is_accepted, "{status}: {}", answer.text().await.unwrap());
        });
        join_all(writes).await;
    }

    /// Returns what the service must hold.
    fn wanted(&self) -> BTreeMap<i64, Value> {
        let rows = self.0.iter().filter(|(_, (_, status))| *status != "draft");
        let rows = rows.map(|(id, (revision, status))| {
            (
                *id,
                json!({"id": id, "status": status, "revision": revision}),
            )
        });
        rows.collect()
    }
}

/// Kills the relay during calls, and ends its leases, as four minutes would.
async fn kill_the_relay(stack: &Stack, service: &Service) {
    // Not the last ones of a lease, which could end before the kill.
    let leased =
        "SELECT count(*) FROM _keys_orders WHERE _lease IS NOT NULL AND _state = 'waiting'";
    let database = sqlite(stack);
    let stop_at = Instant::now() + WITHIN;
    while count(&database, leased) < 10 {
        assert!(Instant::now() < stop_at, "the relay leases too little");
        sleep(Duration::from_millis(1)).await;
    }
    service.is_called().await;
    let killed = kill(stack, &stack.outputs().relay_function);
    assert!(killed > 0, "no relay ran");
    service.is_idle().await;
    let ended = database.execute(
        "UPDATE _keys_orders SET _due_at = 0 WHERE _lease IS NOT NULL AND _state = 'waiting'",
        [],
    );
    assert!(ended.unwrap() > 0, "the relay had no lease");
}

/// Waits until the service holds the rows, and the store has recorded that.
async fn follow(stack: &Stack, service: &Service, orders: &Orders) {
    let wanted = orders.wanted();
    let database = sqlite(stack);
    let stop_at = Instant::now() + WITHIN;
    loop {
        let (waiting, failed) = (keys(&database, "waiting"), keys(&database, "set_aside"));
        assert_eq!(failed, 0, "changes were refused");
        assert_eq!(keys(&database, "unknown"), 0);
        let recorded = count(&database, "SELECT count(*) FROM _changed_orders");
        if waiting == 0 && recorded == 0 && service.orders() == wanted {
            return;
        }
        if Instant::now() >= stop_at {
            let logs = logs(stack).await;
            panic!("{waiting} keys wait, {recorded} changes are not looked at:\n{logs}");
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn keys(database: &Connection, state: &str) -> i64 {
    let select = format!("SELECT count(*) FROM _keys_orders WHERE _state = '{state}'");
    count(database, &select)
}

fn count(database: &Connection, select: &str) -> i64 {
    database.query_row(select, [], |row| row.get(0)).unwrap()
}

async fn logs(stack: &Stack) -> String {
    stack.function_logs(500).await.unwrap()
}
