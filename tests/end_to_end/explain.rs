//! Where rows are from: files, rows that were sent, fixed rejects, deletes and snapshots.

use landfall_domain::{CompletionEvent, JobId};
use landfall_local::Stack;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http::{Api, json_of};
use crate::support::{completions, land};

const GOODS: &str = r#"
name = "goods"
key = ["sku"]
operation = { column = "op", delete = ["delete"] }
fields = [{ name = "sku", type = "text" }, { name = "pieces", type = "integer" }]
"#;
const NDJSON: &str = "application/x-ndjson";

/// Returns the explanation of a key, which both stores have alike.
async fn explained(api: &Api, dataset: &str, key: &str, state: &str) -> Value {
    let mut answers = Vec::new();
    for store in ["sql", "mongodb"] {
        let path = format!("datasets/{dataset}/rows/{key}/origin?store={store}");
        let mut answer = api.json(&path).await;
        answer["store"].take();
        // Each store has the time at which it applied the delete.
        assert_eq!(answer["deleted_at"].take().is_null(), state != "deleted");
        assert_eq!(answer["state"], state, "{answer}");
        answers.push(answer);
    }
    assert_eq!(answers[0], answers[1]);
    answers.swap_remove(0)
}

/// Asserts that a row is from this record of an object, or was deleted by it, and returns its origin.
async fn assert_from(
    api: &Api,
    (key, state): (&str, &str),
    job: JobId,
    line: u64,
    record: &str,
) -> Value {
    let mut answer = explained(api, "goods", key, state).await;
    let origin = answer["origins"][0].take();
    let source = &origin["source"];
    assert_eq!(source["job"], json!(job), "{key}: {origin}");
    assert_eq!(
        (&source["line"], &source["missing"]),
        (&json!(line), &Value::Null),
        "{key}"
    );
    assert!(source["definition"].is_string(), "{key}: {origin}");
    let text = source["record"]["text"].as_str().unwrap();
    assert!(text.contains(record), "{key}: {text}");
    origin
}

/// Fixes the only reject of a job.
async fn fix(stack: &Stack, api: &Api, job: JobId) -> JobId {
    let path = format!("jobs/{job}/rejects");
    let rejects = api.get(&path).header(ACCEPT, NDJSON).send().await.unwrap();
    let mut reject = json_of(rejects, StatusCode::OK).await;
    reject["record"]["pieces"] = "3".into();
    let request = api
        .request(Method::POST, &path)
        .header(CONTENT_TYPE, NDJSON);
    let sent = request.body(reject.to_string()).send().await.unwrap();
    accepted(stack, &json_of(sent, StatusCode::ACCEPTED).await).await
}

/// Waits until an accepted job has closed.
async fn accepted(stack: &Stack, answer: &Value) -> JobId {
    let job = answer["job"].as_str().unwrap().parse().unwrap();
    completions(stack, &[job]).await;
    job
}

pub async fn every_row_is_explained(stack: &Stack, api: &Api) {
    stack.put_dataset("goods", GOODS).await.unwrap();
    let put = async |name: &str, file: &str| -> CompletionEvent {
        land(stack, &format!("goods/{name}"), file.as_bytes().to_vec()).await
    };
    let csv = put("1.csv", "sku,pieces,op\na,1,\nb,2,\nc,x,\nd,4,\n")
        .await
        .job;
    let ndjson = "{\"sku\":\"n\",\"pieces\":5}\n{\"sku\":\"b\",\"pieces\":7}\n";
    let ndjson = put("2.ndjson", ndjson).await.job;
    let deletes = put("3.csv", "sku,op\na,delete\n").await.job;
    let rows = json!([{ "sku": "p", "pieces": 9 }]);
    let sent = api
        .post("datasets/goods/rows", &rows, StatusCode::ACCEPTED)
        .await;
    let sent = accepted(stack, &sent).await;
    let fixed = fix(stack, api, csv).await;

    let present = |key| (key, "present");
    assert_from(api, present("d"), csv, 5, "d,4,").await;
    assert_from(api, present("n"), ndjson, 1, "\"sku\":\"n\"").await;
    // Updated by the second file.
    assert_from(api, present("b"), ndjson, 2, "\"pieces\":7").await;
    assert_from(api, present("p"), sent, 1, "\"pieces\":9").await;
    let delete = assert_from(api, ("a", "deleted"), deletes, 2, "a,delete").await;
    assert_eq!(delete["source"]["record"]["outcome"], "delete");
    let repaired = assert_from(api, present("c"), fixed, 1, "\"pieces\":\"3\"").await;
    assert_eq!(repaired["source"]["kind"], "fixed_rejects");
    let original = &repaired["original"];
    assert_eq!(
        (&original["job"], &original["line"]),
        (&json!(csv), &json!(4))
    );
    assert_eq!(original["record"]["outcome"], "reject");

    let unknown = explained(api, "goods", "z", "absent").await;
    assert_eq!(
        (&unknown["origins"], &unknown["pruned_by"]),
        (&json!([]), &Value::Null)
    );

    // The object is gone, with all its versions.
    let object = &stack.outputs().inbox_bucket;
    let delete = stack.s3().delete_object().bucket(object).key("goods/1.csv");
    let version = repaired["original"]["object"]["version"].as_str();
    delete
        .set_version_id(version.map(str::to_owned))
        .send()
        .await
        .unwrap();
    let gone = explained(api, "goods", "d", "present").await;
    let source = &gone["origins"][0]["source"];
    assert_eq!(
        (&source["missing"], &source["job"]),
        (&json!("object_gone"), &json!(csv))
    );
}

/// Asserts that a row is from this snapshot, or that it is named for a key which it lacks.
pub async fn assert_snapshot(api: &Api, snapshot: JobId, has: &str, lacks: &str) {
    let kept = explained(api, "stock", has, "present").await;
    assert_eq!(
        kept["origins"][0]["source"]["job"],
        json!(snapshot),
        "{kept}"
    );
    let pruned = explained(api, "stock", lacks, "absent").await;
    assert_eq!(
        pruned["pruned_by"]["source"]["job"],
        json!(snapshot),
        "{pruned}"
    );
}
