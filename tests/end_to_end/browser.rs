//! Tests the page in a browser: runs `tests/browser` on a separate stack.

use std::fs::write;
use std::path::Path;
use std::process::Command;

use landfall_local::{Silent, Sql, python_environment, requirements};
use landfall_tests::Products;
use serde_json::json;

use crate::support::{products_file, start};

const ROWS: u64 = 100_000;
/// Directory in the workspace for screenshots of the documentation. If unset, none are taken.
const SCREENSHOTS: &str = "LANDFALL_SCREENSHOTS";

#[tokio::test(flavor = "multi_thread")]
async fn files_are_loaded_and_rows_are_shown_in_a_browser() {
    let python = python_environment(requirements::TESTS, &Silent);
    let python = python.await.unwrap().join("python");
    // Small chunks make progress visible.
    let stack = start(Sql::Sqlite, &[("ChunkBytes", "65536")]).await;

    stack.put_dataset("torn", "name = ").await.unwrap();
    stack.put_source("torn_feed", "url = ").await.unwrap();
    // Nothing listens there.
    let feed = "dataset = \"products\"\nurl = \"http://127.0.0.1:9/feed\"\nevery = \"1 hour\"\n";
    stack.put_source("feed", feed).await.unwrap();
    stack.put_destination("torn_shop", "url = ").await.unwrap();
    let shop = "dataset = \"orders\"\nurl = \"http://127.0.0.1:9\"\nupdate = { path = \"/{{ order_id }}\" }\n";
    stack.put_destination("shop", shop).await.unwrap();

    let directory = tempfile::tempdir().unwrap();
    let [file, expected] =
        ["products.csv", "expected.json"].map(|name| directory.path().join(name));
    let products = products_file(ROWS, 7);
    write(&file, &products).unwrap();
    let products = Products::from_file(&products);
    let reference = json!({
        "records": products.records,
        "rejected": products.rejected,
        "rows": products.rows,
    });
    write(&expected, reference.to_string()).unwrap();

    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pytest = Command::new(python);
    pytest
        .args("-m pytest -p no:cacheprovider --exitfirst -v".split(' '))
        .arg(tests.join("browser"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LANDFALL_PAGE", &stack.outputs().api_url)
        .env("LANDFALL_TOKEN", stack.token())
        .env("LANDFALL_FILE", file)
        .env("LANDFALL_EXPECTED", expected);
    if let Some(screenshots) = std::env::var_os(SCREENSHOTS) {
        pytest.env(SCREENSHOTS, tests.join("..").join(screenshots));
    }
    let passed = pytest.status().unwrap().success();
    assert!(passed, "{}", stack.function_logs(40).await.unwrap());
}
