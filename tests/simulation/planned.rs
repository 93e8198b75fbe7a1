//! The plan in the ledger is that of one splitter that reads the whole object, and the messages that were sent.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use landfall_aws::WorkMessage;
use landfall_domain::{
    ChunkKind, ChunkMessage, Dataset, Format, JobId, JobState, Packed, PlannedChunk, ProblemCode,
};
use landfall_formats::Scanner;
use landfall_ledger::{Ledger, LedgerError, LedgerTable};
use landfall_runtime::Deadline;

use crate::files::{File, Kind};
use crate::world::{World, notification};

fn utf_16(text: &str) -> Bytes {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

/// Returns files of every kind by the ends of their keys.
fn files() -> Vec<(&'static str, Bytes)> {
    let rows: Vec<String> = (0..400).map(|row| format!("s{row},n,d\n")).collect();
    let csv = rows.concat();
    let csv = format!("sku,name,description\n{csv}");
    let long = "x".repeat(1_100_000);
    let objects = (0..3).map(|row| format!("{{\"sku\":\"s{row}\",\"name\":\"n\"}}"));
    let objects: Vec<String> = objects.collect();
    vec![
        ("a.csv", csv.clone().into()),
        ("b.tsv", csv.replace(',', "\t").into()),
        (
            "c.csv",
            format!("sep=;\r\n{}", csv.replace(',', ";")).into(),
        ),
        ("d.csv", utf_16(&csv)),
        ("e.csv", format!("{csv}s,{long},\nt,n,\n").into()),
        ("f.ndjson", objects.join("\n").into()),
        ("g.json", format!("[{}]", objects.join(",")).into()),
        ("h.tsv", "sku\tname\ns\t\"5\" wide\nt\tn\n".into()),
    ]
}

/// Asserts that every job is planned as one scanner alone plans its object.
pub async fn check(world: &World, definition: &str) {
    let dataset = Dataset::from_toml("products.toml", definition).unwrap();
    let ledger = Ledger::new(world.table.clone());
    let events = world.bus.events.lock().unwrap().clone();
    for event in events {
        let head = world.table.0.head(event.job).await.unwrap().unwrap();
        let ordinals: Vec<u32> = (0..event.chunks).collect();
        let planned = ledger.planned_chunks(&head, &ordinals).await.unwrap();
        let Some(first) = planned.first() else {
            continue;
        };
        let place = (
            event.object.key.clone(),
            event.object.version.clone().unwrap(),
        );
        let bytes = match &head.packed {
            None => world.buckets.versions.lock().unwrap()[&place].clone(),
            Some(packed) => text_of(world, packed),
        };
        let mut scanner = Scanner::new(&dataset, &first.reading, head.chunk_bytes);
        let mut alone = Vec::new();
        scanner.feed(&bytes, &mut alone).unwrap();
        let header = scanner.finish(&mut alone).unwrap().header;
        let planned = planned.into_iter().map(|message| {
            assert_eq!(message.header, header);
            PlannedChunk {
                range: message.range,
                first_line: message.first_line,
                records: message.records,
                kind: message.kind,
            }
        });
        let planned: Vec<PlannedChunk> = planned.collect();
        if event.state == JobState::Cancelled {
            assert!(alone.starts_with(&planned));
        } else {
            assert_eq!(planned, alone);
        }
    }
}

/// Returns the text of a packed object, as it is stored.
pub fn text_of(world: &World, packed: &Packed) -> Bytes {
    let latest = world.buckets.latest.lock().unwrap();
    let parts = (0..).map_while(|part| latest.get(&("work".to_owned(), packed.part_key(part))));
    parts
        .map(|part| part.to_vec())
        .collect::<Vec<_>>()
        .concat()
        .into()
}

/// Runs the splitter until the object is read, each time for one segment, and returns the number of invocations.
pub async fn split_in_steps(world: &World, file: &File) -> usize {
    let mut event = Some(notification(file));
    let mut invocations = 0;
    while let Some(next) = event {
        let deadline = Deadline::new(SystemTime::now() + Duration::from_secs(30));
        let response = splitter::handle(&world.splitter, next, deadline).await;
        assert!(response.unwrap().batch_item_failures.is_empty());
        invocations += 1;
        event = world.splits.waiting.lock().unwrap().pop();
    }
    invocations
}

pub async fn split(world: &World, file: &File) -> Vec<ChunkMessage> {
    run(world, file).await;
    sent(world)
}

/// Puts a file into the inbox, and runs the splitter.
pub async fn run(world: &World, file: &File) {
    let place = (file.key.clone(), file.version.clone());
    let bytes = file.object();
    world.buckets.versions.lock().unwrap().insert(place, bytes);
    let deadline = Deadline::new(SystemTime::now() + Duration::from_hours(1));
    splitter::handle(&world.splitter, notification(file), deadline)
        .await
        .unwrap();
}

/// Removes the chunk messages that were sent, and returns them in the order of the object.
pub fn sent(world: &World) -> Vec<ChunkMessage> {
    let sent = std::mem::take(&mut *world.queue.waiting.lock().unwrap());
    let sent = sent
        .iter()
        .map(|body| match WorkMessage::parse(body).unwrap() {
            WorkMessage::Chunk(chunk) => *chunk,
            WorkMessage::Close { .. }
            | WorkMessage::Redrive { .. }
            | WorkMessage::Write(_)
            | WorkMessage::Check(_) => {
                panic!("the job has chunks")
            }
        });
    let mut sent: Vec<ChunkMessage> = sent.collect();
    sent.sort_by_key(|chunk| chunk.ordinal);
    sent
}

#[tokio::test]
async fn messages_are_rebuilt_as_the_splitter_has_sent_them() {
    let world = World::new(1, Kind::Plain);
    let ledger = Ledger::new(world.table.clone());
    let mut sent = BTreeMap::new();
    for (index, (name, bytes)) in (0..).zip(files()) {
        let file = File {
            key: format!("products/{name}"),
            version: "v".to_owned(),
            bytes,
            time_ms: 1_000 + index,
            codec: None,
        };
        sent.insert(name, split(&world, &file).await);
    }
    let job = JobId::for_object("inbox", "products/a.csv", "v");
    let rejects = r#"{"bucket":"inbox","key":"products/a.csv","version":"v","offset":21,"record":{"sku":"s"}}"#;
    let fixed = File {
        key: format!("products/_rejects/{job}/fixed.ndjson"),
        version: "w".to_owned(),
        bytes: [rejects, rejects].join("\n").into(),
        time_ms: 1_050,
        codec: None,
    };
    sent.insert("fixed", split(&world, &fixed).await);

    let of = |name: &str| &sent[name][0];
    assert_eq!((sent["a.csv"].len(), sent["fixed"].len()), (400, 2));
    assert!(of("a.csv").header.is_some() && of("f.ndjson").header.is_none());
    assert_eq!(of("c.csv").reading.delimiter.as_deref(), Some(";"));
    assert!(of("d.csv").reading.encoding.is_utf_16());
    assert_eq!(sent["e.csv"][400].kind, ChunkKind::Oversize);
    assert_eq!(of("g.json").reading.format, Format::Json);
    assert!(of("h.tsv").reading.unquoted);
    assert!(of("fixed").reading.rejects_of.is_some());
    for messages in sent.values() {
        let head = world.table.0.head(messages[0].job).await.unwrap().unwrap();
        let ordinals: Vec<u32> = (0..head.chunks.unwrap()).collect();
        let planned = ledger.planned_chunks(&head, &ordinals).await.unwrap();
        assert_eq!(planned, *messages);
        let beyond = ledger.planned_chunks(&head, &[head.chunks.unwrap()]).await;
        assert!(matches!(beyond, Err(LedgerError::Missing(_))));
    }
}

#[tokio::test]
async fn an_object_is_read_by_many_invocations_and_no_message_is_sent_twice() {
    for (index, (name, bytes)) in (0..).zip(files()) {
        // Every invocation of the largest one would read 64 of 1,100,000 bytes.
        if name == "e.csv" {
            continue;
        }
        let file = File {
            key: format!("products/{name}"),
            version: "v".to_owned(),
            bytes,
            time_ms: 1_000 + index,
            codec: None,
        };
        let (whole, parts) = (World::new(100, Kind::Plain), World::new(100, Kind::Plain));
        let expected = split(&whole, &file).await;
        let place = (file.key.clone(), file.version.clone());
        let bytes = file.object();
        parts.buckets.versions.lock().unwrap().insert(place, bytes);
        let invocations = split_in_steps(&parts, &file).await;
        assert_eq!(invocations, file.bytes.len().div_ceil(64), "{name}");
        assert_eq!(sent(&parts), expected, "{name}");
        let jobs = [&whole, &parts].map(|world| &world.table.0);
        let [whole, parts] = jobs.map(|table| table.head(expected[0].job));
        let (whole, parts) = (whole.await.unwrap().unwrap(), parts.await.unwrap().unwrap());
        assert_eq!(parts.chunks, Some(u32::try_from(expected.len()).unwrap()));
        assert_eq!(
            (parts.problem, parts.warnings),
            (whole.problem, whole.warnings)
        );
    }
}

#[tokio::test]
async fn an_object_with_too_many_chunks_is_refused_before_it_is_read() {
    let world = World::new(1 << 20, Kind::Plain);
    let file = File {
        key: "products/a.csv".to_owned(),
        version: "v".to_owned(),
        bytes: Bytes::new(),
        time_ms: 1_000,
        codec: None,
    };
    let mut event = notification(&file);
    event["Records"][0]["s3"]["object"]["size"] = (5_u64 << 40).into();
    let deadline = Deadline::new(SystemTime::now() + Duration::from_hours(1));
    let handled = splitter::handle(&world.splitter, event, deadline).await;
    handled.unwrap();
    let job = JobId::for_object("inbox", "products/a.csv", "v");
    let head = world.table.0.head(job).await.unwrap().unwrap();
    assert_eq!(head.chunks, Some(0));
    let problem = head.problem.unwrap();
    assert_eq!(problem.code, ProblemCode::TooLarge);
    assert!(problem.message.contains("4194304000000"), "{problem:?}");
}
