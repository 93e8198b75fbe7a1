use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use futures::future::join;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use landfall_aws::{DestinationLookup, Lookup};
use landfall_destinations::Destination;
use landfall_domain::CompletionEvent;
use landfall_ledger::{DestinationError, LedgerError};
use landfall_runtime::{BatchLimits, Deadline, Message, batch_response, process_batch};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{Span, error, info, warn};

use crate::batch::{Leased, is_fast, send_batch};
use crate::bell::Bells;
use crate::busy::Busy;
use crate::circuit::Circuit;
use crate::notify::{accept, send_due};
use crate::{Context, RelayError, Scope, tasks};

/// The time that is left for recording results when calls are over.
const RESERVE: Duration = Duration::from_secs(15);
/// The number of definitions that are listed at once. If there are as many, there may be more.
const MAX_DEFINITIONS: usize = 1_000;
/// The number of definitions that are read at a time.
const LOOKUPS: usize = 16;
/// The maximum number of destinations that an invocation works on at a time.
const CONCURRENCY: usize = 4;

/// Sends the changes of all destinations and the notifications that are due, on the schedule; or the changes of those
/// destinations that messages of the relay queue name. Messages with completion events become notifications, which are
/// sent at once. Returns the messages that must be redelivered.
pub async fn handle(
    context: &Context,
    event: Value,
    deadline: Deadline,
) -> Result<Option<SqsBatchResponse>, RelayError> {
    let left = deadline
        .stop_at(RESERVE)
        .saturating_duration_since(Instant::now());
    let now = context.clock.now();
    let stop_at = now.saturating_add(left).unwrap_or(now);
    if event.get("Records").is_none() {
        let relayed = run(context, &Scope::All, stop_at);
        let (relayed, notified) = join(relayed, send_due(context, stop_at)).await;
        return relayed.and(notified).map(|()| None);
    }
    let event: SqsEvent = serde_json::from_value(event)?;
    if let Some(scope) = Scope::of_messages(&event) {
        return run(context, &scope, stop_at).await.map(|()| None);
    }
    let limits = BatchLimits {
        stop_at: deadline.stop_at(RESERVE),
        concurrency: CONCURRENCY,
    };
    let failed = process_batch(
        event,
        limits,
        |_| Span::none(),
        async |messages: &[Message]| {
            for message in messages {
                accept(context, &completion(&message.body)?).await?;
            }
            Ok::<_, RelayError>(())
        },
    );
    let failed = failed.await;
    // Those that are recorded are not lost: the next run on the schedule sends them.
    if let Err(error) = send_due(context, stop_at).await {
        error!(%error, "notifications are not sent");
    }
    Ok(Some(batch_response(failed)))
}

/// Returns the completion event in a message that a rule has sent.
fn completion(body: &str) -> Result<CompletionEvent, serde_json::Error> {
    #[derive(Deserialize)]
    struct Event {
        detail: CompletionEvent,
    }
    serde_json::from_str(body).map(|event: Event| event.detail)
}

/// Sends the changes of the destinations of a scope; no call goes on after `stop_at`. A failure of one does not stop
/// the others.
pub async fn run(context: &Context, scope: &Scope, stop_at: Timestamp) -> Result<(), RelayError> {
    let destinations = tracked(context, scope).await?;
    let relayed = stream::iter(&destinations).map(async |destination| {
        let problem = match relay(context, destination, stop_at).await {
            // It is paused, it fails, or another relay works on it.
            Ok(false) => return,
            Ok(true) => None,
            Err(error) => {
                error!(destination = destination.name, %error, "changes are not sent");
                Some(error)
            }
        };
        note_problem(context, &destination.name, problem).await;
    });
    relayed.buffer_unordered(CONCURRENCY).collect::<()>().await;
    Ok(())
}

/// Sends the changes of a destination, carries out its tasks, and rings the relay for what is due soon. Returns whether
/// it could be worked on.
async fn relay(
    context: &Context,
    destination: &Destination,
    stop_at: Timestamp,
) -> Result<bool, RelayError> {
    let mut busy = Busy::new(context, &destination.name);
    let mut bells = Bells::default();
    let sent = send_all(context, destination, &mut busy, &mut bells, stop_at).await;
    let ended = busy.end().await;
    bells.ring(context, destination).await;
    let could_send = sent?;
    ended?;
    Ok(could_send)
}

/// Sends the changes of a destination, and carries out its tasks, until nothing is left, or the time is over. Returns
/// whether calls could be sent.
async fn send_all(
    context: &Context,
    destination: &Destination,
    busy: &mut Busy<'_>,
    bells: &mut Bells,
    stop_at: Timestamp,
) -> Result<bool, RelayError> {
    let mut ahead = None;
    let sent = send_from(context, destination, busy, bells, &mut ahead, stop_at).await;
    if let Some(leased) = ahead {
        leased.release(context, destination).await;
    }
    sent
}

/// As [`send_all`]. `ahead` has keys that are leased while others are sent.
async fn send_from(
    context: &Context,
    destination: &Destination,
    busy: &mut Busy<'_>,
    bells: &mut Bells,
    ahead: &mut Option<Leased>,
    stop_at: Timestamp,
) -> Result<bool, RelayError> {
    let least = Duration::from_secs(destination.limits.timeout_seconds);
    let latest = stop_at.saturating_sub(least).unwrap_or(stop_at);
    // Tasks make keys due only while few are, so that other changes need not wait for all of theirs.
    let (mut are_few_due, mut has_tasks) = (true, false);
    let mut could_send = false;
    loop {
        let now = context.clock.now();
        if now >= latest {
            bells.add(now);
            return Ok(could_send);
        }
        busy.go_on().await?;
        let Some(circuit) = Circuit::enter(context, &destination.name, busy).await? else {
            return Ok(could_send);
        };
        could_send = true;
        if are_few_due {
            has_tasks = tasks::step(context, destination, latest).await?;
        }
        let leased = match ahead.take() {
            Some(leased) if circuit.is_probe() => {
                leased.release(context, destination).await;
                Leased::next(context, destination, true).await?
            }
            Some(leased) => Some(leased),
            None => Leased::next(context, destination, circuit.is_probe()).await?,
        };
        let Some(leased) = leased else {
            if !has_tasks {
                bells.forget_past(now);
                if !busy.end().await? {
                    return Ok(could_send);
                }
            }
            are_few_due = true;
            continue;
        };
        are_few_due = !leased.is_full;
        let sending = send_batch(context, destination, &circuit, bells, &leased, stop_at);
        let may_go_on = if leased.is_full && is_fast(destination) && !circuit.is_probe() {
            let (sent, next) = join(sending, Leased::next(context, destination, false)).await;
            *ahead = next?;
            sent?
        } else {
            sending.await?
        };
        if !may_go_on {
            return Ok(could_send);
        }
    }
}

/// Records why a relay could send nothing, or that it could.
async fn note_problem(context: &Context, name: &str, problem: Option<RelayError>) {
    let problem = problem.map(|error| error.to_string());
    let noted = async {
        let mut notes = context.destinations_table.destination(name).await?.notes;
        let known = notes.problem.as_ref().map(|problem| &problem.message);
        if known == problem.as_ref() {
            return Ok(());
        }
        let now = context.clock.now();
        notes.problem = problem.map(|problem| DestinationError::new(now, &problem));
        context.destinations_table.save_notes(name, &notes).await
    };
    let noted: Result<(), LedgerError> = noted.await;
    if let Err(error) = noted {
        warn!(destination = name, %error, "the problem is not stored");
    }
}

/// Returns the destinations of a scope whose definitions are valid, after the store has begun to record changes for all
/// destinations of their datasets. On the schedule, the store also ceases to do so for datasets that no definition
/// names.
async fn tracked(context: &Context, scope: &Scope) -> Result<Vec<Destination>, RelayError> {
    let mut destinations = Vec::new();
    let mut by_dataset: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let names = context.definitions.names(None).await?;
    let mut is_known = names.len() < MAX_DEFINITIONS;
    let mut meant = BTreeSet::new();
    let looked_up = stream::iter(names).map(async |name| {
        let found = context.definitions.lookup(&name, &context.datasets).await;
        (name, found)
    });
    let mut looked_up = pin!(looked_up.buffered(LOOKUPS));
    while let Some((name, found)) = looked_up.next().await {
        let dataset = match found? {
            DestinationLookup::Found(destination) => {
                let dataset = destination.dataset().name.clone();
                if scope.has(&name, &dataset) {
                    destinations.push(*destination);
                    meant.insert(dataset.clone());
                }
                Some(dataset)
            }
            DestinationLookup::Bad(error, dataset) => {
                warn!(destination = name, %error, "the definition is invalid");
                is_known &= dataset.is_some();
                if *scope == Scope::All {
                    meant.extend(dataset.clone());
                }
                dataset
            }
            // It was deleted meanwhile.
            DestinationLookup::Unknown => None,
        };
        if let Some(dataset) = dataset {
            by_dataset.entry(dataset).or_default().insert(name);
        }
    }
    // What is recorded for a destination that is not named is deleted: nothing is named if one may be missing.
    if is_known {
        for (dataset, names) in by_dataset
            .iter()
            .filter(|(dataset, _)| meant.contains(*dataset))
        {
            let Lookup::Found(definition, _) = context.datasets.latest(dataset).await? else {
                continue;
            };
            let names: Vec<String> = names.iter().cloned().collect();
            if let Err(error) = context.store.track(&definition, &names).await {
                error!(dataset, %error, "changes are not recorded");
            }
        }
        if *scope == Scope::All {
            untrack(context, |name| !by_dataset.contains_key(name)).await;
        }
    }
    Ok(destinations)
}

/// Makes the store record no more changes of datasets that have no destination.
async fn untrack(context: &Context, is_left: impl Fn(&str) -> bool) {
    let tracked = match context.store.tracked().await {
        Ok(tracked) => tracked,
        Err(error) => {
            error!(%error, "recording does not end");
            return;
        }
    };
    for dataset in tracked.iter().filter(|dataset| is_left(&dataset.name)) {
        let name = &dataset.name;
        info!(dataset = name, "changes are recorded no more");
        if let Err(error) = context.store.track(dataset, &[]).await {
            error!(dataset = name, %error, "what is recorded is not deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use landfall_domain::JobState;

    use super::*;

    #[test]
    fn a_message_has_the_completion_event_that_a_rule_has_sent() {
        let sample = include_str!("../../../events/sqs-completion.json");
        let event: SqsEvent = serde_json::from_str(sample).unwrap();
        let body = event.records[0].body.as_ref().unwrap();
        let completion = completion(body).unwrap();
        assert_eq!(completion.state, JobState::Succeeded);
        assert_eq!(completion.dataset.as_deref(), Some("orders"));
        assert!(super::completion("{\"detail\":{}}").is_err());
    }
}
