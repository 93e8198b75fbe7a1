//! Lines of fixed rejects are rows at the places of their records, or rejects. A record means the same as in a file of
//! its own, and a line that is handed in unchanged is rejected for the same reason.

#![no_main]

use std::sync::LazyLock;

use landfall_domain::{
    Dataset, Format, JobId, ObjectRef, Reading, Reject, RejectCode, RejectsOrigin,
};
use landfall_formats::{Decoded, decode};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

const DEFINITION: &str = r#"
name = "fixed"
key = ["key"]
operation = { column = "op" }
fields = [
    { name = "key", type = "text" },
    { name = "integer", type = "integer", thousands = ".", decimal = "," },
    { name = "decimal", type = "decimal", required = true, currency = "€" },
    { name = "epoch", type = "timestamp", format = "epoch_ms" },
    { name = "json", type = "json", nulls = ["", "-"] },
    { name = "inner", column = "more.inner", type = "text" },
]
"#;
/// The size of the object of the first job.
const SIZE: u64 = 1_000;

static DATASET: LazyLock<Dataset> =
    LazyLock::new(|| Dataset::from_toml("fixed.toml", DEFINITION).unwrap());
static ORIGIN: LazyLock<RejectsOrigin> = LazyLock::new(|| RejectsOrigin {
    job: JobId::for_object("inbox", "d/1", "v1"),
    object: ObjectRef {
        bucket: "inbox".to_owned(),
        key: "d/1".to_owned(),
        version: Some("v1".to_owned()),
        etag: String::new(),
        size: SIZE,
    },
    is_packed: false,
});

fn hand_in(lines: &[u8]) -> Decoded {
    let reading = Reading {
        rejects_of: Some(ORIGIN.clone()),
        ..Format::Ndjson.into()
    };
    let decoded = decode(&DATASET, &reading, None, lines, 0, 1);
    let outcomes = decoded.rows.len() + decoded.rejects.len();
    assert_eq!(decoded.records, outcomes as u64);
    assert!(decoded.rows.iter().all(|row| row.offset < SIZE));
    for reject in &decoded.rejects {
        if let Some(job) = reject.job {
            assert!(job == ORIGIN.job && reject.offset < SIZE);
        } else {
            assert!(matches!(
                reject.code,
                RejectCode::Place | RejectCode::Encoding
            ));
        }
    }
    decoded
}

/// Returns a line of rejects with everything but the place of its object.
fn line(rest: &str) -> String {
    let rest = rest.strip_prefix('{').unwrap();
    format!("{{\"bucket\":\"inbox\",\"key\":\"d/1\",\"version\":\"v1\",{rest}")
}

/// Compares a record with one that stands for itself.
fn check_record(text: &str) {
    let is_object =
        serde_json::from_str::<&RawValue>(text).is_ok_and(|it| it.get().starts_with('{'));
    // The API marks what it has written.
    if !is_object || text.contains(['\n', '\r']) || text.contains("_landfall") {
        return;
    }
    let alone = decode(
        &DATASET,
        &Format::Ndjson.into(),
        None,
        text.as_bytes(),
        0,
        1,
    );
    let place = "\"offset\":7,\"line\":3,\"code\":\"type\",\"format\":\"ndjson\"";
    let fixed = hand_in(line(&format!("{{{place},\"record\":{text}}}")).as_bytes());
    let content = |decoded: &Decoded| {
        let rows = decoded.rows.iter();
        let rows = rows.map(|row| (row.deleted, row.values.clone(), row.extra.clone()));
        let rejects = decoded.rejects.iter();
        let rejects = rejects.map(|reject| (reject.code, reject.message.clone()));
        (rows.collect::<Vec<_>>(), rejects.collect::<Vec<_>>())
    };
    assert_eq!(content(&fixed), content(&alone));
    assert!(fixed.rows.iter().all(|row| row.offset == 7));
}

/// Hands in the rejects of a file as they are.
fn check_unchanged(file: &[u8]) {
    let first = decode(&DATASET, &Format::Ndjson.into(), None, file, 0, 1);
    let with_record = |reject: &&Reject| reject.record.is_some() && reject.offset < SIZE;
    let rejects: Vec<&Reject> = first.rejects.iter().filter(with_record).collect();
    let lines = rejects
        .iter()
        .map(|reject| line(&serde_json::to_string(reject).unwrap()));
    let again = hand_in(lines.collect::<Vec<_>>().join("\n").as_bytes());
    assert_eq!(again.rows, []);
    let reason = |reject: &Reject| {
        (
            reject.offset,
            reject.line,
            reject.code,
            reject.column.clone(),
        )
    };
    let again = again.rejects.iter().map(reason);
    assert!(again.eq(rejects.into_iter().map(reason)));
}

fuzz_target!(|bytes: &[u8]| {
    hand_in(bytes);
    if !bytes.windows(9).any(|it| it == b"_landfall") {
        check_unchanged(bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        check_record(text);
    }
});
