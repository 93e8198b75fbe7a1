//! Chunks that cannot be processed: rows that a store refuses, panics, stores that are down for a while or for good, and
//! jobs that are cancelled at any moment. Each kills its chunk with a reason, and the job closes with everything else.

use std::collections::{BTreeMap, HashMap, HashSet};

use landfall_aws::WorkMessage;
use landfall_domain::{CompletionEvent, DeadChunk, DeadCode, JobId, JobState, ProblemCode};
use landfall_ledger::{LedgerTable, SHARD_CHUNKS, shards_of};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::files::{File, Kind};
use crate::outages::Outages;
use crate::schedule::{Schedule, Step};
use crate::world::{Cause, MAX_RECEIVES, Message, RUNNING, STORE_WAIT, World, notification};

/// Milliseconds within which every job closes once stores are up and functions do not die any more.
const CLOSES_WITHIN: i64 = 180_000;

/// What happened: for each step that ended an invocation, its number, whether the invocation died, and its messages.
type Trace = Vec<(u32, bool, Vec<Message>)>;

/// The chunk queue: what was received how often, and its dead-letter queue.
#[derive(Default)]
struct Deliveries {
    receives: HashMap<String, u32>,
    dead_letters: Vec<String>,
}

impl Deliveries {
    fn receive(&mut self, world: &World, rng: &mut StdRng) -> Vec<Message> {
        let mut waiting = world.queue.waiting.lock().unwrap();
        waiting.shuffle(rng);
        let body = waiting.pop().unwrap();
        if rng.random_bool(0.05) {
            waiting.push(body.clone());
        }
        let receives = self.receives.entry(body.clone()).or_default();
        *receives += 1;
        vec![(body, *receives)]
    }

    fn put_back(&mut self, world: &World, messages: Vec<Message>) {
        for (body, receives) in messages {
            // The copies of a message share their count, which starts again once one is done.
            let counted = self.receives.get(&body).copied().unwrap_or_default();
            if receives.min(counted) < MAX_RECEIVES {
                world.queue.waiting.lock().unwrap().push(body);
            } else {
                self.dead_letters.push(body);
            }
        }
    }

    /// Returns whether a function may die without its message going to the dead-letter queue.
    fn may_die(&self) -> bool {
        self.receives.values().all(|count| *count < MAX_RECEIVES)
    }
}

/// Jobs that are cancelled.
#[derive(Default)]
struct Cancellations {
    /// When each is cancelled, from the last step to the first.
    planned: Vec<(u32, JobId)>,
    /// The jobs for which a cancellation has ended, and the chunks that a worker had received before.
    ended: HashMap<JobId, HashSet<u32>>,
    received: HashMap<JobId, HashSet<u32>>,
}

impl Cancellations {
    /// Cancels some of the jobs once, some of them twice, at any moment.
    fn of(files: &[File], rng: &mut StdRng) -> Self {
        let mut planned = Vec::new();
        for file in files {
            let job = JobId::for_object("inbox", &file.key, &file.version);
            let times = [0, 0, 1, 2].choose(rng).unwrap();
            planned.extend((0..*times).map(|_| (rng.random_range(0..400), job)));
        }
        planned.sort_unstable_by_key(|(step, _)| std::cmp::Reverse(*step));
        Self {
            planned,
            ..Self::default()
        }
    }

    /// Returns the job to cancel in this step, if it has started.
    async fn next(&mut self, world: &World, step: u32) -> Option<JobId> {
        let (_, job) = self.planned.pop_if(|(planned, _)| *planned <= step)?;
        world.table.0.head(job).await.unwrap().map(|_| job)
    }

    fn received(&mut self, messages: &[Message]) {
        for (body, _) in messages {
            if let Ok(WorkMessage::Chunk(chunk)) = WorkMessage::parse(body) {
                let received = self.received.entry(chunk.job).or_default();
                received.insert(chunk.ordinal);
            }
        }
    }

    fn ended(&mut self, job: JobId) {
        let received = self.received.get(&job).cloned().unwrap_or_default();
        self.ended.entry(job).or_insert(received);
    }
}

/// Simulates files with bad rows, crashes, and stores that are down for a while.
pub async fn simulate(seed: u64) -> Trace {
    let mut rng = StdRng::seed_from_u64(seed);
    let outages = Outages::random(&mut rng);
    let (trace, dead) = run(&outages, &mut rng).await;
    assert!(
        dead.iter().all(|chunk| chunk.code != DeadCode::StoreDown),
        "a chunk did not wait for its store"
    );
    trace
}

/// Simulates a store that does not return.
pub async fn simulate_endless_outage(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let outages = Outages::endless(&mut rng);
    run(&outages, &mut rng).await;
}

async fn run(outages: &Outages, rng: &mut StdRng) -> (Trace, Vec<DeadChunk>) {
    let chunk_bytes = *[1, 60, 200, 100_000].choose(rng).unwrap();
    let world = World::new(chunk_bytes, Kind::Plain);
    let files = files(rng);
    let mut notifications = Vec::new();
    for file in &files {
        let place = (file.key.clone(), file.version.clone());
        let mut versions = world.buckets.versions.lock().unwrap();
        versions.insert(place, file.bytes.clone());
        notifications.push(notification(file));
    }

    let faults_until = rng.random_range(0..2_000);
    let mut crashes = rng.random_range(0..6);
    let mut cancellations = Cancellations::of(&files, rng);
    let mut deliveries = Deliveries::default();
    let mut schedule = Schedule::new();
    let mut trace = Trace::new();
    let store_wait = i64::try_from(STORE_WAIT.as_millis()).unwrap();
    let mut calm_at = outages.end(store_wait);
    for step in 0.. {
        let time = &world.queue.time;
        time.pass(rng.random_range(1..10));
        outages.apply(&world);
        let now = time.millis();
        assert!(now < calm_at + CLOSES_WITHIN, "the jobs do not close");
        let next = world.queue.deliver_due();
        let waiting = world.queue.waiting.lock().unwrap().len();
        if notifications.is_empty() && waiting == 0 && schedule.len() == 0 {
            let Some(next) = next else { break };
            time.pass(next - now);
            continue;
        }
        if let Some(job) = cancellations.next(&world, step).await {
            let cause = Cause::Cancellation(job);
            let task = world.call(&cause);
            schedule.start(rng, cause, task);
            continue;
        }
        let may_start = schedule.len() == 0 || (schedule.len() < RUNNING && rng.random_bool(0.2));
        if may_start && (waiting > 0 || !notifications.is_empty()) {
            let cause = match notifications.pop_if(|_| waiting == 0 || rng.random_bool(0.3)) {
                Some(event) => Cause::Notification(event),
                None => Cause::Messages(deliveries.receive(&world, rng)),
            };
            if let Cause::Messages(messages) = &cause {
                cancellations.received(messages);
            }
            let task = world.call(&cause);
            schedule.start(rng, cause, task);
            continue;
        }
        if schedule.len() == 0 {
            continue;
        }
        let may_die = step < faults_until && crashes > 0 && deliveries.may_die();
        let dies = may_die && rng.random_bool(0.02);
        let (cause, outcome) = match schedule.step(rng, dies).await {
            Step::Progress => continue,
            Step::Ended(cause, outcome) => (cause, outcome),
            Step::Died(cause) => {
                crashes -= 1;
                calm_at = calm_at.max(now);
                (cause, Err(()))
            }
        };
        match (cause, outcome) {
            (Cause::Notification(event), Err(())) => notifications.push(event),
            (Cause::Messages(messages), outcome) => {
                trace.push((step, dies, messages.clone()));
                let failed = |body: &String| outcome.as_ref().map_or(true, |it| it.contains(body));
                let (failed, done): (Vec<_>, Vec<_>) =
                    messages.into_iter().partition(|(body, _)| failed(body));
                // A message that waits may be sent again with the same body. It is another message.
                deliveries
                    .receives
                    .retain(|body, _| done.iter().all(|(done, _)| done != body));
                deliveries.put_back(&world, failed);
            }
            (Cause::Cancellation(job), Ok(_)) => cancellations.ended(job),
            (Cause::Cancellation(job), Err(())) => cancellations.planned.push((step, job)),
            (Cause::Notification(_) | Cause::Confirmation(_), _) => {}
        }
    }
    assert_eq!(deliveries.dead_letters, [""; 0]);
    (trace, check(&world, &files, &cancellations).await)
}

/// Generates files with rows of keys of their own, a few of which no store accepts.
fn files(rng: &mut StdRng) -> Vec<File> {
    (0..rng.random_range(1..3))
        .map(|index| {
            let mut text = String::from("sku,name,description\n");
            text.extend((0..rng.random_range(1..14)).map(|row| {
                let name = match rng.random_range(0..40) {
                    0 => "refused",
                    1 => "panics",
                    2 => "unavailable",
                    _ => "sound",
                };
                format!("{index}.{row},{name},\n")
            }));
            File {
                key: format!("products/{index}.csv"),
                version: "v1".to_owned(),
                bytes: text.into(),
                time_ms: 1_000 + index,
            }
        })
        .collect()
}

/// Checks every job and every row. Returns all dead chunks.
async fn check(world: &World, files: &[File], cancellations: &Cancellations) -> Vec<DeadChunk> {
    let mut all_dead = Vec::new();
    let mut events: BTreeMap<String, CompletionEvent> = BTreeMap::new();
    for event in world.bus.events.lock().unwrap().iter() {
        let key = event.object.key.clone();
        let first = events.entry(key).or_insert_with(|| event.clone());
        assert_eq!(first, event, "a job has two different completions");
    }
    for file in files {
        let event = events.get(&file.key).expect("every job closes");
        let dead = dead_chunks(world, event).await;
        assert_eq!(event.dead as usize, dead.len());
        assert_eq!(event.dead_chunks.by_code.values().sum::<u32>(), event.dead);
        assert!(dead.starts_with(&event.dead_chunks.first));
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
        } else if index > 0 {
            assert_eq!(name, "sound", "{sku}");
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
    let Some(before) = cancellations.ended.get(&event.job) else {
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
