//! Rows and totals: their form, their pages, and how old they can be.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde_json::json;

use crate::fakes::{Api, PRODUCTS};

const ROWS: &str = "/datasets/products/rows";

fn three() -> Api {
    let api = Api::new();
    api.rows
        .put("a", "=1+1", "0.10", Some(r#"{"colour":"red"}"#));
    api.rows.put("b", "x", "-2", None);
    api.rows.put("c/d", "x", "3", None);
    api
}

#[tokio::test]
async fn rows_are_objects_with_exact_decimals() {
    let response = three().get(ROWS).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(
        response.json(),
        json!({ "rows": [
            { "sku": "a", "name": "=1+1", "price": "0.10", "_extra": { "colour": "red" } },
            { "sku": "b", "name": "x", "price": "-2" },
            { "sku": "c/d", "name": "x", "price": "3" },
        ], "next": null })
    );
}

#[tokio::test]
async fn csv_and_ndjson_are_returned_on_request() {
    let api = three();
    let csv = api.get_with(ROWS, &[("accept", "text/csv")]).await;
    assert!(csv.header("content-type").starts_with("text/csv"));
    assert_eq!(
        csv.text(),
        "sku,name,price,_extra,_landfall\r\na,'=1+1,0.10,\"{\"\"colour\"\":\"\"red\"\"}\",1\r\nb,x,-2,,1\r\nc/d,x,3,,1\r\n"
    );
    let accept = [("accept", "application/x-ndjson")];
    let ndjson = api.get_with(&format!("{ROWS}?limit=2"), &accept).await;
    assert_eq!(ndjson.text().lines().count(), 2);
    assert!(ndjson.header("link").ends_with("; rel=\"next\""));
    let none = api.get_with(ROWS, &[("accept", "image/png")]).await;
    assert_eq!(none.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn a_cursor_and_its_link_lead_through_all_rows_once() {
    let api = three();
    let mut path = format!("{ROWS}?limit=1");
    let mut seen = Vec::new();
    loop {
        let response = api.get(&path).await;
        let page = response.json();
        seen.push(page["rows"][0]["sku"].as_str().unwrap().to_owned());
        let Some(next) = page["next"].as_str() else {
            assert_eq!(response.header("link"), "");
            break;
        };
        let link = response.header("link");
        let query = link.strip_prefix('<').unwrap().split('>').next().unwrap();
        // Relative, because a gateway may add a prefix to the path.
        assert_eq!(query, format!("?cursor={next}&limit=1"));
        path = format!("{ROWS}{query}");
    }
    assert_eq!(seen, ["a", "b", "c/d"]);
    let second = api.get(&format!("{ROWS}?limit=1&page=2")).await.json();
    assert_eq!(second["rows"][0]["sku"], "b");
}

#[tokio::test]
async fn conditions_must_fit_the_definition() {
    let api = three();
    let found = api
        .get(&format!("{ROWS}?where=name:eq:x&where=price:eq:3"))
        .await;
    assert_eq!(found.json()["rows"].as_array().unwrap().len(), 1);
    for wrong in [
        "where=colour:eq:red",
        "where=name",
        "where=price:eq:cheap",
        "sort=price",
        "limit=0",
        "limit=1001",
        "limit=x",
        "page=0",
        "page=18446744073709551615",
        "cursor=x",
        "cursor=x&page=1",
        "store=oracle",
        "store=mongodb",
        "lmit=1",
    ] {
        let response = api.get(&format!("{ROWS}?{wrong}")).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{wrong}");
        let detail = response.detail();
        let parameter = wrong.split('=').next().unwrap();
        let is_named = parameter == "where" || detail.contains(parameter);
        assert!(is_named, "{wrong}: {detail}");
    }
}

#[tokio::test]
async fn a_page_by_number_skips_no_row() {
    let api = Api::new();
    let wide = "x".repeat(3 << 20);
    for sku in ["a", "b", "c"] {
        api.rows.put(sku, &wide, "1", None);
    }
    // The second page would start after the second row, which does not fit the first page.
    let both = api.get(&format!("{ROWS}?limit=2&page=1")).await;
    assert_eq!(both.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(both.detail().contains("limit"));
    let second = api.get(&format!("{ROWS}?limit=1&page=2")).await.json();
    assert_eq!(second["rows"][0]["sku"], "b");
    let by_cursor = api.get(&format!("{ROWS}?limit=2")).await.json();
    assert_eq!(by_cursor["rows"].as_array().unwrap().len(), 1);
    assert!(by_cursor["next"].is_string());
}

#[tokio::test]
async fn one_row_is_found_by_its_encoded_key() {
    let api = three();
    let row = api.get(&format!("{ROWS}/c%2Fd")).await;
    assert_eq!(row.json()["sku"], "c/d");
    let none = api.get(&format!("{ROWS}/zzz")).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    let of_two_parts = api.get("/datasets/readings/rows/a").await;
    assert_eq!(of_two_parts.status, StatusCode::BAD_REQUEST);
    assert!(of_two_parts.detail().contains("2 parts"));
}

#[tokio::test]
async fn totals_are_read_by_name() {
    let api = three();
    let totals = api.get("/datasets/products/totals/products_by_name").await;
    assert_eq!(
        totals.json(),
        json!({ "totals": [{ "name": null, "number": 3 }], "next": null })
    );
    let unknown = api.get("/datasets/products/totals/others").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_repeated_request_is_answered_from_the_cache() {
    let api = three();
    let reads = || api.rows.reads.load(Ordering::Relaxed);
    let first = api.get(ROWS).await;
    assert_eq!(reads(), 1);
    let etag = first.header("etag").to_owned();
    let unchanged = api.get_with(ROWS, &[("if-none-match", &etag)]).await;
    if reads() == 1 {
        // Otherwise the cached response expired, and the store returned the same.
        assert_eq!(unchanged.header("cache-status"), "landfall; hit");
    }
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    assert!(unchanged.body.is_empty());
    assert_eq!(unchanged.header("etag"), etag);

    for directive in ["no-cache", "no-store", "max-age=0", "private, Max-Age=0"] {
        let before = reads();
        let bypassed = api.get_with(ROWS, &[("cache-control", directive)]).await;
        assert_eq!(bypassed.text(), first.text());
        assert_eq!(reads(), before + 1, "{directive}");
    }
}

#[tokio::test]
async fn the_etag_of_lines_depends_on_the_next_page() {
    let api = three();
    let path = format!("{ROWS}?limit=3");
    for accept in ["text/csv", "application/x-ndjson"] {
        let last = api.get_with(&path, &[("accept", accept)]).await;
        assert_eq!(last.header("link"), "");
        api.rows.put("d", "x", "4", None);
        let known = [
            ("accept", accept),
            ("if-none-match", last.header("etag")),
            ("cache-control", "no-cache"),
        ];
        let more = api.get_with(&path, &known).await;
        assert_eq!(more.text(), last.text());
        assert_eq!(more.status, StatusCode::OK, "{accept}");
        assert!(!more.header("link").is_empty());
        api.rows.rows.lock().unwrap().pop();
    }
}

#[tokio::test]
async fn a_response_includes_every_job_closed_before_the_request() {
    let api = three();
    let job = api.start_job("products/1.csv").await.job;
    for number in 0..5 {
        // Each response was cached a moment ago, and its age alone would allow its use.
        let before = api.get(ROWS).await;
        api.rows.put(&format!("new{number}"), "x", "1", None);
        let head = api.start_job(&format!("products/{number}.csv")).await;
        api.close_job(head.job).await;
        let after = api
            .get_with(ROWS, &[("if-none-match", before.header("etag"))])
            .await;
        assert_eq!(after.status, StatusCode::OK);
        assert!(after.text().contains(&format!("new{number}")));
    }
    // Jobs of other datasets do not invalidate it.
    api.close_job(job).await;
    let head = api.start_job("readings/1.tsv").await;
    let first = api.get(ROWS).await;
    api.close_job(head.job).await;
    assert_eq!(api.get(ROWS).await.text(), first.text());
}

#[tokio::test]
async fn the_error_of_a_store_that_is_down_has_no_secrets() {
    let api = three();
    *api.rows.is_down.lock().unwrap() = true;
    let response = api.get(ROWS).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!response.header("retry-after").is_empty());
    assert!(!response.text().contains("db.internal"));
    *api.rows.is_down.lock().unwrap() = false;
    assert_eq!(api.get(ROWS).await.status, StatusCode::OK);
}

#[tokio::test]
async fn datasets_are_described_by_their_definitions() {
    let api = Api::new();
    let list = api.get("/datasets").await.json();
    let names: Vec<_> = list["datasets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["products", "readings"]);
    assert_eq!(list["datasets"][1]["order"], "revision");
    assert_eq!(list["broken"][0]["name"], "broken");
    let products = api.get("/datasets/products").await.json();
    assert_eq!(products["key"], json!(["sku"]));
    assert_eq!(products["stores"], json!(["postgres"]));
    assert_eq!(
        products["fields"][1],
        json!({ "name": "name", "type": "text", "required": false, "indexed": true })
    );
    let columns = &products["totals"][0]["columns"];
    assert_eq!(*columns, json!({ "number": "count" }));
    for (name, status) in [
        ("broken", StatusCode::CONFLICT),
        ("nothing", StatusCode::NOT_FOUND),
        ("..%2Fx", StatusCode::NOT_FOUND),
    ] {
        let response = api.get(&format!("/datasets/{name}")).await;
        assert_eq!(response.status, status, "{name}");
    }
}

fn searched() -> Api {
    let api = three();
    let definition = PRODUCTS.replace("key =", "search = [\"name\"]\nkey =");
    api.buckets
        .put_text("config", "datasets/products.toml", &definition);
    api.rows.put("d", "A crème brûlée, please", "4", None);
    api.rows.put("e", "Brûlées", "5", None);
    api
}

#[tokio::test]
async fn rows_are_found_by_their_words() {
    let api = searched();
    let page = api.get(&format!("{ROWS}?search=brulee&limit=1")).await;
    assert_eq!(page.status, StatusCode::OK);
    let body = page.json();
    assert_eq!(
        body["rows"],
        json!([{
            "sku": "d", "name": "A crème brûlée, please", "price": "4",
            "_highlight": { "name": [
                { "text": "A crème ", "match": false },
                { "text": "brûlée", "match": true },
                { "text": ", please", "match": false },
            ] }
        }])
    );
    let next = body["next"].as_str().unwrap();
    let link = page.header("link");
    assert_eq!(
        link,
        format!("<?cursor={next}&limit=1&search=brulee>; rel=\"next\"")
    );
    let second = api
        .get(&format!("{ROWS}?search=brulee&limit=1&cursor={next}"))
        .await;
    assert_eq!(second.json()["rows"][0]["sku"], "e");
    // The cursor of another search.
    let other = api
        .get(&format!("{ROWS}?search=creme&limit=1&cursor={next}"))
        .await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    let none = api.get(&format!("{ROWS}?search=%22%20!%20*")).await;
    assert_eq!(none.json(), json!({ "rows": [], "next": null }));
    let ranked = api
        .get(&format!("{ROWS}?search=brulee&sort=relevance"))
        .await;
    assert_eq!(ranked.json()["rows"].as_array().unwrap().len(), 2);
    let csv = [("accept", "text/csv")];
    let csv = api.get_with(&format!("{ROWS}?search=brulee"), &csv).await;
    assert!(!csv.text().contains("_highlight"));
    let dataset = api.get("/datasets/products").await.json();
    assert_eq!(dataset["search"], json!(["name"]));
}

#[tokio::test]
async fn searches_that_are_not_possible_are_explained() {
    for (api, query, expected) in [
        (three(), "search=x", "search = [\"name\"]"),
        (
            searched(),
            format!("search={}", "a".repeat(201)).as_str(),
            "200 characters",
        ),
        (searched(), "sort=relevance", "relevance"),
    ] {
        let response = api.get(&format!("{ROWS}?{query}")).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(
            response.detail().contains(expected),
            "{}",
            response.detail()
        );
    }
}
