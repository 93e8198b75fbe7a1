//! Destinations: orders that files and single writes insert, change and delete, and services that follow them.

mod follow;
mod keys;
mod orders;
mod outage;
mod redo;
mod service;

use std::time::Duration;

use landfall_aws::Secret;
use landfall_local::{Silent, Sql, Stack, StackOptions, Stores};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// Longer than any step takes on a slow machine.
const WITHIN: Duration = Duration::from_mins(2);
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

/// Returns the definition of a destination with these limits.
fn definition(url: &str, limits: &str) -> String {
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
{limits}
"#
    )
}

/// Starts a stack with the dataset and the secret.
async fn start(stores: Stores, sql: Sql) -> Stack {
    let options = StackOptions {
        stores,
        sql,
        ..StackOptions::default()
    };
    let stack = Stack::start(options, &Silent).await.unwrap();
    let secret = Secret::new(stack.sdk_config(), &stack.outputs().sources_secret);
    let (_, version) = secret.read_version().await.unwrap();
    let text = json!({ "shop_token": TOKEN }).to_string();
    assert!(secret.replace(&version, &text).await.unwrap());
    stack.put_dataset("orders", DATASET).await.unwrap();
    stack
}

async fn wait_until(what: &str, within: Duration, is_reached: impl AsyncFn() -> bool) -> bool {
    let stop_at = Instant::now() + within;
    while !is_reached().await {
        if Instant::now() >= stop_at {
            println!("not reached: {what}");
            return false;
        }
        sleep(Duration::from_millis(100)).await;
    }
    true
}

async fn logs(stack: &Stack) -> String {
    stack.function_logs(500).await.unwrap()
}
