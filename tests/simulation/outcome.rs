//! What must hold once nothing is left to do.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

use landfall_domain::{
    CompletionEvent, JobState, ProblemCode, PruneState, StoreCounts, StoreKind, Value,
};
use landfall_ledger::LedgerTable as _;
use landfall_tests::Products;

use crate::fakes::locked;
use crate::files::{File, Kind};
use crate::fixed::Fixed;
use crate::stores::Map;
use crate::world::World;

pub async fn check(world: &World, files: &[File], fixed: &[Fixed], kind: Kind) {
    let mut events: BTreeMap<_, CompletionEvent> = BTreeMap::new();
    let mut pruned: BTreeMap<_, CompletionEvent> = BTreeMap::new();
    for event in world.bus.events.lock().unwrap().iter() {
        let same = match event.prune {
            Some(PruneState::Done) => &mut pruned,
            _ => &mut events,
        };
        let first = same.entry(event.job).or_insert_with(|| event.clone());
        assert_eq!(first, event, "a job has two different completions");
    }
    let ids: HashSet<_> = events.values().map(|event| event.id).collect();
    assert_eq!(
        ids.len(),
        files.len() + 2 * fixed.len(),
        "one job and one completion for each version"
    );

    let is_changed = |counts: &StoreCounts| counts.inserted + counts.updated + counts.deleted > 0;
    let changed = events.values().filter(|event| {
        let counts = event.counts.stores.get(&StoreKind::Postgres);
        counts.is_some_and(is_changed)
    });
    let rings = world.queue.rings.load(Ordering::Relaxed);
    assert!(rings >= changed.count(), "each change rings the relay");

    let mut reference = Products::default();
    for file in files {
        let event = events
            .values()
            .find(|event| event.object.version.as_deref() == Some(&file.version))
            .expect("every job completes");
        let head = world.table.0.head(event.job).await.unwrap().unwrap();
        assert!(head.published);
        let mut alone = Products::default();
        kind.read(&mut alone, file);
        let is_held = event.prune == Some(PruneState::Held);
        if let Some(pruned) = pruned.get(&event.job) {
            assert!(is_held && head.prune_published);
            assert_eq!(pruned.id, CompletionEvent::id_after_prune(event.job, 1));
            assert_eq!(pruned.problem, None);
        }
        let has_pruned = pruned.contains_key(&event.job)
            || (kind == Kind::Snapshots
                && event.problem.is_none()
                && event.state == JobState::Succeeded);
        if has_pruned {
            reference = alone.clone();
        } else if let Some(fixed) = fixed.iter().find(|fixed| fixed.first == file.version) {
            kind.read_as(&mut reference, file, &fixed.whole);
        } else {
            kind.read(&mut reference, file);
        }
        if is_held {
            assert_eq!(event.problem.as_ref().unwrap().code, ProblemCode::PruneHeld);
            assert!(
                event
                    .counts
                    .stores
                    .values()
                    .all(|counts| counts.pruned == 0)
            );
        } else if kind == Kind::Snapshots {
            let is_complete = alone.records > 0 && alone.rejected == 0;
            assert_eq!(has_pruned, is_complete, "{:?}", event.problem);
        }
        let expected = if alone.rejected > 0 && alone.rejected == alone.records {
            JobState::Failed
        } else {
            JobState::Succeeded
        };
        assert_eq!(event.state, expected, "{:?}", event.problem);
        assert_eq!(event.counts.rows, alone.records);
        assert_eq!(event.counts.rejected, alone.rejected);
        check_metrics(&world.metrics.lines(event.job), event);
        if alone.records > 0 {
            assert_eq!(event.counts.stores.len(), 2);
        } else {
            let closes = world.queue.closes.lock().unwrap();
            assert!(closes.contains(&event.job), "no chunk can close the job");
        }
        for counts in event.counts.stores.values() {
            assert_eq!(counts.total() + alone.rejected, alone.records);
        }
        let prefix = format!("products/{}/", event.job);
        let buckets = world.buckets.latest.lock().unwrap();
        let rejects = buckets
            .iter()
            .filter(|((bucket, key), _)| bucket == "rejects" && key.starts_with(&prefix))
            .map(|(_, body)| String::from_utf8_lossy(body).lines().count() as u64);
        assert_eq!(rejects.sum::<u64>(), alone.rejected);
    }
    for fixed in fixed {
        fixed.check(&events);
    }
    for store in &world.stores {
        assert_eq!(rows(store, kind), reference.rows, "{}", store.kind);
    }
}

/// Returns the rows of a store: name and description by key.
pub fn rows(store: &Map, kind: Kind) -> BTreeMap<String, (String, Option<String>)> {
    let stored = locked(&store.rows);
    let rows = stored
        .iter()
        .filter_map(|(key, (_, values))| Some((key.clone(), values.as_ref()?)));
    let rows = rows.map(|(key, values)| match &values[1..3] {
        [Value::Text(name), Value::Null] => (key, (name.to_string(), None)),
        [Value::Text(name), Value::Text(text)] => (key, (name.to_string(), Some(text.to_string()))),
        [Value::Null, description] if kind == Kind::Merged => {
            let description = description.to_text().map(String::from);
            (key, (String::new(), description))
        }
        other => panic!("not a product: {other:?}"),
    });
    rows.collect()
}

/// The close of a job is in its metrics at least once, and no row more than once.
fn check_metrics(lines: &[serde_json::Value], event: &CompletionEvent) {
    let sum = |name: &str| -> u64 { lines.iter().filter_map(|line| line[name].as_u64()).sum() };
    let (succeeded, failed) = (sum("JobsSucceeded"), sum("JobsFailed"));
    let (closed, other) = match event.state {
        JobState::Succeeded => (succeeded, failed),
        _ => (failed, succeeded),
    };
    assert!(closed > 0 && other == 0, "{event:?}: {lines:?}");
    // A worker that dies after the mark, or whose mark is lost on the way back, writes none.
    assert!(sum("Rows") <= event.counts.rows, "{lines:?}");
    assert!(sum("Rejects") <= event.counts.rejected, "{lines:?}");
    if closed == 1 && lines.len() == 1 + event.chunks as usize {
        assert_eq!(sum("Rows"), event.counts.rows, "{lines:?}");
    }
}
