//! The messages of chunks can be rebuilt from the ledger, whatever the kind of file.

use std::collections::BTreeMap;

use bytes::Bytes;
use landfall_aws::WorkMessage;
use landfall_domain::{ChunkKind, ChunkMessage, Format, JobId};
use landfall_ledger::{Ledger, LedgerError, LedgerTable};

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

async fn split(world: &World, file: &File) -> Vec<ChunkMessage> {
    let place = (file.key.clone(), file.version.clone());
    let bytes = file.bytes.clone();
    world.buckets.versions.lock().unwrap().insert(place, bytes);
    splitter::handle(&world.splitter, notification(file))
        .await
        .unwrap();
    let sent = std::mem::take(&mut *world.queue.waiting.lock().unwrap());
    let sent = sent
        .iter()
        .map(|body| match WorkMessage::parse(body).unwrap() {
            WorkMessage::Chunk(chunk) => *chunk,
            WorkMessage::Close { .. } | WorkMessage::Redrive { .. } => {
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
