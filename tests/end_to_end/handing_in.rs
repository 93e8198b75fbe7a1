//! Rows and files handed in over HTTP, and read back.

use landfall_domain::{CompletionEvent, JobId, JobState};
use landfall_local::{Sql, Stack};
use landfall_tests::Products;
use reqwest::header::{CACHE_CONTROL, CONTENT_LENGTH, ETAG, IF_NONE_MATCH, LOCATION};
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::{Value, json};

use crate::http::{Api, MOST_ROWS, json_of, post_form};
use crate::support::{Rows, assert_products, completions, products_file, start};

const ROWS: &str = "datasets/products/rows";
const POSTED: usize = 50_000;
const STORES: [&str; 2] = ["sql", "mongodb"];
const RAISED: [(&str, &str); 1] = [("TokenRequestsPerSecond", "100000")];

/// Rows of the seeding command's that are good, in the order of the file.
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
        // Every third has one, and a short one, so that the body is no larger than a function takes.
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

/// Waits for the completion of a job that was answered, and asserts that the API tells it at once.
async fn completion(stack: &Stack, api: &Api, taken: &Value) -> CompletionEvent {
    let job: JobId = taken["job"].as_str().unwrap().parse().unwrap();
    let event = completions(stack, &[job]).await.remove(&job).unwrap();
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    let told = api.json(taken["status_url"].as_str().unwrap()).await;
    assert_eq!(told["id"], json!(job));
    assert_eq!(told["state"], "succeeded");
    assert_eq!(told["counts"], json!(event.counts));
    assert_eq!(told["progress"], 1.0);
    assert!(!told["closed_at"].is_null());
    event
}

/// Asks for the first page of each store, which is kept then, and gives its `ETag`s.
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

/// Posts rows one by one. Right after each completion, the pages that were kept before are not told any more; a job
/// of one row is over before they would have grown too old anyway.
async fn a_closed_job_is_seen_at_once(stack: &Stack, api: &Api) -> Rows {
    let mut posted = Vec::new();
    for number in 0..5 {
        first_pages(api).await;
        // Before all others, by its key.
        let row = json!({"sku": format!("!{number}"), "name": "Early"});
        let taken = api.post(ROWS, &json!([row]), StatusCode::ACCEPTED).await;
        posted.push(row);
        completion(stack, api, &taken).await;
        for (_, page) in first_pages(api).await {
            assert_eq!(products_of(&page), products_of(&posted));
        }
    }
    products_of(&posted)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_posted_rows_are_read_back_from_both_stores() {
    let stack = start(Sql::Postgres, &RAISED).await;
    let api = Api::of(&stack);
    let mut expected = a_closed_job_is_seen_at_once(&stack, &api).await;

    let rows = posted_rows();
    assert_eq!(rows.len(), POSTED);
    let body = json!(rows);
    let limits = &api.json("session").await["limits"];
    let most = limits["body_bytes"].as_u64().unwrap();
    let bytes = body.to_string().len() as u64;
    assert!((most / 2..=most).contains(&bytes), "{bytes}");
    let request = api.request(Method::POST, ROWS).json(&body);
    let answer = request.send().await.unwrap();
    let location = answer.headers()[LOCATION].to_str().unwrap();
    let location = answer.url().join(location).unwrap();
    let taken = json_of(answer, StatusCode::ACCEPTED).await;
    let path = taken["status_url"].as_str().unwrap();
    assert!(location.path().ends_with(path));

    let event = completion(&stack, &api, &taken).await;
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
        let question = format!("{ROWS}?store={store}&limit={MOST_ROWS}");
        for (way, found) in [
            ("cursor", api.rows(&question).await),
            ("NDJSON", api.lines(&question).await),
        ] {
            assert_eq!(found.len(), expected.len(), "{store} by {way}");
            assert!(products_of(&found) == expected, "{store} by {way} differs");
        }
    }
    what_is_known_is_not_sent_again(&api).await;
}

async fn what_is_known_is_not_sent_again(api: &Api) {
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
async fn files_are_uploaded_by_a_form_and_in_parts() {
    let stack = start(Sql::Sqlite, &RAISED).await;
    let api = Api::of(&stack);
    let file = products_file(2_000, 13);
    let expected = Products::of(&file);
    let asked = json!({"dataset": "products", "name": "products.csv", "size": file.len()});
    let place = api.post("uploads", &asked, StatusCode::CREATED).await;
    let key = place["key"].as_str().unwrap();
    let complete = json!({ "key": key });
    // Nothing is there yet.
    api.post("uploads/complete", &complete, StatusCode::NOT_FOUND)
        .await;
    assert!(post_form(&place, file).await.is_success());
    let taken = api
        .post("uploads/complete", &complete, StatusCode::ACCEPTED)
        .await;
    assert_eq!(taken["object"]["key"], key);
    let event = completion(&stack, &api, &taken).await;
    assert_eq!(event.counts.rows, expected.records);
    assert_products(&stack, &expected.rows).await;
    let again = api
        .post("uploads/complete", &complete, StatusCode::ACCEPTED)
        .await;
    assert_eq!(again["job"], taken["job"]);

    in_parts(&stack, &api).await;
}

/// A file just over what goes in one piece, nearly all of it a column that the dataset drops.
async fn in_parts(stack: &Stack, api: &Api) {
    const COUNT: usize = 101;
    let padded = "name = \"padded\"\nkey = [\"id\"]\nunknown_columns = \"drop\"\n\
                  [[fields]]\nname = \"id\"\ntype = \"integer\"\n";
    stack.put_dataset("padded", padded).await.unwrap();
    let padding = "x".repeat(1_000_000);
    let mut file = "id,padding\n".to_owned();
    for id in 0..COUNT {
        file.extend([&id.to_string(), ",", &padding, "\n"]);
    }
    let asked = json!({"dataset": "padded", "name": "padded.csv", "size": file.len()});
    let place = api.post("uploads", &asked, StatusCode::CREATED).await;
    assert_eq!(place["kind"], "multipart", "{place}");
    let part_bytes = usize::try_from(place["part_bytes"].as_u64().unwrap()).unwrap();
    let mut parts = Vec::new();
    let places = place["parts"].as_array().unwrap();
    assert_eq!(places.len(), file.len().div_ceil(part_bytes));
    for (place, bytes) in places.iter().zip(file.as_bytes().chunks(part_bytes)) {
        let url: Url = place["url"].as_str().unwrap().parse().unwrap();
        let request = Client::new().put(url).header(CONTENT_LENGTH, bytes.len());
        let answer = request.body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let etag = answer.headers()[ETAG].to_str().unwrap();
        parts.push(json!({"number": place["number"], "etag": etag}));
    }
    let mut complete = json!({"key": place["key"], "upload_id": place["upload_id"]});
    complete["parts"] = json!(parts);
    let taken = api
        .post("uploads/complete", &complete, StatusCode::ACCEPTED)
        .await;
    let event = completion(stack, api, &taken).await;
    assert_eq!(event.object.size, file.len() as u64);
    assert_eq!(
        (event.counts.rows, event.counts.rejected),
        (COUNT as u64, 0)
    );
    for store in STORES {
        let question = format!("datasets/padded/rows?store={store}&limit={MOST_ROWS}");
        let ids: Vec<u64> = api
            .rows(&question)
            .await
            .iter()
            .map(|row| row["id"].as_u64().unwrap())
            .collect();
        assert!(ids.iter().copied().eq(0..COUNT as u64), "{store}: {ids:?}");
    }
}
