//! The deployed HTTP API against its `OpenAPI` document: every operation checks permissions, and every response
//! is declared.

use std::fs;
use std::path::Path;
use std::time::Duration;

use landfall_auth::{Access, Scope, Token};
use landfall_domain::{CompletionEvent, JobId, JobState};
use landfall_local::{Silent, Sql, Stack, python_environment, requirements};
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::http::{Api, json_of, post_form};
use crate::support::{add_token, invoke, land, start};

/// Six products, and the sku of one of them.
const PRODUCTS: &str =
    "sku,name,description\n0001,Lamp,\nb,Desk,old\nc,Lamp,new\nd,Rug,\ne,Bowl,\nf,Bowl,\n";
const SKU: &str = "0001";
/// Orders with so many invalid records that the job fails.
const BAD_ORDERS: &str = "{\"order_id\":1}\nnot json\n[]\n";

/// A source at an address where nothing listens. Its name is the one that the document has as an example.
const FEED: &str = "dataset = \"products\"\nurl = \"http://127.0.0.1:9/\"\nevery = \"1 hour\"\n";

/// A destination at such an address. Its name is the one that the document has as an example.
const SHOP: &str =
    "dataset = \"products\"\nurl = \"http://127.0.0.1:9/\"\nupdate = { path = \"/{{ sku }}\" }\n";

/// A webhook at such an address.
const HOOK: &str = "[[notify]]\nurl = \"http://127.0.0.1:9/\"\nsecret = \"{secret:hook}\"\n";

/// The id of a notification that does not exist.
const NOTIFICATION: &str = "6f2c0a1e-4a55-5d0b-9e1c-0d6f0a4b7c11";

/// Ingests the products and the bad orders, and adds a source, a destination and a webhook.
async fn land_both(stack: &Stack) -> (CompletionEvent, CompletionEvent) {
    stack.put_source("shop_orders", FEED).await.unwrap();
    stack.put_destination("shop", SHOP).await.unwrap();
    stack.put_config("notify.toml", HOOK).await.unwrap();
    // From here on, changes are recorded.
    assert!(invoke(stack, &stack.outputs().relay_function).await);
    let good = land(stack, "products/1.csv", PRODUCTS.as_bytes().to_vec()).await;
    assert_eq!(good.state, JobState::Succeeded, "{:?}", good.problem);
    let bad = land(stack, "orders/1.ndjson", BAD_ORDERS.as_bytes().to_vec()).await;
    assert_eq!((bad.state, bad.counts.rejected), (JobState::Failed, 3));
    (good, bad)
}

/// Returns the operations of the document, with paths for the products.
fn operations(document: &Value, job: &str, write: &str) -> Vec<(Method, String)> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let url = path
            .replace("{dataset}", "products")
            .replace("{key}", SKU)
            .replace("{total}", "products_by_name")
            .replace("{source}", "shop_orders")
            .replace(
                "{destination}/changes",
                "{destination}/changes?state=waiting",
            )
            .replace("{destination}", "shop")
            .replace("{task}", "1")
            .replace("{notification}", NOTIFICATION)
            .replace("{write}", write)
            .replace("{job}", job);
        assert!(
            !url.contains('{'),
            "{url} has a parameter unknown to this test"
        );
        // What is deleted cannot be read afterwards.
        let mut methods: Vec<&String> = methods.as_object().unwrap().keys().collect();
        methods.sort_by_key(|method| *method != "get");
        for method in methods {
            operations.push((method.to_uppercase().parse().unwrap(), url.clone()));
        }
    }
    operations
}

/// Writes a row, and returns the id of the write.
async fn write_row(api: &Api) -> String {
    let path = format!("datasets/products/rows/{SKU}");
    let put = api.request(Method::PUT, &path);
    let put = put.json(&json!({"name": "Lamp"})).send().await.unwrap();
    let write = json_of(put, StatusCode::ACCEPTED).await;
    write["write"].as_str().unwrap().to_owned()
}

/// Returns whether a route about one item is as if there was none, for a token that has the scope.
fn is_hidden(path: &str) -> bool {
    let is_for_operators = path.ends_with("/pause") || path.ends_with("/resume");
    let of_items = ["/jobs/", "/writes/", "/notifications/"];
    let of_definitions = ["/sources/", "/destinations/"];
    of_items.iter().any(|start| path.starts_with(start))
        || of_definitions.iter().any(|start| path.starts_with(start)) && !is_for_operators
}

async fn call(api: &Api, method: &Method, path: &str) -> (StatusCode, String, String) {
    let mut request = api.request(method.clone(), path);
    if *method == Method::PUT || *method == Method::PATCH {
        request = request.json(&json!({"name": "Lamp"}));
    }
    if *method == Method::POST {
        request = request.json(&match path {
            "/uploads" => json!({"dataset": "products", "name": "a.csv", "size": 1}),
            "/uploads/complete" => {
                json!({"key": "products/uploads/6a0e4bd2-9d1c-4d1b-9a7c-2f110f0b3a0a/a.csv"})
            }
            "/datasets" => {
                let field = "[[fields]]\nname = \"sku\"\ntype = \"text\"\n";
                json!({"definition": format!("name = \"products\"\nkey = [\"sku\"]\n{field}")})
            }
            "/previews" => {
                json!({"dataset": "products", "name": "a.csv", "size": 4, "start": "YQoxCg=="})
            }
            _ if path.starts_with("/destinations/") => json!({"all": true}),
            _ if path.ends_with("/redrive") => json!({}),
            _ => json!([{"sku": SKU, "name": "Lamp"}]),
        });
    }
    let answer = request.send().await.unwrap();
    let challenge = answer.headers().get(WWW_AUTHENTICATE).cloned();
    let challenge = challenge.map_or_else(String::new, |it| it.to_str().unwrap().to_owned());
    (answer.status(), challenge, answer.text().await.unwrap())
}

/// Asserts that an operation is refused with a problem of this status that reveals nothing else.
async fn assert_refused(api: &Api, method: &Method, path: &str, status: StatusCode) {
    let (found, challenge, text) = call(api, method, path).await;
    assert_eq!(found, status, "{method} {path}: {text}");
    if status == StatusCode::UNAUTHORIZED {
        assert!(challenge.starts_with("Bearer"), "{method} {path}");
    }
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["status"], status.as_u16(), "{text}");
    assert!(!text.contains("Lamp"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_requires_a_token_with_its_scope_and_dataset() {
    let stack = start(Sql::Sqlite, &[]).await;
    // Tokens are added before the function starts and reads them.
    let reader = add_token(&stack, "reader", &[Scope::Read], Access::All).await;
    let writer = add_token(&stack, "writer", &[Scope::Write], Access::All).await;
    let orders = Access::Only(["orders".to_owned()].into());
    let outsider = add_token(&stack, "outsider", &[Scope::Read, Scope::Write], orders).await;
    let unknown = Token::random();
    let [reader, writer, outsider, unknown] = [&reader, &writer, &outsider, &unknown]
        .map(|token| Api::with_token(&stack, token.reveal()));
    let none = Api::with_token(&stack, "");
    let all = Api::new(&stack);
    let (good, _) = land_both(&stack).await;

    // These paths are public, because they contain no data.
    for path in ["/", "/page/main.js"] {
        let answer = none.get(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    let document = none.json("/openapi.json").await;
    let url: Url = stack.outputs().api_url.parse().unwrap();
    let server = document["servers"][0]["url"].as_str().unwrap();
    let beside = url.join("openapi.json").unwrap().join(server);
    assert_eq!(beside, Ok(url), "the server address in the document");
    let write = write_row(&all).await;
    let operations = operations(&document, &good.job.to_string(), &write);
    assert!(operations.len() >= 12, "{operations:?}");
    for (method, path) in &operations {
        for api in [&none, &unknown] {
            assert_refused(api, method, path, StatusCode::UNAUTHORIZED).await;
        }
        let spans_datasets = *method == Method::GET
            && matches!(
                &**path,
                "/session"
                    | "/datasets"
                    | "/jobs"
                    | "/sources"
                    | "/destinations"
                    | "/notifications"
            );
        if path != "/session" {
            let other = if *method == Method::GET {
                &writer
            } else {
                &reader
            };
            assert_refused(other, method, path, StatusCode::FORBIDDEN).await;
        }
        if spans_datasets {
            let (status, _, text) = call(&outsider, method, path).await;
            assert_eq!(status, StatusCode::OK, "{method} {path}: {text}");
            assert!(!text.contains("products"), "{text}");
        } else if is_hidden(path) {
            assert_refused(&outsider, method, path, StatusCode::NOT_FOUND).await;
        } else {
            assert_refused(&outsider, method, path, StatusCode::FORBIDDEN).await;
        }
        // The operation exists for a token with all permissions.
        let (status, _, text) = call(&all, method, path).await;
        if path == "/uploads/complete" || path.starts_with("/notifications/") {
            assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
        } else if path.ends_with("/prune")
            || (path.ends_with("/redrive") && path.starts_with("/jobs/"))
            || (*method == Method::POST && path == "/datasets")
            || (*method == Method::DELETE && path.starts_with("/jobs/"))
            // Products are not merged by column.
            || *method == Method::PATCH
        {
            assert_eq!(status, StatusCode::CONFLICT, "{text}");
        } else if *method == Method::POST && path.ends_with("/rejects") {
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{text}");
        } else {
            assert!(status.is_success(), "{method} {path}: {status} {text}");
        }
    }
    assert_refused(
        &outsider,
        &Method::GET,
        "/jobs?dataset=products",
        StatusCode::FORBIDDEN,
    )
    .await;
}

/// Returns the id of a notification, once there is one.
async fn notification(api: &Api) -> String {
    let waits = async {
        loop {
            let listed = api.json("notifications?state=waiting").await;
            if let Some(id) = listed["notifications"][0]["id"].as_str() {
                return id.to_owned();
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(Duration::from_mins(1), waits).await.unwrap()
}

/// Returns the configuration of schemathesis. Many of the generated requests refer to existing items.
fn configuration(
    url: &str,
    seed: u32,
    jobs: [JobId; 2],
    [write, notification, upload]: [&str; 3],
) -> String {
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/end_to_end/ndjson.py");
    format!(
        r#"
# By default, schemathesis appends paths to the host alone.
base-url = "{url}"
seed = {seed}
workers = 2
request-timeout = 30
hooks = "{hooks}"
continue-on-failure = true
warnings = {{ fail-on = ["missing_auth", "rate_limited"] }}
headers = {{ Authorization = "Bearer ${{LANDFALL_TOKEN}}" }}

[generation]
max-examples = 25
database = "none"

[checks]
enabled = false
not_a_server_error.enabled = true
status_code_conformance.enabled = true
content_type_conformance.enabled = true
response_headers_conformance.enabled = true
response_schema_conformance.enabled = true
unsupported_method.enabled = true
allow_header_conformance.enabled = true
ignored_auth.enabled = true

[dictionaries]
dataset = {{ values = ["products", "orders"] }}
key = {{ values = ["{SKU}", "1"] }}
total = {{ values = ["products_by_name"] }}
job = {{ values = ["{}", "{}"] }}
source = {{ values = ["shop_orders"] }}
destination = {{ values = ["shop"] }}
task = {{ values = [1] }}
notification = {{ values = ["{notification}"] }}
write = {{ values = ["{write}"] }}
upload = {{ values = ["{upload}"] }}
sort = {{ values = ["name", "-name", "sku", "order_id"] }}
# While a dataset is paused, a write that is waited for takes 10 seconds.
wait = {{ values = ["false"] }}

[parameters]
"path.dataset" = {{ dictionary = "dataset", probability = 0.8 }}
"path.key" = {{ dictionary = "key", probability = 0.7 }}
"path.total" = {{ dictionary = "total", probability = 0.8 }}
"path.job" = {{ dictionary = "job", probability = 0.95 }}
"path.source" = {{ dictionary = "source", probability = 0.8 }}
"path.destination" = {{ dictionary = "destination", probability = 0.95 }}
"path.task" = {{ dictionary = "task", probability = 0.9 }}
"path.notification" = {{ dictionary = "notification", probability = 0.9 }}
"path.write" = {{ dictionary = "write", probability = 0.9 }}
"query.sort" = {{ dictionary = "sort", probability = 0.5 }}
"query.wait" = {{ dictionary = "wait", probability = 0.9 }}
"query.dataset" = {{ dictionary = "dataset", probability = 0.5 }}
"body.dataset" = {{ dictionary = "dataset", probability = 0.8 }}
"body.key" = {{ dictionary = "upload", probability = 0.8 }}
"#,
        jobs[0], jobs[1]
    )
}

async fn schemathesis(stack: &Stack, configuration: &Path) {
    let bin = python_environment(requirements::TESTS, &Silent)
        .await
        .unwrap();
    let url = format!("{}openapi.json", stack.outputs().api_url);
    let run = Command::new(bin.join("schemathesis"))
        .args(["--no-color", "--config-file"])
        .arg(configuration)
        .args(["run", &url])
        // Not an argument, because every user of the machine can see arguments.
        .env("LANDFALL_TOKEN", stack.token())
        .current_dir(stack.scratch().unwrap())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let report = String::from_utf8_lossy(&run.stdout);
    println!("{report}");
    // Without existing data, requests would test little. With some seeds, the few calls that cancel or redrive a job
    // all name one that does not exist; a wrong address would be missing data for every operation.
    let missing = report.split("Missing test data: ").nth(1);
    let missing = missing.and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    assert!(missing.unwrap_or(0) <= 2, "{missing:?} operations");
    assert!(
        run.status.success(),
        "{}: {}\n{}",
        run.status,
        String::from_utf8_lossy(&run.stderr),
        stack.function_logs(40).await.unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_response_is_declared_in_the_document() {
    let parameters = [("TokenRequestsPerSecond", "100000")];
    let stack = start(Sql::Postgres, &parameters).await;
    let (good, bad) = land_both(&stack).await;
    // An uploaded file that has not been reported as complete.
    let api = Api::new(&stack);
    let upload = json!({"dataset": "products", "name": "1.csv", "size": PRODUCTS.len()});
    let target = api.post("uploads", &upload, StatusCode::CREATED).await;
    assert!(post_form(&target, PRODUCTS.into()).await.is_success());

    let seed = std::env::var("LANDFALL_SEED").ok();
    let seed = seed.map_or_else(rand::random::<u32>, |seed| seed.parse().unwrap());
    println!("repeat with LANDFALL_SEED={seed}");
    let file = stack.scratch().unwrap().join("schemathesis.toml");
    let key = target["key"].as_str().unwrap();
    let write = write_row(&api).await;
    let sync = api.request(Method::POST, "destinations/shop/sync").send();
    json_of(sync.await.unwrap(), StatusCode::ACCEPTED).await;
    let notification = notification(&api).await;
    let url = &stack.outputs().api_url;
    let ids = [write.as_str(), &notification, key];
    let text = configuration(url, seed, [good.job, bad.job], ids);
    fs::write(&file, text).unwrap();
    schemathesis(&stack, &file).await;
}
