//! A service that is down, beside one that is not, and what must not be called.

use std::time::Duration;

use landfall_local::{Sql, Stack, Stores};
use tokio::time::sleep;

use super::keys::Keys;
use super::orders::{Change, Orders};
use super::service::{Mode, Service};
use super::{TOKEN, WITHIN, definition, logs, start, wait_until};
use crate::support::{invoke, land, set_variable};

/// Orders of a file.
const ORDERS: i64 = 20;
/// One call at a time, so that they arrive in their order.
const LIMITS: &str = "per_second = 100\nconcurrency = 1\ntimeout_seconds = 1";

/// Inserts orders by a file, and returns their ids.
async fn insert(stack: &Stack, orders: &mut Orders, number: i64) -> Vec<i64> {
    let ids: Vec<i64> = (number * ORDERS + 1..=(number + 1) * ORDERS).collect();
    let new: Vec<Change> = ids.iter().map(|id| (*id, Some("open"))).collect();
    let file = orders.file(number, &new);
    land(stack, &format!("orders/{number}.csv"), file).await;
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_gets_everything_later_and_others_go_on() {
    let (shop, other) = (Service::reliable(TOKEN), Service::reliable(TOKEN));
    let stack = start(Stores::Sql, Sql::Sqlite).await;
    let relay = &stack.outputs().relay_function;
    for (name, service) in [("shop", &shop), ("other", &other)] {
        let definition = definition(service.url(), LIMITS);
        stack.put_destination(name, &definition).await.unwrap();
    }
    assert!(invoke(&stack, relay).await, "{}", logs(&stack).await);
    let keys = Keys::of(&stack).await;
    let mut orders = Orders::default();

    shop.set_mode(Mode::Down);
    let mut inserted = vec![insert(&stack, &mut orders, 0).await];
    let is_open = async || keys.circuit("shop").await.open().is_some();
    let opened = wait_until("the circuit is open", WITHIN, is_open).await;
    assert!(opened, "{}", logs(&stack).await);
    for number in 1..=2 {
        inserted.push(insert(&stack, &mut orders, number).await);
        let has_all = async || other.orders() == orders.wanted();
        let followed = wait_until("the other service follows", WITHIN, has_all).await;
        assert!(followed, "{}", logs(&stack).await);
    }
    // Only probes, two seconds after each other at least.
    let before = shop.calls();
    sleep(Duration::from_secs(3)).await;
    let probes = shop.calls() - before;
    assert!(probes <= 2, "{probes} calls of a service that is down");
    assert!(shop.orders().is_empty());

    let attempted = shop.called_after(0);
    let calls = attempted.len();
    shop.set_mode(Mode::Usual);
    let has_all = async || {
        let summary = keys.summary("shop").await;
        shop.orders() == orders.wanted() && summary.waiting == 0
    };
    assert!(
        wait_until("everything arrives", WITHIN, has_all).await,
        "{:?}\n{}",
        keys.summary("shop").await,
        logs(&stack).await
    );
    // What was never attempted comes as it was changed. What was is due later.
    let arrived = shop.called_after(calls).into_iter();
    let arrived = arrived.filter(|order| !attempted.contains(order));
    let file_of = |order: i64| inserted.iter().position(|ids| ids.contains(&order));
    let files: Vec<Option<usize>> = arrived.map(file_of).collect();
    assert!(files.len() > 10, "{files:?}");
    assert!(files.is_sorted(), "{files:?}");
    assert!(keys.circuit("shop").await.open().is_none());
    for service in [&shop, &other] {
        service.check(100);
    }
    assert!(!logs(&stack).await.contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_refused_and_redirects_are_not_followed() {
    let (shop, internal) = (Service::reliable(TOKEN), Service::reliable(TOKEN));
    let stack = start(Stores::Sql, Sql::Sqlite).await;
    let relay = &stack.outputs().relay_function;
    let definition_of = |url: &str| definition(url, LIMITS);
    let definitions = [
        ("shop", definition_of(shop.url())),
        (
            "named",
            definition_of(&format!("http://localhost:{}", internal.port())),
        ),
    ];
    for (name, definition) in &definitions {
        stack.put_destination(name, definition).await.unwrap();
    }
    shop.set_mode(Mode::Moved(internal.port()));
    let allowed = "LANDFALL_SOURCE_PRIVATE_ADDRESSES";
    set_variable(&stack, relay, allowed, Some("false")).await;
    assert!(invoke(&stack, relay).await, "{}", logs(&stack).await);
    let keys = Keys::of(&stack).await;
    let mut orders = Orders::default();
    insert(&stack, &mut orders, 0).await;
    assert!(invoke(&stack, relay).await);
    let count = orders.wanted().len() as u64;
    for (name, _) in &definitions {
        let summary = keys.summary(name).await;
        assert_eq!(summary.waiting, count, "{name}: {summary:?}");
    }
    assert_eq!((shop.calls(), internal.calls()), (0, 0));
    let shown = logs(&stack).await;
    assert!(
        shown.contains("changes are not sent") && shown.contains("not public"),
        "{shown}"
    );

    // Where private addresses are allowed, a redirect to another one is an answer, not another call.
    stack
        .put_destination("named", &definition_of(shop.url()))
        .await
        .unwrap();
    set_variable(&stack, relay, allowed, Some("true")).await;
    assert!(invoke(&stack, relay).await);
    let is_set_aside = async || keys.summary("shop").await.set_aside == count;
    assert!(
        wait_until("redirects are set aside", WITHIN, is_set_aside).await,
        "{:?}\n{}",
        keys.summary("shop").await,
        logs(&stack).await
    );
    assert_eq!(internal.calls(), 0);
    assert!(!logs(&stack).await.contains(TOKEN));
    for change in keys.answers("shop").await {
        assert!(
            change.contains("307") && !change.contains(TOKEN),
            "{change}"
        );
    }
}
