//! What the README promises to subscribers.

use std::collections::BTreeSet;

use landfall_auth::Scope;
use landfall_domain::{Counts, JobState};
use landfall_ledger::{ChunksView, JobView, LedgerTable};

use super::World;
use super::clients::{Client, Subject};
use super::fakes::topics;
use super::jobs::Job;

/// Checks everything that the clients have received.
pub async fn check(world: &World) {
    for client in &world.clients {
        let frames = world.gateway.open.lock().unwrap().get(&client.id).cloned();
        let Some(frames) = frames else {
            assert!(client.has_vanished);
            continue;
        };
        let mut received = Vec::new();
        for (at, frame) in &frames {
            if frame["type"] == "error" {
                let detail = frame["detail"].as_str().unwrap();
                assert!(detail.contains("does not cover"), "{detail}");
                continue;
            }
            let job: JobView = serde_json::from_value(frame["job"].clone()).unwrap();
            assert!(
                client.grant.allows(Scope::Read, job.dataset.as_deref()),
                "{} received a job that its token does not cover: {frame}",
                client.id
            );
            let is_completion = frame["type"] == "completed";
            let published = world.ledger.published.lock().unwrap();
            assert!(
                !is_completion || published.get(&job.id).is_some_and(|since| since <= at),
                "{} received a completion before the event of the job: {frame}",
                client.id
            );
            received.push((is_completion, job));
        }
        for job in &world.jobs {
            check_job(world, client, job, &received).await;
        }
    }
    check_table(world);
}

async fn check_job(world: &World, client: &Client, job: &Job, received: &[(bool, JobView)]) {
    let id = job.id();
    let received = received.iter().filter(|(_, view)| view.id == id);
    let completions = received.clone().filter(|(is_completion, _)| *is_completion);
    if world.is_calm {
        assert!(completions.clone().count() <= 1, "job {id} completed twice");
    }
    let dataset_since = client
        .subscriptions
        .iter()
        .find(|(subject, _)| matches!(subject, Subject::Dataset(name) if job.dataset() == Some(*name)))
        .map(|(_, since)| *since);
    let is_subscribed = client.subscriptions.contains_key(&Subject::Job(id));
    if !client.grant.allows(Scope::Read, job.dataset()) {
        return;
    }

    let head = world.ledger.table.0.head(id).await.unwrap().unwrap();
    let last = JobView::read(&world.ledger.table.0, &head).await.unwrap();
    if head.published {
        let published = world.ledger.published.lock().unwrap()[&id];
        if is_subscribed || dataset_since.is_some_and(|since| since <= published) {
            let mut completions = completions.peekable();
            assert!(
                completions.peek().is_some(),
                "{} did not receive the completion of job {id}",
                client.id
            );
            for (_, view) in completions {
                assert_eq!(state(view), state(&last));
            }
        }
        return;
    }
    // A subscriber to a dataset receives the jobs that are open or change later.
    let changed = world.ledger.changed.lock().unwrap()[&id];
    let is_current = |since| since <= changed || head.state == JobState::Open;
    let missed = world.gateway.missed.lock().unwrap();
    let was_missed = missed.contains(&(client.id.clone(), id.to_string()));
    if (is_subscribed || dataset_since.is_some_and(is_current)) && !was_missed {
        assert!(
            received
                .clone()
                .any(|(_, view)| state(view) == state(&last)),
            "{} did not receive the last state of job {id}",
            client.id
        );
    }
}

/// Returns what does not depend on when a job is looked at.
fn state(view: &JobView) -> (JobState, ChunksView, Option<Counts>) {
    (view.state, view.chunks, view.counts.clone())
}

/// Checks that the connections that are open are recorded with exactly their subscriptions.
fn check_table(world: &World) {
    let items = world.connections.items.lock().unwrap();
    for client in world.clients.iter().filter(|client| !client.has_vanished) {
        let subscribed: BTreeSet<String> = items
            .keys()
            .filter(|(pk, sk)| *sk == client.id && !pk.starts_with("completed/"))
            .map(|(topic, _)| topic.clone())
            .collect();
        let connection = (format!("connection/{}", client.id), "connection".to_owned());
        assert_eq!(topics(&items[&connection]), subscribed, "{}", client.id);
    }
}
