//! Snapshots that would delete most of a table.

use landfall_domain::{CompletionEvent, JobState, ProblemCode, PruneState, StoreKind, WarningCode};
use landfall_local::{Sql, Stack};
use reqwest::StatusCode;
use serde_json::Value;

use crate::explain;
use crate::http::Api;
use crate::support::{documents, land, start};
use crate::writes;

const STOCK: &str = r#"
name = "stock"
key = ["sku"]
mode = "snapshot"
fields = [{ name = "sku", type = "text" }, { name = "pieces", type = "integer" }]
"#;

/// Returns a file of so many products, and a blank row.
fn stock(rows: u32) -> Vec<u8> {
    let lines = (0..rows).map(|row| format!("s{row},{row}\n"));
    format!("sku,pieces\n,\n{}", lines.collect::<String>()).into_bytes()
}

/// Returns the number of rows in MongoDB and in SQL.
async fn rows(stack: &Stack) -> (usize, i64) {
    let path = stack.sql_url().strip_prefix("sqlite://").unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    let count = connection.query_row("SELECT count(*) FROM stock", [], |row| row.get(0));
    let documents = documents(stack.mongodb_uri(), "stock").await;
    (documents.len(), count.unwrap())
}

async fn next_event(stack: &Stack, id: uuid::Uuid) -> CompletionEvent {
    loop {
        let event = stack.next_event(std::time::Duration::from_mins(5)).await;
        let event = event.unwrap().expect("an event arrives");
        if event.detail.id == id {
            return event.detail;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_lacks_most_rows_deletes_none_until_that_is_confirmed() {
    let stack = start(Sql::Sqlite, &[]).await;
    stack.put_dataset("stock", STOCK).await.unwrap();
    let api = Api::new(&stack);
    let full = land(&stack, "stock/full.csv", stock(500)).await;
    assert_eq!((full.state, full.problem), (JobState::Succeeded, None));
    assert_eq!(rows(&stack).await, (500, 500));
    let refused = api
        .post(
            &format!("jobs/{}/prune", full.job),
            &Value::Null,
            StatusCode::CONFLICT,
        )
        .await;
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("nothing to confirm")
    );

    let cut = land(&stack, "stock/cut.csv", stock(10)).await;
    let problem = cut.problem.unwrap();
    assert_eq!(
        (cut.state, problem.code),
        (JobState::Succeeded, ProblemCode::PruneHeld)
    );
    assert!(
        problem.message.contains("490 of the 500 rows"),
        "{}",
        problem.message
    );
    assert_eq!(cut.prune, Some(PruneState::Held));
    // Blank rows are no rejects, after which no prune could be confirmed.
    assert_eq!(cut.warnings[0].code, WarningCode::BlankRows);
    assert_eq!(rows(&stack).await, (500, 500));

    let prune = format!("jobs/{}/prune", cut.job);
    let confirmed = api.post(&prune, &Value::Null, StatusCode::ACCEPTED).await;
    assert_eq!(confirmed["prune"], "confirmed");
    let event = next_event(&stack, CompletionEvent::id_after_prune(cut.job, 1)).await;
    assert_eq!((event.prune, event.problem), (Some(PruneState::Done), None));
    for store in [StoreKind::Mongodb, StoreKind::Sqlite] {
        assert_eq!(event.counts.stores[&store].pruned, 490, "{store}");
    }
    assert_eq!(rows(&stack).await, (10, 10));
    let again = api.post(&prune, &Value::Null, StatusCode::ACCEPTED).await;
    assert_eq!(again["prune"], "done");
    let job = api.json(&format!("jobs/{}", cut.job)).await;
    assert_eq!(
        (&job["problem"], &job["prune"]),
        (&Value::Null, &"done".into())
    );

    // Small changes need no confirmation.
    let small = land(&stack, "stock/small.csv", stock(9)).await;
    assert_eq!((small.problem, small.prune), (None, None));
    assert_eq!(rows(&stack).await, (9, 9));

    explain::assert_snapshot(&api, small.job, "s3", "s450").await;
    explain::every_row_is_explained(&stack, &api).await;
    writes::rows_are_written_one_by_one(&stack, &api).await;
}
