//! Posted rows and uploaded files.

use std::sync::atomic::Ordering;

use axum::http::{Method, StatusCode, header};
use landfall_domain::{Codec, JobId};
use landfall_packed::pack;
use serde_json::json;

use crate::fakes::Api;

const ROWS: &str = "/datasets/products/rows";
const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn posted_rows_become_an_object_with_a_job() {
    let api = Api::new();
    for (media_type, ending, body) in [
        ("application/json", ".json", "[{\"sku\":\"a\"}]"),
        ("application/json", ".json", "{\"sku\":\"a\"}"),
        ("application/json; charset=utf-8", ".json", " [ ]"),
        ("application/x-ndjson", ".ndjson", "{\"sku\":\"a\"}\n"),
        ("text/csv", ".csv", "sku\na\n"),
        ("text/tab-separated-values", ".tsv", "sku\na\n"),
        (
            "Application/JSON; charset=UTF-8",
            ".json",
            "\u{feff}[{\"sku\":\"a\"}]",
        ),
    ] {
        let response = api.post(ROWS, media_type, body).await;
        assert_eq!(response.status, StatusCode::ACCEPTED, "{media_type}");
        let accepted = response.json();
        let object = &accepted["object"];
        let [key, version] = ["key", "version"].map(|name| object[name].as_str().unwrap());
        assert!(key.starts_with("products/api/"), "{key}");
        assert!(key.ends_with(ending), "{key}");
        assert_eq!(&api.buckets.get("inbox", key).unwrap()[..], body.as_bytes());
        let job = JobId::for_object("inbox", key, version).to_string();
        assert_eq!(accepted["job"], job);
        assert_eq!(response.header("location"), format!("../../jobs/{job}"));
    }
}

#[tokio::test]
async fn rows_that_would_certainly_fail_are_refused() {
    let api = Api::new();
    for (dataset, media_type, body, status) in [
        ("products", "application/json", "7", 400),
        ("products", "application/json", " ", 400),
        ("products", "text/csv", "", 400),
        ("products", "application/xml", "<a/>", 415),
        ("products", "text/csv; charset=iso-8859-1", "sku\na\n", 415),
        ("readings", "text/csv", "a", 415),
        ("broken", "text/csv", "a", 409),
        ("nothing", "text/csv", "a", 404),
    ] {
        let path = format!("/datasets/{dataset}/rows");
        let response = api.post(&path, media_type, body).await;
        assert_eq!(response.status, status, "{path} {media_type} {body}");
    }
    let too_large = api.post(ROWS, "text/csv", vec![b'a'; 4 * MIB + 1]).await;
    assert_eq!(too_large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(too_large.detail().contains("/uploads"));
    let largest = api.post(ROWS, "text/csv", vec![b'a'; 4 * MIB]).await;
    assert_eq!(largest.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn compressed_rows_become_a_compressed_object() {
    const NDJSON: &str = "application/x-ndjson";
    let api = Api::new();
    let send = async |coding: &str, media_type: &str, body: Vec<u8>| {
        let request = api
            .request(Method::POST, ROWS)
            .header(header::CONTENT_TYPE, media_type)
            .header(header::CONTENT_ENCODING, coding);
        api.send(request.body(body.into()).unwrap()).await
    };
    let rows = b"{\"sku\":\"a\"}\n";
    for (coding, codec, ending) in [
        ("gzip", Codec::Gzip, ".ndjson.gz"),
        ("X-GZIP", Codec::Gzip, ".ndjson.gz"),
        ("zstd", Codec::Zstd, ".ndjson.zst"),
    ] {
        let packed = pack(codec, rows);
        let response = send(coding, NDJSON, packed.clone()).await;
        assert_eq!(response.status, StatusCode::ACCEPTED, "{}", response.text());
        let accepted = response.json();
        let key = accepted["object"]["key"].as_str().unwrap();
        assert!(key.ends_with(ending), "{key}");
        assert_eq!(api.buckets.get("inbox", key).unwrap()[..], packed);
    }
    // Gateways decode these as text.
    for media_type in ["application/json", "text/csv"] {
        let response = send("gzip", media_type, pack(Codec::Gzip, b"sku\na\n")).await;
        assert_eq!(response.status, 415, "{}", response.text());
    }
    // What the body holds is checked, as far as its start shows.
    for (coding, body, status) in [
        ("gzip", rows.to_vec(), 400),
        ("gzip", pack(Codec::Zstd, rows), 400),
        ("gzip", pack(Codec::Gzip, b" "), 400),
        ("gzip", pack(Codec::Gzip, rows)[..12].to_vec(), 400),
        ("br", rows.to_vec(), 415),
        ("identity", rows.to_vec(), 202),
    ] {
        let response = send(coding, NDJSON, body).await;
        assert_eq!(response.status, status, "{coding}: {}", response.text());
    }
}

#[tokio::test]
async fn a_posted_form_has_a_job() {
    let api = Api::new();
    let wanted = json!({ "dataset": "products", "name": "my file.csv", "size": 12 });
    let response = api.post_json("/uploads", &wanted).await;
    assert_eq!(response.status, StatusCode::CREATED);
    let place = response.json();
    assert_eq!(place["kind"], "post");
    assert_eq!(place["fields"]["key"], place["key"]);
    assert_eq!(place["fields"]["size"], "12");
    let key = place["key"].as_str().unwrap();
    assert!(key.starts_with("products/uploads/"), "{key}");
    assert!(key.ends_with("/my_file.csv"), "{key}");

    let complete = json!({ "key": key });
    let early = api.post_json("/uploads/complete", &complete).await;
    assert_eq!(early.status, StatusCode::NOT_FOUND);
    api.buckets.put_text("inbox", key, "sku\na\n");
    let accepted = api.post_json("/uploads/complete", &complete).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    let job = JobId::for_object("inbox", key, "v1").to_string();
    assert_eq!(accepted.json()["job"], job);
}

#[tokio::test]
async fn a_large_file_is_uploaded_in_parts() {
    let api = Api::new();
    let size = 250_000_000_u64;
    let wanted = json!({ "dataset": "products", "name": "big.csv", "size": size });
    let place = api.post_json("/uploads", &wanted).await.json();
    assert_eq!(place["kind"], "multipart");
    let parts = place["parts"].as_array().unwrap();
    let bytes = place["part_bytes"].as_u64().unwrap();
    assert_eq!(parts.len() as u64, size.div_ceil(bytes));
    let last = parts.last().unwrap()["url"].as_str().unwrap();
    assert!(
        last.ends_with(&format!("&bytes={}", size % bytes)),
        "{last}"
    );

    let complete = async |upload_id: &str, etags: &[&str]| {
        let part = |(etag, number): (_, i32)| json!({ "number": number, "etag": etag });
        let parts: Vec<_> = etags.iter().zip(1..).map(part).collect();
        let key = &place["key"];
        let complete = json!({ "key": key, "upload_id": upload_id, "parts": parts });
        api.post_json("/uploads/complete", &complete).await
    };
    let upload_id = place["upload_id"].as_str().unwrap();
    let count = parts.len();
    let etags = vec!["a"; count];
    for (upload_id, etags, status) in [
        (upload_id, &etags[..0], StatusCode::BAD_REQUEST),
        // S3 would join them, and the file would lack rows unnoticed.
        (upload_id, &etags[1..], StatusCode::BAD_REQUEST),
        ("another", &etags, StatusCode::BAD_REQUEST),
        (&format!("{count}.another"), &etags, StatusCode::CONFLICT),
    ] {
        let refused = complete(upload_id, etags).await;
        assert_eq!(refused.status, status, "{upload_id}");
    }
    // The client cannot fix this.
    api.buckets.is_denied.store(true, Ordering::Relaxed);
    let denied = complete(upload_id, &etags).await;
    assert_eq!(denied.status, StatusCode::INTERNAL_SERVER_ERROR);
    api.buckets.is_denied.store(false, Ordering::Relaxed);
    let done = complete(upload_id, &etags).await;
    assert_eq!(done.status, StatusCode::ACCEPTED);
    // The response was lost, and the request is repeated.
    let again = complete(upload_id, &etags).await;
    assert_eq!(again.json()["job"], done.json()["job"]);
}

#[tokio::test]
async fn uploads_are_limited_to_their_key_and_size() {
    let api = Api::new();
    let upload =
        |dataset: &str, size: i64| json!({ "dataset": dataset, "name": "a.csv", "size": size });
    for (body, status) in [
        (upload("products", 0), 400),
        (upload("products", -1), 400),
        (upload("products", 1 << 40), 400),
        (upload("nothing", 1), 404),
        (json!({ "dataset": "products" }), 400),
    ] {
        let response = api.post_json("/uploads", &body).await;
        assert_eq!(response.status, status, "{body}");
    }
    for key in ["products/a.csv", "products/uploads/../x/a.csv", ""] {
        let complete = json!({ "key": key });
        let response = api.post_json("/uploads/complete", &complete).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{key}");
    }
    let other_type = api.post("/uploads", "text/plain", "{}").await;
    assert_eq!(other_type.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
