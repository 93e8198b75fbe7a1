//! The memory of a decoded chunk. A test of its own, because it measures the process.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test")]

use landfall_domain::{Dataset, Format};
use landfall_formats::decode;

const CHUNK_BYTES: usize = 10 * 1024 * 1024;
/// Of which 16 MiB are for records, and the rest for 100,000 places and reasons, and what the decoder needs.
const MEMORY: usize = 100 * 1024 * 1024;

/// Returns the greatest resident memory of this process so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<usize>().unwrap() * 1024
}

#[test]
fn rejects_of_nested_records_are_bounded() {
    let text = "name = \"d\"\nkey = [\"sku\"]\nfields = [{ name = \"sku\", type = \"text\" }]";
    let dataset = Dataset::from_toml("d.toml", text).unwrap();
    // Without a key; each pair of brackets takes 4 bytes here, and many times as much as a value.
    let record = format!("{{\"a\":[{}1]}}\n", "[1],".repeat(1_000));
    let chunk = record.repeat(CHUNK_BYTES / record.len());
    let before = peak();
    let decoded = decode(
        &dataset,
        &Format::Ndjson.into(),
        None,
        chunk.as_bytes(),
        0,
        1,
    );
    let used = peak() - before;
    assert!(used < MEMORY, "{used} bytes");

    let rejects = &decoded.rejects;
    assert_eq!(rejects.len(), chunk.len() / record.len());
    let first = rejects.first().unwrap();
    assert_eq!(first.raw, record.trim_end());
    assert!(first.record.is_some());
    let last = rejects.last().unwrap();
    assert_eq!((last.raw.as_str(), &last.record), ("", &None));
    assert_eq!(last.raw_bytes, record.len() as u64 - 1);
    assert_eq!(last.line, rejects.len() as u64);
    assert!(last.message.contains("left out"), "{}", last.message);
}
