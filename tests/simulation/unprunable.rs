//! Snapshots whose prune fails, for a while or forever. The janitor has close messages sent again, and in the end gives
//! up: the job fails with `close_failed`, and keeps the rows that the snapshot lacks.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use landfall_domain::{CompletionEvent, JobState, ProblemCode};
use landfall_ledger::LedgerTable;
use landfall_tests::Products;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::fakes::locked;
use crate::files::{File, Kind, files};
use crate::losing::{job_of, put};
use crate::outcome::rows;
use crate::repair::Janitor;
use crate::schedule::{Schedule, Step};
use crate::world::{Cause, Message, RUNNING, World, notification};

/// Steps within which every job closes once functions do not die any more.
const CLOSES_WITHIN: u32 = 100_000;

/// What runs: a worker with messages, or the janitor, which may have a dead letter.
enum Event {
    Messages(Vec<Message>),
    Janitor(Option<String>),
}

pub async fn simulate(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let chunk_bytes = *[60, 200, 100_000].choose(&mut rng).unwrap();
    let world = World::new(chunk_bytes, Kind::Snapshots);
    let files = files(&mut rng, Kind::Snapshots);
    for file in &files {
        put(&world, file);
        let mut events = vec![notification(file)];
        while let Some(event) = events.pop() {
            world.call(&Cause::Notification(event)).await.unwrap();
            events.append(&mut world.resumes(&mut rng));
        }
    }
    let store = world.stores.choose(&mut rng).unwrap();
    store.refuses_prunes.store(true, Ordering::Relaxed);
    let repaired_at = rng.random_bool(0.4).then(|| rng.random_range(0..1_500));

    let janitor = Janitor::new(&world, rng.random_range(1..4));
    let faults_until = rng.random_range(0..1_500);
    let mut crashes = rng.random_range(0..6);
    let mut dead_letters = Vec::new();
    let mut schedule = Schedule::new();
    for step in 0.. {
        let calm_at = repaired_at.map_or(faults_until, |at| faults_until.max(at));
        assert!(step < calm_at + CLOSES_WITHIN, "the jobs do not close");
        if repaired_at == Some(step) {
            store.refuses_prunes.store(false, Ordering::Relaxed);
        }
        let is_idle = schedule.len() == 0
            && dead_letters.is_empty()
            && locked(&world.queue.waiting).is_empty();
        if is_idle && are_published(&world, &files).await {
            break;
        }
        if schedule.len() == 0 || (schedule.len() < RUNNING && rng.random_bool(0.2)) {
            let event = if is_idle || rng.random_bool(0.1) {
                Some(Event::Janitor(None))
            } else if let Some(letter) = dead_letters.pop_if(|_| rng.random_bool(0.5)) {
                Some(Event::Janitor(Some(letter)))
            } else {
                receive(&world, &mut rng).map(Event::Messages)
            };
            match event {
                Some(Event::Messages(messages)) => {
                    janitor.received();
                    let task = world.call(&Cause::Messages(messages.clone()));
                    schedule.start(&mut rng, Event::Messages(messages), task);
                }
                Some(Event::Janitor(letter)) => {
                    let task = janitor.call(letter.clone());
                    schedule.start(&mut rng, Event::Janitor(letter), task);
                }
                None => {}
            }
        }
        if schedule.len() == 0 {
            continue;
        }
        let dies = step < faults_until && crashes > 0 && rng.random_bool(0.02);
        crashes -= usize::from(dies);
        let (event, failed) = match schedule.step(&mut rng, dies).await {
            Step::Progress => continue,
            Step::Ended(event, outcome) => (event, outcome.map_or(true, |it| !it.is_empty())),
            Step::Died(event) => (event, true),
        };
        match event {
            Event::Messages(messages) => {
                janitor.processed();
                // What a worker died of may succeed. What failed has its row in the stores, and fails to close the job.
                let is_dead = failed && !dies && rng.random_bool(0.3);
                let bodies = messages.into_iter().map(|(body, _)| body);
                if is_dead {
                    dead_letters.extend(bodies);
                } else if failed {
                    locked(&world.queue.waiting).extend(bodies);
                }
            }
            Event::Janitor(Some(letter)) if failed => dead_letters.push(letter),
            Event::Janitor(_) => {}
        }
    }
    check(&world, &files, repaired_at.is_some());
}

fn receive(world: &World, rng: &mut StdRng) -> Option<Vec<Message>> {
    let mut waiting = locked(&world.queue.waiting);
    waiting.shuffle(rng);
    let body = waiting.pop()?;
    Some(vec![(body, rng.random_range(1..3))])
}

async fn are_published(world: &World, files: &[File]) -> bool {
    for job in files.iter().map(job_of) {
        let head = world.table.0.head(job).await.unwrap();
        if !head.is_some_and(|head| head.published) {
            return false;
        }
    }
    true
}

fn check(world: &World, files: &[File], is_repaired: bool) {
    let mut events: BTreeMap<_, CompletionEvent> = BTreeMap::new();
    for event in locked(&world.bus.events).iter() {
        let first = events.entry(event.job).or_insert_with(|| event.clone());
        assert_eq!(first, event, "a job has two different completions");
    }
    // The rows if nothing is ever deleted, and those that no snapshot lacks.
    let (mut all, mut kept) = (Products::default(), Products::default());
    let mut has_pruned = false;
    for file in files {
        let event = &events[&job_of(file)];
        let mut alone = Products::default();
        alone.read(&file.bytes);
        all.read(&file.bytes);
        let code = event.problem.as_ref().map(|problem| problem.code);
        let is_complete = alone.records > 0 && alone.rejected == 0;
        let gives_up = code == Some(ProblemCode::CloseFailed);
        assert_eq!((event.dead, event.counts.rows), (0, alone.records));
        assert_eq!(
            event.state == JobState::Failed,
            gives_up || { alone.rejected > 0 && alone.rejected == alone.records }
        );
        if is_complete {
            kept = alone;
            has_pruned = code.is_none();
            assert!(
                has_pruned || gives_up || code == Some(ProblemCode::PruneHeld),
                "{code:?}"
            );
            assert!(is_repaired || !has_pruned, "no prune can have succeeded");
        } else {
            kept.read(&file.bytes);
            assert!(!gives_up, "only complete snapshots are pruned");
        }
        let refused = world
            .stores
            .iter()
            .map(|store| store.refused_prunes.load(Ordering::Relaxed));
        assert!(
            !gives_up || refused.sum::<usize>() > 0,
            "given up without a failure"
        );
    }
    for store in &world.stores {
        let rows = rows(store, Kind::Snapshots);
        for (key, row) in &rows {
            assert_eq!(all.rows.get(key), Some(row), "{key} in {}", store.kind);
        }
        for (key, row) in &kept.rows {
            assert_eq!(rows.get(key), Some(row), "{key} in {}", store.kind);
        }
        if has_pruned {
            assert_eq!(rows, kept.rows, "{}", store.kind);
        }
    }
}
