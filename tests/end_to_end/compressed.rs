//! Compressed files end as what they unpack to, or say why not.

use landfall_domain::{Codec, JobId, JobState, ProblemCode};
use landfall_local::{Sql, Stack};
use landfall_packed::pack;
use landfall_tests::Products;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use crate::http::{Api, json_of};
use crate::support::{
    assert_counts, assert_products, completions, land, products_file, start, upload,
};

/// The number of rows in each file, unless the variable sets it.
const ROWS: u64 = 20_000;
const ROWS_VARIABLE: &str = "LANDFALL_COMPRESSED_ROWS";
/// GiB of zeros in a bomb, more than what is always unpacked, unless the variable sets it.
const BOMB_GIB: u64 = 2;
const BOMB_VARIABLE: &str = "LANDFALL_BOMB_GIB";

#[tokio::test(flavor = "multi_thread")]
async fn compressed_files_end_as_what_they_unpack_to() {
    let rows = number(ROWS_VARIABLE, ROWS);
    let stack = start(Sql::Sqlite, &[]).await;
    let mut expected = Products::default();
    let mut jobs = Vec::new();
    // The names say nothing about the content.
    for (codec, name, seed) in [
        (Codec::Gzip, "a.csv.gz", 41),
        (Codec::Zstd, "b.csv", 42),
        (Codec::Bzip2, "c", 43),
        (Codec::Zip, "d.csv.zip", 44),
    ] {
        let file = products_file(rows, seed);
        let key = format!("products/{name}");
        jobs.push((upload(&stack, &key, pack(codec, &file)).await, file));
    }
    let file = products_file(rows, 45);
    jobs.push((upload_encoded(&stack, "products/e.csv", &file).await, file));

    let ids: Vec<JobId> = jobs.iter().map(|(job, _)| *job).collect();
    let events = completions(&stack, &ids).await;
    for (job, file) in jobs {
        let event = &events[&job];
        assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
        assert_counts(event, &Products::from_file(&file));
        expected.read(&file);
    }
    assert_products(&stack, &expected.rows).await;

    let posted = post_compressed(&stack).await;
    let event = completions(&stack, &[posted])
        .await
        .remove(&posted)
        .unwrap();
    assert_eq!((event.state, event.counts.rows), (JobState::Succeeded, 1));
    assert_eq!(event.codec, Some(Codec::Gzip));

    let whole = pack(Codec::Gzip, &products_file(1_000, 46));
    let cut = whole[..whole.len() / 2].to_vec();
    for (key, object, code, message) in [
        (
            "products/cut.csv.gz",
            cut,
            ProblemCode::Malformed,
            format!("byte {}", whole.len() / 2),
        ),
        (
            "products/bomb.csv.gz",
            bomb(),
            ProblemCode::TooLarge,
            "1 GiB".to_owned(),
        ),
    ] {
        let event = land(&stack, key, object).await;
        let problem = event.problem.expect("it cannot be read to its end");
        assert_eq!((event.state, problem.code), (JobState::Failed, code));
        assert!(problem.message.contains(&message), "{problem}");
    }
}

/// Returns the number in a variable, or the default.
fn number(variable: &str, default: u64) -> u64 {
    let number = std::env::var(variable).ok();
    number.map_or(default, |number| number.parse().unwrap())
}

/// Uploads a file as programs do that compress it on the way.
async fn upload_encoded(stack: &Stack, key: &str, file: &[u8]) -> JobId {
    let bucket = &stack.outputs().inbox_bucket;
    let put = stack.s3().put_object().bucket(bucket).key(key);
    let put = put.content_encoding("gzip").content_type("text/csv");
    let stored = put.body(pack(Codec::Gzip, file).into()).send().await;
    let version = stored.unwrap().version_id.unwrap();
    JobId::for_object(bucket, key, &version)
}

/// Sends compressed rows through the gateway.
async fn post_compressed(stack: &Stack) -> JobId {
    let rows = "{\"sku\":\"posted\",\"name\":\"Lamp\"}\n";
    let api = Api::new(stack);
    let post = api.request(Method::POST, "datasets/products/rows");
    let post = post.header(CONTENT_TYPE, "application/x-ndjson");
    let post = post.header(CONTENT_ENCODING, "gzip");
    let answer = post.body(pack(Codec::Gzip, rows.as_bytes())).send().await;
    let accepted = json_of(answer.unwrap(), StatusCode::ACCEPTED).await;
    accepted["job"].as_str().unwrap().parse().unwrap()
}

/// Returns a gzip that unpacks to zeros, a thousand times as long.
fn bomb() -> Vec<u8> {
    let gibibytes = usize::try_from(number(BOMB_VARIABLE, BOMB_GIB)).unwrap();
    pack(Codec::Gzip, &vec![0; 4 << 20]).repeat(gibibytes << 8)
}
