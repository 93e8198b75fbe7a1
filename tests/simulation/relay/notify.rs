//! Notifications: two relays whose clocks differ and which die at any point, events that are repeated, replies that are
//! lost, and webhooks that fail. Each event reaches each webhook that wants it, at least once and with one id, and
//! never after its delivery is recorded. What is not accepted within three days is set aside, and sent again on
//! request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::relay::{Context, RelayError, accept, send_due};
use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use landfall_aws::{Objects, Webhooks};
use landfall_destinations::RETRY_FOR;
use landfall_domain::{CompletionEvent, Counts, JobId, JobState};
use landfall_fetch::{Received, Transport, TransportError};
use landfall_ledger::{Notification, NotificationState, NotificationTable, NotificationsQuery};
use landfall_requests::{Revealed, Secrets};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::service::received;
use super::world::World;
use super::{FIELDS, ORDERS, Shared, context};
use crate::fakes::{Buckets, locked};
use crate::schedule::{Schedule, Step, Task, pause};

const SECOND: i64 = 1_000_000;
const EVENTS: usize = 6;
const SHOP: &str = "https://shop.example/hook";
const OPS: &str = "https://ops.example/hook";
/// Answers with 503 until the end.
const DEAD: &str = "https://dead.example/hook";

/// The URLs, and what they receive.
struct Hooks {
    world: Arc<World>,
    /// The ids of events, by URL and id of the notification.
    accepted: Shared<BTreeMap<(String, Uuid), Uuid>>,
    active: Shared<BTreeSet<Uuid>>,
    is_dead: Shared<bool>,
}

pub async fn simulate(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let world = Arc::new(World::new(seed, false));
    let hooks = Arc::new(Hooks {
        world: Arc::clone(&world),
        accepted: Shared::default(),
        active: Shared::default(),
        is_dead: true.into(),
    });
    let contexts =
        [-30 * SECOND, 30 * SECOND].map(|skew| Arc::new(notifying(&world, &hooks, skew)));
    let events: Vec<CompletionEvent> = (0..EVENTS).map(event).collect();
    let mut unaccepted: BTreeSet<usize> = (0..EVENTS).collect();
    let mut schedule: Schedule<Option<usize>, Result<(), RelayError>> = Schedule::new();
    let failing = world.now() + SignedDuration::from_mins(5);
    while world.now() < failing || !unaccepted.is_empty() {
        if schedule.len() < 4 && rng.random_bool(0.05) {
            let relay = Arc::clone(&contexts[rng.random_range(0..2)]);
            let index = rng.random_range(0..EVENTS);
            if rng.random_bool(0.3) {
                let event = events[index].clone();
                let accepting = Box::pin(async move { accept(&relay, &event).await });
                schedule.start(&mut rng, Some(index), accepting);
            } else {
                schedule.start(&mut rng, None, sending(&relay));
            }
        }
        world.pass(rng.random_range(0..20_000));
        if schedule.len() > 0 {
            let dies = rng.random_bool(0.002);
            if let Step::Ended(Some(index), Ok(())) = schedule.step(&mut rng, dies).await {
                unaccepted.remove(&index);
            }
        }
    }
    drop(schedule);
    *locked(&world.fails) = false;
    let retried = RETRY_FOR + SignedDuration::from_hours(3);
    settle(&world, &contexts, &mut rng, retried).await;
    redrive(&world).await;
    *locked(&hooks.is_dead) = false;
    settle(&world, &contexts, &mut rng, SignedDuration::from_hours(2)).await;
    check(&world, &hooks, &events).await;
}

/// Runs the relay for this time.
async fn settle(
    world: &World,
    contexts: &[Arc<Context>; 2],
    rng: &mut StdRng,
    time: SignedDuration,
) {
    let end = world.now() + time;
    while world.now() < end {
        let relay = &contexts[rng.random_range(0..2)];
        let mut running = Schedule::<(), _>::new();
        running.start(rng, (), sending(relay));
        while running.len() > 0 {
            world.pass(rng.random_range(0..20_000));
            if let Step::Ended((), ended) = running.step(rng, false).await {
                ended.unwrap();
            }
        }
        world.pass(rng.random_range(SECOND..2400 * SECOND));
    }
}

/// Checks what is set aside, and has it sent again.
async fn redrive(world: &World) {
    assert_eq!(listed(world, NotificationState::Waiting).await, []);
    let aside = listed(world, NotificationState::SetAside).await;
    assert_eq!(aside.len(), EVENTS);
    for notification in aside {
        assert_eq!(notification.url, DEAD);
        let ended = Timestamp::from_millisecond(notification.due_at).unwrap();
        let lasted = ended.duration_since(notification.since());
        // Clocks differ by a minute, and the last wait is an hour, until a run that is up to 40 minutes later.
        let least = RETRY_FOR - SignedDuration::from_mins(2);
        let most = RETRY_FOR + SignedDuration::from_mins(110);
        assert!(lasted > least && lasted < most, "{lasted}");
        let redriven = world
            .table
            .redrive_notification(notification.id, world.now());
        let redriven = redriven.await.unwrap().unwrap();
        assert_eq!(redriven.state, NotificationState::Waiting);
    }
}

/// Checks that each webhook has each event that it wants.
async fn check(world: &World, hooks: &Hooks, events: &[CompletionEvent]) {
    for state in [NotificationState::Waiting, NotificationState::SetAside] {
        assert_eq!(listed(world, state).await, []);
    }
    let mut expected = BTreeMap::new();
    for event in events {
        let is_completed = event.state == JobState::Succeeded;
        for (url, wants) in [(SHOP, is_completed), (OPS, true), (DEAD, true)] {
            let id = Uuid::new_v5(&event.id, url.as_bytes());
            expected.extend(wants.then(|| ((url.to_owned(), id), event.id)));
        }
    }
    assert_eq!(*locked(&hooks.accepted), expected);
}

async fn listed(world: &World, state: NotificationState) -> Vec<Notification> {
    let query = NotificationsQuery {
        state,
        until: i64::MAX,
        after: None,
        limit: 100,
    };
    let page = world.table.list_notifications(&query).await.unwrap();
    let ids: Vec<Uuid> = page.listed.iter().map(|listed| listed.place.id).collect();
    world.table.notifications(&ids).await.unwrap()
}

fn event(index: usize) -> CompletionEvent {
    let states = [
        JobState::Succeeded,
        JobState::Partial,
        JobState::Failed,
        JobState::Cancelled,
    ];
    let job = JobId::for_object("inbox", "orders/1.csv", &index.to_string());
    let event = json!({
        "id": CompletionEvent::id_for(job, 1),
        "job": job,
        "dataset": "orders",
        "object": {"bucket": "inbox", "key": "orders/1.csv", "etag": "e", "size": 1},
        "state": states[index % states.len()],
        "counts": Counts::default(),
        "chunks": 1,
        "created_at": "2026-11-20T08:30:00Z",
        "closed_at": "2026-11-20T08:31:00Z",
    });
    serde_json::from_value(event).unwrap()
}

fn notifying(world: &Arc<World>, hooks: &Arc<Hooks>, skew: i64) -> Context {
    let hook = |url: &str, rest: &str| {
        format!("[[notify]]\nurl = \"{url}\"\nsecret = \"{{secret:hook}}\"\n{rest}")
    };
    let buckets = Buckets::default();
    let place = |key: &str| ("config".to_owned(), key.to_owned());
    let installation = hook(OPS, "") + &hook(DEAD, "");
    let dataset = format!(
        "name = \"{ORDERS}\"\n{FIELDS}{}",
        hook(SHOP, "events = [\"job.completed\"]\n")
    );
    locked(&buckets.latest).extend([
        (place("notify.toml"), Bytes::from(installation)),
        (place("datasets/orders.toml"), Bytes::from(dataset)),
    ]);
    let objects = Arc::new(buckets) as Arc<dyn Objects>;
    Context {
        webhooks: Webhooks::new(objects, "config"),
        transport: Arc::new(Caller(Arc::clone(hooks))),
        secrets: Secrets::from_iter([("hook", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]),
        ..context(world, skew)
    }
}

fn sending(context: &Arc<Context>) -> Task<Result<(), RelayError>> {
    let context = Arc::clone(context);
    Box::pin(async move {
        let stop_at = context.clock.now() + SignedDuration::from_mins(1);
        send_due(&context, stop_at).await
    })
}

struct Caller(Arc<Hooks>);

/// A call whose caller waits for the answer.
struct Active<'a>(&'a Hooks, Uuid);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        locked(&self.0.active).remove(&self.1);
    }
}

impl Hooks {
    async fn sleep(&self, most: i64) {
        let time = locked(&self.world.rng).random_range(0..most);
        let end = self.world.micros() + time;
        while self.world.micros() < end {
            pause().await;
        }
    }
}

#[async_trait]
impl Transport for Caller {
    async fn send(&self, request: &Revealed) -> Result<Received, TransportError> {
        let hooks = &*self.0;
        let world = &hooks.world;
        let id = &request.headers["webhook-id"];
        let id: Uuid = id.to_str().unwrap().parse().unwrap();
        let stored = world.table.notifications(&[id]).await.unwrap();
        assert_eq!(
            stored[0].state,
            NotificationState::Waiting,
            "sent after its end"
        );
        assert!(
            locked(&hooks.active).insert(id),
            "sent by two relays at once"
        );
        let _active = Active(hooks, id);
        let url = request.url.to_string();
        hooks.sleep(SECOND / 5).await;
        if url == DEAD && *locked(&hooks.is_dead) {
            return Ok(received(503, HeaderMap::new(), &Value::Null));
        }
        if world.goes_wrong(0.2) {
            return Err(TransportError::Unreached("refused".to_owned()));
        }
        let body: Value = serde_json::from_slice(request.body.as_ref().unwrap()).unwrap();
        let event: Uuid = body["data"]["id"].as_str().unwrap().parse().unwrap();
        locked(&hooks.accepted).insert((url, id), event);
        if world.goes_wrong(0.2) {
            // A time-out, or an answer that is lost.
            hooks.sleep(30 * SECOND).await;
            return Err(TransportError::Failed("closed".to_owned()));
        }
        Ok(received(204, HeaderMap::new(), &Value::Null))
    }
}
