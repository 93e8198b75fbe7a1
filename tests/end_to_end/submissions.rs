//! Rows and files submitted over HTTP, and read back.

use landfall_domain::{CompletionEvent, JobId, JobState};
use landfall_local::{Sql, Stack};
use landfall_tests::Products;
use reqwest::header::{CACHE_CONTROL, CONTENT_LENGTH, ETAG, IF_NONE_MATCH, LOCATION};
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::{Value, json};

use crate::http::{Api, MAX_PAGE_ROWS, json_of, post_form};
use crate::support::{Rows, assert_products, completions, products_file, start};

const ROWS: &str = "datasets/products/rows";
const POSTED: usize = 50_000;
const STORES: [&str; 2] = ["sql", "mongodb"];
const RAISED: [(&str, &str); 1] = [("TokenRequestsPerSecond", "100000")];

/// Returns valid rows of a generated file, in the order of the file.
fn posted_rows() -> Vec<Value> {
    let file = products_file(POSTED as u64 + 1_000, 12);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&*file);
    let rows = reader.byte_records().filter_map(|record| {
        let cells: Option<Vec<String>> = record
            .unwrap()
            .iter()
            .map(|cell| String::from_utf8(cell.to_vec()).ok())
            .collect();
        let [sku, name, description] = <[String; 3]>::try_from(cells?).ok()?;
        let mut row = json!({"sku": sku, "name": name});
        // Every third row has a short one, so that the body fits into a request.
        if (sku.len() + name.len()).is_multiple_of(3) {
            row["description"] = description.chars().take(40).collect::<String>().into();
        }
        (!sku.is_empty()).then_some(row)
    });
    rows.take(POSTED).collect()
}

fn products_of<'a>(rows: impl IntoIterator<Item = &'a Value>) -> Rows {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    rows.into_iter()
        .map(|row| {
            let sku = text(&row["sku"]).unwrap();
            (
                sku,
                (text(&row["name"]).unwrap(), text(&row["description"])),
            )
        })
        .collect()
}

/// Waits for the completion of a submitted job, and asserts that the API reports it at once.
async fn completion(stack: &Stack, api: &Api, accepted: &Value) -> CompletionEvent {
    let job: JobId = accepted["job"].as_str().unwrap().parse().unwrap();
    let event = completions(stack, &[job]).await.remove(&job).unwrap();
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    let view = api.json(accepted["status_url"].as_str().unwrap()).await;
    assert_eq!(view["id"], json!(job));
    assert_eq!(view["state"], "succeeded");
    assert_eq!(view["counts"], json!(event.counts));
    assert_eq!(view["progress"], 1.0);
    assert!(!view["closed_at"].is_null());
    event
}

/// Requests the first page of each store, which is then cached, and returns the rows with their `ETag`.
async fn first_pages(api: &Api) -> Vec<(String, Vec<Value>)> {
    let mut pages = Vec::new();
    for store in STORES {
        let path = format!("{ROWS}?store={store}&limit=100");
        let answer = api.get(&path).send().await.unwrap();
        let etag = answer.headers()[ETAG].to_str().unwrap().to_owned();
        let mut page = json_of(answer, StatusCode::OK).await;
        pages.push((etag, page["rows"].as_array_mut().unwrap().split_off(0)));
    }
    pages
}

/// Posts rows one by one, and asserts that cached pages are not returned after a completion. A job of one row
/// closes before the cached pages expire by age.
async fn check_that_a_closed_job_invalidates_pages(stack: &Stack, api: &Api) -> Rows {
    let mut posted = Vec::new();
    for number in 0..5 {
        first_pages(api).await;
        // A key that sorts before all others.
        let row = json!({"sku": format!("!{number}"), "name": "Early"});
        let accepted = api.post(ROWS, &json!([row]), StatusCode::ACCEPTED).await;
        posted.push(row);
        completion(stack, api, &accepted).await;
        for (_, page) in first_pages(api).await {
            assert_eq!(products_of(&page), products_of(&posted));
        }
    }
    products_of(&posted)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_posted_rows_are_read_back_from_both_stores() {
    let stack = start(Sql::Postgres, &RAISED).await;
    let api = Api::new(&stack);
    let mut expected = check_that_a_closed_job_invalidates_pages(&stack, &api).await;

    let rows = posted_rows();
    assert_eq!(rows.len(), POSTED);
    let body = json!(rows);
    let limits = &api.json("session").await["limits"];
    let limit = limits["body_bytes"].as_u64().unwrap();
    let bytes = body.to_string().len() as u64;
    assert!((limit / 2..=limit).contains(&bytes), "{bytes}");
    let request = api.request(Method::POST, ROWS).json(&body);
    let answer = request.send().await.unwrap();
    let location = answer.headers()[LOCATION].to_str().unwrap();
    let location = answer.url().join(location).unwrap();
    let accepted = json_of(answer, StatusCode::ACCEPTED).await;
    let path = accepted["status_url"].as_str().unwrap();
    assert!(location.path().ends_with(path));

    let event = completion(&stack, &api, &accepted).await;
    let pages = first_pages(&api).await;
    assert_eq!(event.counts.rows, POSTED as u64);
    assert_eq!(event.counts.rejected, 0);
    let new = products_of(&rows);
    for (store, counts) in &event.counts.stores {
        assert_eq!(counts.inserted, new.len() as u64, "{store}");
        assert_eq!(counts.total(), POSTED as u64, "{store}");
    }
    expected.extend(new);
    let first_of_all: Rows = expected.clone().into_iter().take(100).collect();
    for (_, page) in pages {
        assert_eq!(products_of(&page), first_of_all);
    }

    for store in STORES {
        let query = format!("{ROWS}?store={store}&limit={MAX_PAGE_ROWS}");
        for (method, found) in [
            ("cursor", api.rows(&query).await),
            ("NDJSON", api.lines(&query).await),
        ] {
            assert_eq!(found.len(), expected.len(), "{store} by {method}");
            assert!(
                products_of(&found) == expected,
                "{store} by {method} differs"
            );
        }
    }
    check_that_unchanged_pages_are_not_sent_again(&api).await;
}

async fn check_that_unchanged_pages_are_not_sent_again(api: &Api) {
    for (store, (etag, _)) in STORES.iter().zip(first_pages(api).await) {
        let path = format!("{ROWS}?store={store}&limit=100");
        for fresh in ["", "no-cache"] {
            let request = api.get(&path).header(IF_NONE_MATCH, &etag);
            let answer = request.header(CACHE_CONTROL, fresh).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{store}");
            assert_eq!(answer.headers()[ETAG].to_str().unwrap(), etag);
            assert!(answer.bytes().await.unwrap().is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_uploaded_with_a_form_and_in_parts() {
    let stack = start(Sql::Sqlite, &RAISED).await;
    let api = Api::new(&stack);
    let file = products_file(2_000, 13);
    let expected = Products::from_file(&file);
    let upload = json!({"dataset": "products", "name": "products.csv", "size": file.len()});
    let target = api.post("uploads", &upload, StatusCode::CREATED).await;
    let key = target["key"].as_str().unwrap();
    let complete = json!({ "key": key });
    // The file has not been uploaded yet.
    api.post("uploads/complete", &complete, StatusCode::NOT_FOUND)
        .await;
    assert!(post_form(&target, file).await.is_success());
    let accepted = api
        .post("uploads/complete", &complete, StatusCode::ACCEPTED)
        .await;
    assert_eq!(accepted["object"]["key"], key);
    let event = completion(&stack, &api, &accepted).await;
    assert_eq!(event.counts.rows, expected.records);
    assert_products(&stack, &expected.rows).await;
    let again = api
        .post("uploads/complete", &complete, StatusCode::ACCEPTED)
        .await;
    assert_eq!(again["job"], accepted["job"]);

    upload_in_parts(&stack, &api).await;
}

/// Uploads a file just over the limit for a form. Most of it is a column that the dataset drops.
async fn upload_in_parts(stack: &Stack, api: &Api) {
    const COUNT: usize = 101;
    let padded = "name = \"padded\"\nkey = [\"id\"]\nunknown_columns = \"drop\"\n\
                  [[fields]]\nname = \"id\"\ntype = \"integer\"\n";
    stack.put_dataset("padded", padded).await.unwrap();
    let padding = "x".repeat(1_000_000);
    let mut file = "id,padding\n".to_owned();
    for id in 0..COUNT {
        file.extend([&id.to_string(), ",", &padding, "\n"]);
    }
    let upload = json!({"dataset": "padded", "name": "padded.csv", "size": file.len()});
    let target = api.post("uploads", &upload, StatusCode::CREATED).await;
    assert_eq!(target["kind"], "multipart", "{target}");
    let part_bytes = usize::try_from(target["part_bytes"].as_u64().unwrap()).unwrap();
    let mut parts = Vec::new();
    let urls = target["parts"].as_array().unwrap();
    assert_eq!(urls.len(), file.len().div_ceil(part_bytes));
    for (part, bytes) in urls.iter().zip(file.as_bytes().chunks(part_bytes)) {
        let url: Url = part["url"].as_str().unwrap().parse().unwrap();
        let request = Client::new().put(url).header(CONTENT_LENGTH, bytes.len());
        let answer = request.body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let etag = answer.headers()[ETAG].to_str().unwrap();
        parts.push(json!({"number": part["number"], "etag": etag}));
    }
    let mut complete = json!({"key": target["key"], "upload_id": target["upload_id"]});
    complete["parts"] = json!(parts);
    let accepted = api
        .post("uploads/complete", &complete, StatusCode::ACCEPTED)
        .await;
    let event = completion(stack, api, &accepted).await;
    assert_eq!(event.object.size, file.len() as u64);
    assert_eq!(
        (event.counts.rows, event.counts.rejected),
        (COUNT as u64, 0)
    );
    for store in STORES {
        let query = format!("datasets/padded/rows?store={store}&limit={MAX_PAGE_ROWS}");
        let ids: Vec<u64> = api
            .rows(&query)
            .await
            .iter()
            .map(|row| row["id"].as_u64().unwrap())
            .collect();
        assert!(ids.iter().copied().eq(0..COUNT as u64), "{store}: {ids:?}");
    }
}
