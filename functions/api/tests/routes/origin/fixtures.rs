//! Ingested objects, and what the databases have of a row.

use axum::http::StatusCode;
use landfall_domain::{
    Counts, Dataset, DeadChunk, DeadCode, JobId, ObjectOrder, ObjectRef, Reading, RowVersion,
};
use landfall_formats::{Scanner, detect};
use landfall_ledger::{ChunkOutcome, JobHead, LedgerTable, PlanBlock, Seal};
use landfall_stores::{KeyVersions, StoredVersions};
use serde_json::Value as Json;

use crate::fakes::{Api, PRODUCTS};

pub(super) const PATH: &str = "/datasets/products/rows/a/origin";
pub(super) const FILE: &str = "sku,name,price\na,Lamp,1\nb,Desk,x\nc,\"two\nlines\",3\n";

/// What becomes of the chunks of a job.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Chunks {
    Done { rejected: u64 },
    Dead,
}

/// Ingests an object as splitter and workers do, in chunks of one record.
pub(super) async fn ingest(api: &Api, head: JobHead, file: &str, chunks: Chunks) -> JobHead {
    let key = head.object.key.clone();
    match &head.packed {
        None => api.buckets.put_text("inbox", &key, file),
        Some(packed) => {
            let size = usize::try_from(packed.part_bytes).unwrap();
            for (part, text) in (0..).zip(file.as_bytes().chunks(size)) {
                let text = std::str::from_utf8(text).unwrap();
                api.buckets.put_text("work", &packed.part_key(part), text);
            }
        }
    }
    let dataset = Dataset::from_toml("products.toml", PRODUCTS).unwrap();
    let reading = match &head.rejects_of {
        None => detect(&key, file.as_bytes(), &dataset).unwrap(),
        Some(origin) => Reading {
            rejects_of: Some(origin.clone()),
            ..landfall_domain::Format::Ndjson.into()
        },
    };
    let mut scanner = Scanner::new(&dataset, &reading, 1);
    let mut planned = Vec::new();
    scanner.feed(file.as_bytes(), &mut planned).unwrap();
    let summary = scanner.finish(&mut planned).unwrap();
    let head = api.table.create(&head).await.unwrap();
    let block = PlanBlock {
        shard: 0,
        reading,
        header: summary.header,
        chunks: planned,
    };
    api.ledger.expect_chunk(head.job, 0).await.unwrap();
    api.ledger.record_plan(head.job, &block).await.unwrap();
    let seal = Seal {
        chunks: block.end(),
        problem: None,
        warnings: Vec::new(),
    };
    api.ledger.seal(head.job, &seal).await.unwrap();
    let mut to_close = None;
    for ordinal in 0..block.end() {
        let outcome = match chunks {
            Chunks::Done { rejected } => ChunkOutcome::Done(Counts {
                rows: 1,
                rejected: rejected.min(u64::from(ordinal == 0)),
                ..Counts::default()
            }),
            Chunks::Dead => {
                let message = block.message(&head, ordinal).unwrap();
                ChunkOutcome::Dead(DeadChunk::new(&message, DeadCode::StoreRefused, "refused"))
            }
        };
        let mark = api.ledger.mark_chunk(head.job, ordinal, &outcome).await;
        to_close = mark.unwrap().to_close;
    }
    let head = to_close.unwrap();
    let sums = api.ledger.sums(&head).await.unwrap().unwrap();
    let (state, problem) = head.outcome(&sums);
    let closed = api.ledger.record_close(&head, state, problem, sums).await;
    api.ledger.record_published(&closed.unwrap()).await.unwrap()
}

/// Returns the head of a job of an object of this time.
pub(super) fn head(api: &Api, key: &str, time_ms: i64, size: usize) -> JobHead {
    let job = JobId::for_object("inbox", key, "1");
    let object = ObjectRef {
        bucket: "inbox".to_owned(),
        key: key.to_owned(),
        version: Some("1".to_owned()),
        etag: String::new(),
        size: size as u64,
    };
    let version = api.buckets.version("config", "datasets/products.toml");
    let mut head = JobHead::new(job, object, ObjectOrder::new(time_ms, "0A", job).unwrap());
    head.dataset = Some(landfall_domain::DatasetRef {
        name: "products".to_owned(),
        version,
    });
    head.chunk_bytes = 1;
    head
}

pub(super) async fn file(api: &Api, chunks: Chunks) -> JobHead {
    // Another object of the same dataset, before and after it.
    for (name, time) in [("products/0.csv", 1), ("products/2.csv", 3)] {
        let chunks = Chunks::Done { rejected: 0 };
        ingest(api, head(api, name, time, FILE.len()), FILE, chunks).await;
    }
    ingest(
        api,
        head(api, "products/1.csv", 2, FILE.len()),
        FILE,
        chunks,
    )
    .await
}

pub(super) fn place(record: &str) -> u64 {
    FILE.find(record).unwrap() as u64
}

pub(super) fn has(api: &Api, versions: KeyVersions) {
    *api.rows.versions.lock().unwrap() = versions;
}

pub(super) fn row(version: RowVersion) -> KeyVersions {
    KeyVersions {
        row: Some(StoredVersions {
            version: version.as_bytes().to_vec(),
            columns: Vec::new(),
        }),
        ..KeyVersions::default()
    }
}

pub(super) async fn explained(api: &Api) -> Json {
    let response = api.get(PATH).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    response.json()
}
