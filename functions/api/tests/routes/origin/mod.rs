//! Where rows are from.

mod fixtures;

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use landfall_domain::{Codec, Dataset, JobId, ObjectOrder, Packed, RejectsOrigin};
use landfall_ledger::JobHead;
use landfall_stores::{KeyVersions, StoredVersions, Tombstone};
use serde_json::{Value as Json, json};

use crate::fakes::{Api, PRODUCTS};
use fixtures::{Chunks, FILE, PATH, explained, file, has, head, ingest, place, row};

#[tokio::test]
async fn a_row_is_from_a_record_of_an_object() {
    let api = Api::new();
    let job = file(&api, Chunks::Done { rejected: 0 }).await;
    has(&api, row(job.order.at(place("c,"))));
    let answer = explained(&api).await;
    assert_eq!(
        (&answer["state"], &answer["store"]),
        (&json!("present"), &json!("postgres"))
    );
    let origin = &answer["origins"][0];
    assert_eq!(origin["offset"], place("c,"));
    assert_eq!(origin["event_time"], "1970-01-01T00:00:00.002Z");
    assert_eq!(origin["version"], job.order.at(place("c,")).to_string());
    let definition = api.buckets.version("config", "datasets/products.toml");
    assert_eq!(
        origin["source"],
        json!({
            "job": job.job, "kind": "file", "state": "succeeded", "created_at": job.created_at,
            "object": { "key": "products/1.csv", "version": "1", "size": FILE.len() },
            "definition": definition, "release": env!("CARGO_PKG_VERSION"), "chunk": 2, "line": 4,
            "record": { "text": "c,\"two\nlines\",3", "bytes": 15, "outcome": "row", "reason": null },
            "missing": null,
        })
    );
    assert_eq!(
        (&origin["original"], &answer["pruned_by"]),
        (&Json::Null, &Json::Null)
    );
}

#[tokio::test]
async fn a_merged_row_is_from_a_record_for_each_group_of_columns() {
    let api = Api::new();
    let job = file(&api, Chunks::Done { rejected: 0 }).await;
    let version = |record| job.order.at(place(record)).as_bytes().to_vec();
    let columns = vec![
        (version("c,"), vec!["name".to_owned()]),
        (version("a,"), vec!["price".to_owned()]),
    ];
    let row = StoredVersions {
        version: version("c,"),
        columns,
    };
    has(
        &api,
        KeyVersions {
            row: Some(row),
            ..KeyVersions::default()
        },
    );
    let answer = explained(&api).await;
    let found = answer["origins"].as_array().unwrap().iter();
    let found = found.map(|origin| json!([origin["columns"], origin["source"]["line"]]));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [json!([["name"], 4]), json!([["price"], 2])]
    );

    let many = (0..10_u64).map(|at| {
        (
            job.order.at(20 - at).as_bytes().to_vec(),
            vec![at.to_string()],
        )
    });
    let row = StoredVersions {
        version: job.order.at(20).as_bytes().to_vec(),
        columns: many.collect(),
    };
    has(
        &api,
        KeyVersions {
            row: Some(row),
            ..KeyVersions::default()
        },
    );
    let answer = explained(&api).await;
    assert_eq!(
        (answer["origins"].as_array().unwrap().len(), &answer["more"]),
        (8, &json!(2))
    );
}

/// Fixes the reject of the file, whose record is then this one.
async fn fix(api: &Api, first: &JobHead, name: &str, time_ms: i64, price: &str) -> JobHead {
    let line = json!({
        "bucket": "inbox", "key": "products/1.csv", "version": "1", "format": "csv", "offset": place("b,"), "line": 3,
        "code": "type", "message": "no", "raw": "b,Desk,x", "raw_bytes": 8,
        "record": { "sku": "b", "name": "Desk", "price": price },
    });
    let other = line
        .to_string()
        .replace(&format!(":{},", place("b,")), ":15,");
    let text = format!("{other}\n{line}\n");
    let key = format!("products/_rejects/{}/{name}.ndjson", first.job);
    let mut fixed = head(api, &key, time_ms, text.len());
    fixed.order = first.order;
    fixed.rejects_of = Some(RejectsOrigin {
        job: first.job,
        object: first.object.clone(),
        is_packed: false,
    });
    ingest(api, fixed, &text, Chunks::Done { rejected: 0 }).await
}

#[tokio::test]
async fn a_fixed_reject_gave_the_row_at_the_place_of_its_record() {
    let api = Api::new();
    let first = file(&api, Chunks::Done { rejected: 1 }).await;
    fix(&api, &first, "bad", 50, "y").await;
    let fixed = fix(&api, &first, "good", 60, "7").await;
    fix(&api, &first, "again", 70, "8").await;
    has(&api, row(first.order.at(place("b,"))));
    let origin = explained(&api).await["origins"][0].take();
    let (source, original) = (&origin["source"], &origin["original"]);
    assert_eq!(
        (&source["job"], &source["kind"]),
        (&json!(fixed.job), &json!("fixed_rejects"))
    );
    assert_eq!(
        (&source["line"], &source["record"]["outcome"]),
        (&json!(2), &json!("row"))
    );
    assert_eq!(
        (&original["job"], &original["line"]),
        (&json!(first.job), &json!(3))
    );
    let reason = original["record"]["reason"].as_str().unwrap();
    assert!(reason.contains("not a"), "{reason}");
    assert_eq!(original["record"]["text"], "b,Desk,x");
    // The other rows are from the file.
    has(&api, row(first.order.at(place("c,"))));
    let origin = explained(&api).await["origins"][0].take();
    assert_eq!(
        (&origin["source"]["job"], &origin["original"]),
        (&json!(first.job), &Json::Null)
    );
}

#[tokio::test]
async fn a_search_among_many_fixed_rejects_ends() {
    let api = Api::new();
    let first = file(&api, Chunks::Done { rejected: 1 }).await;
    has(&api, row(first.order.at(place("b,"))));
    let mut is_cut_short = Vec::new();
    for number in 0..16 {
        fix(&api, &first, &format!("bad{number}"), 50 + number, "y").await;
        let origin = explained(&api).await["origins"][0].take();
        assert_eq!(origin["source"]["job"], json!(first.job));
        is_cut_short.push(origin["is_cut_short"].as_bool().unwrap());
    }
    assert_eq!(is_cut_short.iter().position(|cut| *cut), Some(15));
}

#[tokio::test]
async fn dead_chunks_that_another_job_processed_gave_the_row_there() {
    let api = Api::new();
    let first = file(&api, Chunks::Dead).await;
    has(&api, row(first.order.at(place("a,"))));
    // Without another job, the worker must have written the row before it failed.
    let origin = explained(&api).await["origins"][0].take();
    assert_eq!(origin["source"]["job"], json!(first.job));
    let dataset = Dataset::from_toml("products.toml", PRODUCTS).unwrap();
    let derived = first.job.for_redrive(1);
    let derived = first.derive(derived, &dataset, first.dataset.clone().unwrap());
    let derived = ingest(&api, derived, FILE, Chunks::Done { rejected: 0 }).await;
    let origin = explained(&api).await["origins"][0].take();
    let (source, original) = (&origin["source"], &origin["original"]);
    assert_eq!(
        (&source["job"], &source["kind"]),
        (&json!(derived.job), &json!("dead_chunks"))
    );
    assert_eq!(original["job"], json!(first.job));
}

#[tokio::test]
async fn what_is_gone_is_named() {
    let api = Api::new();
    let job = file(&api, Chunks::Done { rejected: 0 }).await;
    let version = job.order.at(place("a,"));
    has(&api, row(version));
    let inbox = ("inbox".to_owned(), "products/1.csv".to_owned());
    let object: Bytes = api.buckets.objects.lock().unwrap().remove(&inbox).unwrap();
    let source = explained(&api).await["origins"][0]["source"].take();
    assert_eq!(
        (&source["missing"], &source["record"]),
        (&json!("object_gone"), &Json::Null)
    );
    assert_eq!(
        (&source["job"], &source["chunk"]),
        (&json!(job.job), &json!(0))
    );
    api.buckets.objects.lock().unwrap().insert(inbox, object);
    // No record starts there.
    has(&api, row(job.order.at(place("a,") + 1)));
    let source = explained(&api).await["origins"][0]["source"].take();
    assert_eq!(source["missing"], "no_record");
    has(&api, row(job.order.at(0)));
    let source = explained(&api).await["origins"][0]["source"].take();
    assert_eq!(source["missing"], "no_chunk");
    // A job that the ledger no longer has.
    let other = JobId::for_object("inbox", "products/9.csv", "1");
    has(&api, row(ObjectOrder::new(2, "0A", other).unwrap().at(15)));
    let origin = explained(&api).await["origins"][0].take();
    assert_eq!(
        (&origin["source"], &origin["offset"]),
        (&Json::Null, &json!(15))
    );
}

#[tokio::test]
async fn a_row_of_a_packed_object_is_explained_by_its_text() {
    let api = Api::new();
    let mut packed = head(&api, "products/1.csv.gz", 2, 10);
    packed.packed = Some(Packed {
        codec: Codec::Gzip,
        job: packed.job,
        part_bytes: 16,
    });
    let job = ingest(&api, packed, FILE, Chunks::Done { rejected: 0 }).await;
    has(&api, row(job.order.at(place("c,"))));
    let source = explained(&api).await["origins"][0]["source"].take();
    assert_eq!(
        (&source["line"], &source["record"]["text"]),
        (&json!(4), &json!("c,\"two\nlines\",3"))
    );
    let view = api.get(&format!("/jobs/{}", job.job)).await.json();
    assert_eq!(view["object"]["codec"], "gzip");

    let is_work = |(bucket, _): &(String, String), _: &mut Bytes| bucket != "work";
    api.buckets.objects.lock().unwrap().retain(is_work);
    let source = explained(&api).await["origins"][0]["source"].take();
    assert_eq!(
        (&source["missing"], &source["chunk"]),
        (&json!("text_expired"), &json!(2))
    );
}

#[tokio::test]
async fn a_missing_row_has_its_delete_or_the_snapshot() {
    let api = Api::new();
    let job = file(&api, Chunks::Done { rejected: 0 }).await;
    let floor = Some(job.order.at(0).as_bytes().to_vec());
    let tombstone = Tombstone {
        version: job.order.at(place("c,")).as_bytes().to_vec(),
        deleted_at: "2026-11-20T08:30:00Z".to_owned(),
    };
    has(
        &api,
        KeyVersions {
            tombstone: Some(tombstone),
            floor: floor.clone(),
            row: None,
        },
    );
    let answer = explained(&api).await;
    assert_eq!(
        (&answer["state"], &answer["deleted_at"]),
        (&json!("deleted"), &json!("2026-11-20T08:30:00Z"))
    );
    assert_eq!(answer["origins"][0]["source"]["line"], 4);
    assert_eq!(answer["pruned_by"], Json::Null);
    has(
        &api,
        KeyVersions {
            floor,
            ..KeyVersions::default()
        },
    );
    let answer = explained(&api).await;
    assert_eq!(
        (&answer["state"], &answer["origins"]),
        (&json!("absent"), &json!([]))
    );
    let snapshot = &answer["pruned_by"]["source"];
    assert_eq!(
        (&snapshot["job"], &snapshot["record"]),
        (&json!(job.job), &Json::Null)
    );
    has(&api, KeyVersions::default());
    let answer = explained(&api).await;
    assert_eq!(
        (&answer["state"], &answer["pruned_by"]),
        (&json!("absent"), &Json::Null)
    );
}

#[tokio::test]
async fn an_explanation_needs_the_scope_read_and_a_whole_key() {
    let api = Api::new();
    for (token, status) in [
        ("reader", StatusCode::OK),
        ("writer", StatusCode::FORBIDDEN),
        ("stranger", StatusCode::FORBIDDEN),
    ] {
        let bearer = format!("Bearer {}", api.others[token].reveal());
        let request = axum::http::Request::builder().method(Method::GET).uri(PATH);
        let request = request.header("authorization", bearer);
        let response = api
            .send(request.body(axum::body::Body::empty()).unwrap())
            .await;
        assert_eq!(response.status, status, "{token}");
    }
    let short = api.get("/datasets/readings/rows/a/origin").await;
    assert_eq!(short.status, StatusCode::BAD_REQUEST);
    let unknown = api.get("/datasets/nothing/rows/a/origin").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    *api.rows.is_down.lock().unwrap() = true;
    assert_eq!(api.get(PATH).await.status, StatusCode::SERVICE_UNAVAILABLE);
}
