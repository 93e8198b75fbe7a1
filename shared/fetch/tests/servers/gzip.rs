//! Answers that are compressed.

use axum::body::Body;
use landfall_domain::Codec;
use landfall_fetch::FetchError;

use crate::{Reply, Server, answer, fetch, here, source};

fn packed(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut reply = answer(status, headers, "");
    *reply.body_mut() = Body::from(body.to_vec());
    reply
}

#[tokio::test]
async fn answers_in_gzip_are_unpacked() {
    let text = format!("[{}1]", "1,".repeat(400));
    let once = landfall_packed::pack(Codec::Gzip, text.as_bytes());
    let twice = landfall_packed::pack(Codec::Gzip, &once);
    let encoded = [("content-encoding", "gzip")];
    let server = Server::start(vec![
        packed(200, &encoded, &once),
        // A file, as a download has it.
        packed(200, &[("content-type", "application/gzip")], &once),
        packed(200, &encoded, &twice),
        packed(204, &encoded, b""),
    ])
    .await;
    let source = source(&server.url, "");
    for _ in 0..3 {
        let response = fetch(&source, &here()).await.unwrap();
        assert_eq!(String::from_utf8(response.body).unwrap(), text);
    }
    assert!(fetch(&source, &here()).await.unwrap().body.is_empty());
    assert_eq!(server.header(0, "accept-encoding").as_deref(), Some("gzip"));
}

#[tokio::test]
async fn answers_in_gzip_are_limited_by_what_they_unpack_to_and_repeated_if_they_break_off() {
    let long = landfall_packed::pack(Codec::Gzip, "x".repeat(2_000).as_bytes());
    assert!(long.len() < 1000);
    let short = landfall_packed::pack(Codec::Gzip, b"[]");
    let server = Server::start(vec![
        packed(200, &[], &long),
        packed(200, &[], &short[..short.len() - 1]),
        packed(200, &[("content-encoding", "br")], b"[]"),
        packed(200, &[], &short),
    ])
    .await;
    let source = source(&server.url, "");
    let error = fetch(&source, &here()).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong(1000)), "{error}");
    let response = fetch(&source, &here()).await.unwrap();
    assert_eq!(
        (response.body.as_slice(), server.uris().len()),
        (b"[]".as_slice(), 4)
    );
}
