//! What must hold once nothing is left to do.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use landfall_domain::{CompletionEvent, DeadChunk, DeadCode, JobState, ProblemCode};
use landfall_ledger::{LedgerTable, SHARD_CHUNKS, shards_of};

use super::control::Cancellations;
use super::job_of;
use crate::files::File;
use crate::world::World;

/// Checks every job and every row. Returns all dead chunks.
pub async fn check(world: &World, files: &[File], cancellations: &Cancellations) -> Vec<DeadChunk> {
    let mut all_dead = Vec::new();
    let mut events: BTreeMap<_, CompletionEvent> = BTreeMap::new();
    for event in world.bus.events.lock().unwrap().iter() {
        let attempt = events.entry((event.job, event.attempt));
        let first = attempt.or_insert_with(|| event.clone());
        assert_eq!(first, event, "an attempt has two different completions");
    }
    for file in files {
        let job = job_of(file);
        let attempts: Vec<_> = events.range((job, 0)..=(job, u32::MAX)).collect();
        let (_, event) = attempts.last().expect("every job closes");
        let attempts = attempts.iter().map(|(_, event)| *event);
        check_attempts(world, event, attempts).await;
        let dead = dead_chunks(world, event).await;
        assert_eq!(event.dead as usize, dead.len());
        assert_eq!(event.dead_chunks.by_code.values().sum::<u32>(), event.dead);
        let listed = &event.dead_chunks.first;
        assert!(dead.starts_with(listed), "{dead:?} {listed:?}");
        assert_eq!(event.dead_chunks.first.len(), dead.len().min(5));
        let head = world.table.0.head(event.job).await.unwrap().unwrap();
        let expected = match (&head.cancelled, event.dead) {
            (Some(_), _) => JobState::Cancelled,
            (None, 0) => JobState::Succeeded,
            (None, _) => JobState::Partial,
        };
        assert_eq!(event.state, expected, "{:?}", event.problem);
        let is_cancelled = head.cancelled.is_some();
        let skipped = event.dead_chunks.by_code.contains_key(&DeadCode::Cancelled);
        assert!(is_cancelled || !skipped, "only cancelled jobs skip chunks");
        if is_cancelled {
            let problem = event.problem.as_ref().unwrap();
            assert_eq!(problem.code, ProblemCode::Cancelled);
            assert!(problem.message.contains("operator"), "{problem}");
            check_cancelled(world, event, cancellations).await;
        }
        if event.chunks == 0 {
            assert!(is_cancelled, "only a cancelled job is not planned");
            continue;
        }
        check_rows(world, file, event, &dead);
        all_dead.extend(dead);
    }
    all_dead
}

/// Checks that each attempt closed once, with what the ledger says about it.
async fn check_attempts<'a>(
    world: &World,
    last: &CompletionEvent,
    attempts: impl Iterator<Item = &'a CompletionEvent>,
) {
    let head = world.table.0.head(last.job).await.unwrap().unwrap();
    let redrives = &head.redrives;
    let mut before: Option<&CompletionEvent> = None;
    for (attempt, event) in (1..).zip(attempts) {
        assert_eq!(event.attempt, attempt, "every attempt closes");
        assert_eq!(event.id, CompletionEvent::id_for(event.job, attempt));
        if let Some(before) = before {
            let redrive = &redrives[attempt as usize - 2];
            assert_eq!(redrive.chunks, before.dead);
            assert_eq!(
                (redrive.state, redrive.dead),
                (Some(event.state), Some(event.dead))
            );
            assert!(before.dead > 0 && event.dead <= before.dead);
            assert!(event.counts.rows >= before.counts.rows);
        }
        before = Some(event);
    }
    assert_eq!((head.attempt, head.resending), (last.attempt, false));
    assert_eq!(redrives.len() + 1, last.attempt as usize);
}

/// Checks that every row is in both stores unless its chunk is dead, and that no row that fails is in a live chunk.
fn check_rows(world: &World, file: &File, event: &CompletionEvent, dead: &[DeadChunk]) {
    let mut offset = 0;
    let mut live = 0;
    let text = std::str::from_utf8(&file.bytes).unwrap();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let mut cells = line.split(',');
        let (sku, name) = (cells.next().unwrap(), cells.next().unwrap());
        let chunk = dead
            .iter()
            .find(|chunk| (chunk.range.start..chunk.range.end).contains(&offset));
        if let Some(chunk) = chunk {
            assert!(chunk.first_line <= index as u64 + 1);
            if chunk.range.start == offset {
                assert_eq!(chunk.first_line, index as u64 + 1);
            }
            // A refused row does not take the others of its chunk along, unless these fail, too.
            let place = |offset| usize::try_from(offset).unwrap();
            let range = place(chunk.range.start)..place(chunk.range.end);
            let fails = |name| text[range.clone()].contains(name);
            let is_alone = !fails("panics") && !fails("unavailable");
            if chunk.code == DeadCode::StoreRefused && is_alone && name == "sound" {
                for store in &world.stores {
                    let rows = store.rows.lock().unwrap();
                    assert!(rows.contains_key(sku), "{sku} is missing in {}", store.kind);
                }
            }
        } else if index > 0 {
            let is_repaired = world.stores[0].is_repaired.load(Ordering::Relaxed);
            assert!(name == "sound" || is_repaired, "{sku}");
            for store in &world.stores {
                let rows = store.rows.lock().unwrap();
                assert!(rows.contains_key(sku), "{sku} is missing in {}", store.kind);
            }
            live += 1;
        }
        offset += line.len() as u64;
    }
    assert_eq!(event.counts.rows, live);
    for (name, code) in [
        ("refused", DeadCode::StoreRefused),
        ("panics", DeadCode::Panicked),
        ("unavailable", DeadCode::RetriesExhausted),
    ] {
        assert!(
            text.contains(name) || dead.iter().all(|chunk| chunk.code != code),
            "{code:?} without a cause"
        );
    }
}

/// Checks that no chunk was processed whose message was first received after the job had been cancelled.
async fn check_cancelled(world: &World, event: &CompletionEvent, cancellations: &Cancellations) {
    let Some(before) = cancellations.ended.get(&(event.job, event.attempt)) else {
        // The cancellation died in its last step.
        return;
    };
    let shards = world.table.0.shards(event.job, &[0]).await.unwrap();
    for ordinal in shards.iter().flat_map(|shard| &shard.done) {
        assert!(before.contains(ordinal), "chunk {ordinal} came too late");
    }
}

async fn dead_chunks(world: &World, event: &CompletionEvent) -> Vec<DeadChunk> {
    assert!(event.chunks <= SHARD_CHUNKS, "all are listed");
    let shards: Vec<u32> = (0..shards_of(event.chunks)).collect();
    let shards = world.table.0.shards(event.job, &shards).await.unwrap();
    let shards = shards.iter().flat_map(|shard| shard.dead_chunks.values());
    shards.cloned().collect()
}
