//! A service follows orders in each store, although it is slow, answers 429 and 500, drops connections and restarts,
//! and relays and workers are killed.
//!
//! With `LANDFALL_DESTINATION_ORDERS=10000`, so many orders are changed twice as often, and functions are killed at
//! random; what they have leased is free after four minutes.

use std::sync::Arc;
use std::time::Duration;

use landfall_local::{Sql, Stack, Stores};
use rand::Rng;
use tokio::time::{sleep, timeout};

use super::keys::Keys;
use super::orders::{Change, Orders, changes};
use super::service::{Mode, Service};
use super::{TOKEN, WITHIN, definition, logs, start, wait_until};
use crate::http::Api;
use crate::support::{completions, invoke, kill, land, upload};

const ORDERS_VARIABLE: &str = "LANDFALL_DESTINATION_ORDERS";
const ORDERS: i64 = 120;
/// Files that change orders, each beside single writes.
const ROUNDS: i64 = 2;
/// One of so many changes is a single write.
const WRITES: usize = 6;
const SHOP: &str = "shop";
/// Longer than a lease, and the run that follows it.
const LONG: Duration = Duration::from_mins(8);

#[tokio::test(flavor = "multi_thread")]
async fn a_service_follows_rows_in_sqlite() {
    follow(Stores::Sql, Sql::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_follows_rows_in_postgresql() {
    follow(Stores::Sql, Sql::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_follows_rows_in_mariadb() {
    follow(Stores::Sql, Sql::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_follows_rows_in_mongodb() {
    follow(Stores::Mongodb, Sql::Sqlite).await;
}

/// How much happens.
struct Plan {
    orders: i64,
    /// Changes of a round.
    changes: usize,
    per_second: usize,
    /// Whether functions are killed all the time.
    is_long: bool,
}

impl Plan {
    fn new() -> Self {
        let orders = std::env::var(ORDERS_VARIABLE);
        let orders = orders.map_or(ORDERS, |orders| orders.parse().unwrap());
        Self {
            orders,
            changes: usize::try_from(orders / ROUNDS).unwrap(),
            per_second: if orders > ORDERS { 400 } else { 100 },
            is_long: orders > ORDERS,
        }
    }
}

async fn follow(stores: Stores, sql: Sql) {
    let plan = Plan::new();
    let mut service = Service::start(TOKEN);
    let restarts = plan.is_long || sql == Sql::Sqlite && stores == Stores::Sql;
    let stack = Arc::new(start(stores, sql).await);
    let limits = format!(
        "per_second = {}\nconcurrency = 8\ntimeout_seconds = 1",
        plan.per_second
    );
    let definition = definition(service.url(), &limits);
    stack.put_destination(SHOP, &definition).await.unwrap();
    // From here on, changes are recorded. Workers ring the relay.
    let relay = &stack.outputs().relay_function;
    assert!(invoke(&stack, relay).await, "{}", logs(&stack).await);

    let mut orders = Orders::default();
    let new: Vec<Change> = (1..=plan.orders).map(|id| (id, Some("open"))).collect();
    land(&stack, "orders/0.csv", orders.file(0, &new)).await;
    service.begins(20).await;
    let killer = plan
        .is_long
        .then(|| tokio::spawn(kill_all(Arc::clone(&stack))));
    let api = Api::new(&stack);
    let mut jobs = Vec::new();
    for round in 1..=2 * ROUNDS {
        let mut in_file = changes(plan.orders, plan.changes);
        let by_api = in_file.split_off(in_file.len() - plan.changes / WRITES);
        if round == 2 && !plan.is_long {
            service.set_mode(Mode::Slow);
        }
        let file = orders.file(round, &in_file);
        let name = format!("orders/{round}.csv");
        let job = upload(&stack, &name, file);
        // The file and the single writes change different orders.
        let (job, ()) = tokio::join!(job, orders.write(&api, round, &by_api));
        jobs.push(job);
        if round == 2 && !plan.is_long {
            kill_the_relay(&stack, &service).await;
        }
        if round == 3 && restarts {
            service.restart().await;
        }
        if !plan.is_long {
            completions(&stack, &[job]).await;
        }
        // The times of uploads decide which row is newer.
        sleep(Duration::from_millis(20)).await;
    }
    if let Some(killer) = killer {
        killer.abort();
        completions(&stack, &jobs).await;
    }
    settle(
        &stack,
        &service,
        &orders,
        if plan.is_long { LONG } else { WITHIN },
    )
    .await;
    service.check(plan.per_second);
    let logs = logs(&stack).await;
    assert!(!logs.contains(TOKEN));
}

/// Kills relays and workers again and again.
async fn kill_all(stack: Arc<Stack>) {
    loop {
        let pause = Duration::from_millis(rand::rng().random_range(500..6_000));
        sleep(pause).await;
        let outputs = stack.outputs();
        let functions = [&outputs.relay_function, &outputs.worker_function];
        kill(&stack, functions[rand::rng().random_range(0..2)]);
    }
}

/// Kills the relay during calls, and ends its leases, as four minutes would.
async fn kill_the_relay(stack: &Stack, service: &Service) {
    let keys = Keys::of(stack).await;
    // Not the last ones of a lease, which could end before the kill.
    let many = async || keys.summary(SHOP).await.leased >= 5;
    assert!(
        wait_until("leases", WITHIN, many).await,
        "{}",
        logs(stack).await
    );
    service.is_called().await;
    // No other relay begins meanwhile, whose leases would be ended, too.
    let relay = &stack.outputs().relay_function;
    let lambda = aws_sdk_lambda::Client::new(stack.sdk_config());
    let reserve = async |runs| {
        let reserve = lambda.put_function_concurrency().function_name(relay);
        let reserve = reserve.reserved_concurrent_executions(runs);
        reserve.send().await.unwrap();
    };
    reserve(0).await;
    let killed = kill(stack, relay);
    assert!(killed > 0, "no relay ran");
    service.is_idle().await;
    assert!(keys.end_leases().await > 0, "the relay had no lease");
    reserve(8).await;
    service.set_mode(Mode::Usual);
    let invoked = timeout(WITHIN, invoke(stack, relay)).await;
    assert!(invoked.unwrap(), "{}", logs(stack).await);
}

/// Waits until the service holds the rows, and the store has recorded that.
async fn settle(stack: &Stack, service: &Service, orders: &Orders, within: Duration) {
    let wanted = orders.wanted();
    let keys = Keys::of(stack).await;
    let is_settled = async || {
        let summary = keys.summary(SHOP).await;
        assert_eq!(summary.set_aside, 0, "changes were refused");
        assert_eq!(summary.unknown, 0);
        summary.waiting == 0 && summary.recorded == 0 && service.orders() == wanted
    };
    if !wait_until("all is sent", within, is_settled).await {
        let summary = keys.summary(SHOP).await;
        panic!("{summary:?}:\n{}", logs(stack).await);
    }
}
