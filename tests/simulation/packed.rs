//! Packed objects: they end as what they unpack to would, or say why not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use landfall_domain::{
    ChunkMessage, Codec, CompletionEvent, DeadCode, JobId, JobState, ProblemCode,
};
use landfall_ledger::LedgerTable as _;
use landfall_packed::pack;
use landfall_runtime::Deadline;

use crate::derived::{drain, event};
use crate::files::{File, Kind};
use crate::planned::{self, sent, split, split_in_steps, text_of};
use crate::world::World;

const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Zstd, Codec::Bzip2, Codec::Zip];

fn text() -> String {
    let rows = (0..40).map(|row| format!("s{row},name {row},{}\n", row % 5));
    format!("sku,name,description\n{}", rows.collect::<String>())
}

fn file(key: &str, text: &str, codec: Option<Codec>) -> File {
    File {
        key: format!("products/{key}"),
        version: "v1".to_owned(),
        bytes: text.to_owned().into(),
        codec,
        time_ms: 1_000,
    }
}

/// Puts an object into the inbox of a new world, and returns what comes of it.
async fn ingest(object: Vec<u8>) -> CompletionEvent {
    let world = World::new(1, Kind::Plain);
    let mut file = file("a.csv.gz", "", None);
    file.bytes = object.into();
    planned::run(&world, &file).await;
    drain(&world).await;
    event(&world, job_of(&file))
}

fn job_of(file: &File) -> JobId {
    JobId::for_object("inbox", &file.key, &file.version)
}

fn places(messages: &[ChunkMessage]) -> Vec<impl PartialEq + std::fmt::Debug> {
    let places = messages.iter();
    places
        .map(|it| (it.range, it.first_line, it.records, it.kind, it.header))
        .collect()
}

#[tokio::test]
async fn a_packed_object_has_the_chunks_of_its_text() {
    let plain = World::new(100, Kind::Plain);
    let expected = split(&plain, &file("a.csv", &text(), None)).await;
    for codec in CODECS {
        let whole = World::new(100, Kind::Plain);
        let file = file("a.csv", &text(), Some(codec));
        let found = split(&whole, &file).await;
        assert_eq!(places(&found), places(&expected), "{codec}");
        let packed = found[0].packed.as_ref().unwrap();
        assert_eq!(text_of(&whole, packed), text(), "{codec}");

        let parts = World::new(100, Kind::Plain);
        let place = (file.key.clone(), file.version.clone());
        parts
            .buckets
            .versions
            .lock()
            .unwrap()
            .insert(place, file.object());
        let invocations = split_in_steps(&parts, &file).await;
        assert_eq!(invocations, text().len().div_ceil(64), "{codec}");
        assert_eq!(sent(&parts), found, "{codec}");
        assert_eq!(text_of(&parts, packed), text(), "{codec}");
    }
}

#[tokio::test]
async fn an_object_that_ends_with_a_part_is_read_to_its_end() {
    let mut text = text();
    text.truncate(text.len() / 64 * 64);
    let world = World::new(100, Kind::Plain);
    let file = file("a.csv", &text, Some(Codec::Gzip));
    let place = (file.key.clone(), file.version.clone());
    world
        .buckets
        .versions
        .lock()
        .unwrap()
        .insert(place, file.object());
    split_in_steps(&world, &file).await;
    drain(&world).await;
    let event = event(&world, job_of(&file));
    planned::check(&world, &Kind::Plain.definition()).await;
    assert!(event.chunks > 1, "{event:?}");
    assert_eq!(event.counts.rows, text.lines().count() as u64 - 1);
}

#[tokio::test]
async fn the_rows_before_the_damage_are_ingested() {
    let whole = pack(Codec::Gzip, text().as_bytes());
    for length in (1..whole.len()).step_by(7) {
        let event = ingest(whole[..length].to_vec()).await;
        let problem = event.problem.as_ref().expect("the file is cut");
        assert_eq!(event.state, JobState::Failed);
        if length > 18 {
            assert_eq!(problem.code, ProblemCode::Malformed, "{problem}");
            assert!(
                problem.message.contains(&format!("ends at byte {length}")),
                "{problem}"
            );
        }
        // No row is cut.
        assert_eq!(event.counts.rejected, 0, "{length}");
        assert_eq!(event.dead, 0);
    }
    let mut trailing = whole.clone();
    trailing.truncate(whole.len() - 4);
    let event = ingest(trailing).await;
    assert_eq!((event.counts.rows, event.state), (40, JobState::Failed));
}

#[tokio::test]
async fn what_follows_the_last_member_is_a_warning_or_read() {
    let (first, second) = (text(), "s90,n,d\ns91,n,d\n");
    let mut members = pack(Codec::Gzip, first.as_bytes());
    members.extend(pack(Codec::Gzip, second.as_bytes()));
    let whole = ingest(members.clone()).await;
    assert_eq!((whole.counts.rows, whole.state), (42, JobState::Succeeded));
    assert_eq!(whole.warnings.len(), 0);
    members.extend(b"garbage");
    let event = ingest(members).await;
    assert_eq!((event.counts.rows, event.state), (42, JobState::Succeeded));
    let warning = event.warnings.iter().map(|it| it.code.as_str());
    assert_eq!(warning.collect::<Vec<_>>(), ["trailing_bytes"]);
}

#[tokio::test]
async fn an_object_that_unpacks_to_nothing_is_empty() {
    for codec in CODECS {
        let event = ingest(pack(codec, b"")).await;
        let problem = event.problem.expect("nothing was read");
        assert_eq!(problem.code, ProblemCode::EmptyObject, "{codec}");
        assert_eq!(event.state, JobState::Succeeded);
    }
}

#[tokio::test]
async fn an_object_that_takes_too_long_to_unpack_again_is_too_large() {
    for steps in [0, 1, 3] {
        let mut world = World::new(1, Kind::Plain);
        let file = file("a.csv", &text(), Some(Codec::Zstd));
        let place = (file.key.clone(), file.version.clone());
        let object = file.object();
        world.buckets.versions.lock().unwrap().insert(place, object);
        let mut event_of_step = Some(crate::world::notification(&file));
        for _ in 0..steps {
            step(&world, event_of_step.take().unwrap()).await;
            event_of_step = world.splits.waiting.lock().unwrap().pop();
        }
        Arc::get_mut(&mut world.splitter).unwrap().longest_again = Duration::ZERO;
        step(&world, event_of_step.unwrap()).await;
        assert_eq!(world.splits.waiting.lock().unwrap().len(), 0);
        drain(&world).await;
        let event = event(&world, job_of(&file));
        let problem = event.problem.as_ref().unwrap();
        assert_eq!(
            (event.state, problem.code),
            (JobState::Failed, ProblemCode::TooLarge)
        );
        // The chunks of earlier invocations count.
        assert_eq!(event.chunks > 0, steps > 0, "{event:?}");
        assert_eq!(event.counts.rows, u64::from(event.chunks));
    }
}

async fn step(world: &World, event: serde_json::Value) {
    let deadline = Deadline::new(SystemTime::now() + Duration::from_secs(30));
    let response = splitter::handle(&world.splitter, event, deadline).await;
    assert!(response.unwrap().batch_item_failures.is_empty());
}

#[tokio::test]
async fn chunks_whose_text_has_expired_are_dead_with_a_reason() {
    let world = World::new(1, Kind::Plain);
    let file = file("a.csv.bz2", &text(), Some(Codec::Bzip2));
    planned::run(&world, &file).await;
    let is_work = |(bucket, _): &(String, String), _: &mut Bytes| bucket != "work";
    world.buckets.latest.lock().unwrap().retain(is_work);
    drain(&world).await;
    let event = event(&world, job_of(&file));
    assert_eq!((event.state, event.dead), (JobState::Partial, event.chunks));
    let dead = &event.dead_chunks.first[0];
    assert_eq!(dead.code, DeadCode::ObjectGone);
    let expected = "the unpacked text of products/a.csv.bz2 has expired: upload the file again";
    assert_eq!(dead.reason, expected);
    let head = world.table.0.head(event.job).await.unwrap().unwrap();
    assert_eq!(head.packed.unwrap().codec, Codec::Bzip2);
}
