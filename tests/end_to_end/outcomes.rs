//! Invalid objects, each of which closes its job with a clear outcome, of which a webhook is notified.

use landfall_domain::{JobId, JobState, ProblemCode, RejectCode, WarningCode};
use landfall_local::Sql;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use crate::http::{Api, json_of};
use crate::notifications::Webhook;
use crate::support::{completions, documents, land, rejects, start};

#[tokio::test(flavor = "multi_thread")]
async fn every_invalid_object_closes_its_job_with_a_reason() {
    use ProblemCode as P;

    let stack = start(Sql::Sqlite, &[]).await;
    let webhook = Webhook::start(&stack).await;
    let mut failed = Vec::new();
    stack
        .put_dataset(
            "broken",
            "name = \"broken\"\nkey = [\"id\"]\n\n[[fields]]\nname = \"id\"\ntype = \"txt\"\n",
        )
        .await
        .unwrap();
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01";
    let orders = |count: usize, rest: &str| {
        let order =
            r#"{"order_id":1,"customer":1,"items":2,"total":3,"placed_at":"2026-11-20T08:30:00Z"}"#;
        format!("[{}{rest}", vec![order; count].join(",")).into_bytes()
    };
    let cases: Vec<(&str, Vec<u8>, JobState, P, &str)> = vec![
        (
            "nobody/a.csv",
            b"a\n1\n".to_vec(),
            JobState::Failed,
            P::UnknownDataset,
            "nobody",
        ),
        (
            "a.csv",
            b"a\n1\n".to_vec(),
            JobState::Failed,
            P::UnknownDataset,
            "names no dataset",
        ),
        (
            "../etc/a.csv",
            b"a\n1\n".to_vec(),
            JobState::Failed,
            P::UnknownDataset,
            "..",
        ),
        (
            "broken/a.csv",
            b"id\n1\n".to_vec(),
            JobState::Failed,
            P::BadDataset,
            "broken.toml:6",
        ),
        (
            "products/empty.csv",
            Vec::new(),
            JobState::Succeeded,
            P::EmptyObject,
            "is empty",
        ),
        (
            "products/header.csv",
            b"sku,name,description\n".to_vec(),
            JobState::Succeeded,
            P::NoRecords,
            "no record",
        ),
        (
            "products/header alone.csv",
            b"sku,name,description".to_vec(),
            JobState::Succeeded,
            P::NoRecords,
            "no record",
        ),
        (
            "products/picture.csv",
            png.to_vec(),
            JobState::Failed,
            P::FormatMismatch,
            "PNG",
        ),
        (
            "products/json.csv",
            b"[{\"sku\":1}]".to_vec(),
            JobState::Failed,
            P::FormatMismatch,
            "JSON",
        ),
        (
            "products/columns.csv",
            b"sku,title\n1,x\n".to_vec(),
            JobState::Failed,
            P::HeaderMismatch,
            "name",
        ),
        (
            "products/twice.csv",
            b"sku,name,sku\n1,x,2\n".to_vec(),
            JobState::Failed,
            P::HeaderMismatch,
            "sku",
        ),
        (
            "orders/cut.json",
            orders(3, ""),
            JobState::Failed,
            P::Malformed,
            "byte",
        ),
        (
            "orders/more.json",
            orders(2, "] []"),
            JobState::Failed,
            P::Malformed,
            "byte",
        ),
    ];
    for (key, body, state, code, message) in cases {
        let event = land(&stack, key, body).await;
        let problem = event.problem.clone().unwrap();
        assert_eq!(
            (event.state, problem.code),
            (state, code),
            "{key}: {}",
            problem.message
        );
        assert!(
            problem.message.contains(message),
            "{key}: {}",
            problem.message
        );
        if event.state == JobState::Failed {
            failed.push(event);
        }
    }
    webhook.check(&stack, &failed).await;
    // Records before the malformed one are ingested.
    assert_eq!(documents(stack.mongodb_uri(), "orders").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fixed_rejects_do_not_overwrite_newer_rows() {
    let stack = start(Sql::Sqlite, &[]).await;
    let long = "x".repeat(1_100_000);
    let file = format!(
        "sku,name,description\n1,Chair,good\n,Lamp,no sku\n2,Desk\n3,Rug,\"{long}\"\n4,Vase,\"never closed\n5,x,y\n"
    );
    let event = land(&stack, "products/odd.csv", file.into_bytes()).await;
    // After a quote that is never closed, the records of a file are unknown, so the job fails.
    assert_eq!(event.state, JobState::Failed);
    assert_eq!(event.problem.as_ref().unwrap().code, ProblemCode::Malformed);
    assert_eq!((event.counts.rows, event.counts.rejected), (5, 4));
    let mut rejects = rejects(&stack, &event).await;
    rejects.sort_by_key(|reject| reject.line);
    let found: Vec<_> = rejects
        .iter()
        .map(|reject| (reject.line, reject.code))
        .collect();
    assert_eq!(
        found,
        [
            (3, RejectCode::Required),
            (4, RejectCode::ColumnCount),
            (5, RejectCode::RecordLength),
            (6, RejectCode::UnclosedQuote),
        ]
    );
    assert_eq!(rejects[0].column.as_deref(), Some("sku"));
    assert!(rejects[2].raw_bytes > 1_100_000 && rejects[2].raw.len() <= 64 * 1024);

    // A newer row, which the fixed one must not overwrite.
    land(&stack, "products/new.csv", b"sku,name\n7,New\n".to_vec()).await;
    let api = Api::new(&stack);
    let path = format!("/jobs/{}/rejects", event.job);
    let request = |method| api.request(method, &path);
    let ndjson = "application/x-ndjson";
    let downloaded = request(Method::GET).header(ACCEPT, ndjson).send().await;
    let downloaded = downloaded.unwrap().text().await.unwrap();
    let refused = land(&stack, "products/r.ndjson", downloaded.clone().into_bytes()).await;
    assert!(refused.problem.unwrap().message.contains("POST /jobs/"));

    let fix = async |new_name: &str| {
        let lines = downloaded.lines().take(2).zip(["6", "7"]);
        let fixed = lines.map(|(line, sku)| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["record"] = serde_json::json!({"sku": sku, "name": new_name});
            line.to_string()
        });
        let body = fixed.collect::<Vec<_>>().join("\n");
        let sent = request(Method::POST)
            .header(CONTENT_TYPE, ndjson)
            .body(body);
        let accepted = json_of(sent.send().await.unwrap(), StatusCode::ACCEPTED).await;
        let job: JobId = accepted["job"].as_str().unwrap().parse().unwrap();
        let fixed = completions(&stack, &[job]).await.remove(&job).unwrap();
        assert_eq!(fixed.state, JobState::Succeeded, "{:?}", fixed.problem);
        assert_eq!(fixed.rejects_of, Some(event.job));
        let codes = fixed.warnings.iter().map(|warning| warning.code);
        let warns = codes
            .collect::<Vec<_>>()
            .contains(&WarningCode::UnchangedRejects);
        (fixed.counts.stores, warns)
    };
    let (stores, warns) = fix("Fixed").await;
    assert!(!warns);
    for counts in stores.values() {
        assert_eq!((counts.inserted, counts.stale), (1, 1));
    }
    // A line whose record is a row already has no effect.
    let (stores, warns) = fix("Again").await;
    assert!(warns);
    for counts in stores.values() {
        assert_eq!((counts.unchanged, counts.stale), (1, 1));
    }
    let products = documents(stack.mongodb_uri(), "products").await;
    let name = |sku: &str| {
        let mut products = products.iter();
        let product = products.find(|product| product.get_str("_id").is_ok_and(|id| id == sku));
        product.map(|product| product.get_str("name").unwrap().to_owned())
    };
    assert_eq!(name("6").as_deref(), Some("Fixed"));
    assert_eq!(name("7").as_deref(), Some("New"));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_rejects_fail_a_job_but_valid_rows_stay() {
    let stack = start(Sql::Sqlite, &[]).await;
    let good =
        r#"{"order_id":1,"customer":1,"items":2,"total":3,"placed_at":"2026-11-20T08:30:00Z"}"#;
    let event = land(
        &stack,
        "orders/bad.ndjson",
        format!("{good}\nnot json\n").into_bytes(),
    )
    .await;
    assert_eq!(event.state, JobState::Failed);
    assert_eq!(event.problem.unwrap().code, ProblemCode::TooManyRejects);
    assert_eq!(documents(stack.mongodb_uri(), "orders").await.len(), 1);
}
