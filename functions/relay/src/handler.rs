use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use landfall_aws::{DestinationLookup, Lookup};
use landfall_destinations::Destination;
use landfall_ledger::{DestinationError, LedgerError};
use landfall_runtime::Deadline;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::batch::{Sending, send_batch};
use crate::circuit::Circuit;
use crate::{Context, RelayError, tasks};

/// The time that is left for recording results when calls are over.
const RESERVE: Duration = Duration::from_secs(15);
/// The number of definitions that are listed at once. If there are as many, there may be more.
const MAX_DEFINITIONS: usize = 1_000;
/// The maximum number of destinations that an invocation works on at a time.
const CONCURRENCY: usize = 4;

/// Sends the changes of all destinations. The event is that of the schedule, and its content is not read.
pub async fn handle(context: &Context, _: Value, deadline: Deadline) -> Result<(), RelayError> {
    let left = deadline
        .stop_at(RESERVE)
        .saturating_duration_since(Instant::now());
    let now = context.clock.now();
    run(context, now.saturating_add(left).unwrap_or(now)).await
}

/// Sends the changes of all destinations; no call goes on after `stop_at`. A failure of one does not stop the others.
pub async fn run(context: &Context, stop_at: Timestamp) -> Result<(), RelayError> {
    let destinations = tracked(context).await?;
    let relayed = stream::iter(&destinations).map(async |destination| {
        let relayed = relay(context, destination, stop_at).await;
        if let Err(error) = &relayed {
            error!(destination = destination.name, %error, "changes are not sent");
        }
        note_problem(context, &destination.name, relayed.err()).await;
    });
    relayed.buffer_unordered(CONCURRENCY).collect::<()>().await;
    Ok(())
}

/// Sends the changes of a destination, and carries out its tasks, until nothing is left, or the time is over.
async fn relay(
    context: &Context,
    destination: &Destination,
    stop_at: Timestamp,
) -> Result<(), RelayError> {
    let least = Duration::from_secs(destination.limits.timeout_seconds);
    let latest = stop_at.saturating_sub(least).unwrap_or(stop_at);
    // Tasks make keys due only while few are, so that other changes need not wait for all of theirs.
    let (mut are_few_due, mut has_tasks) = (true, false);
    while context.clock.now() < latest {
        let Some(circuit) = Circuit::enter(context, &destination.name).await? else {
            return Ok(());
        };
        if are_few_due {
            has_tasks = tasks::step(context, destination, latest).await?;
        }
        are_few_due = match send_batch(context, destination, circuit, stop_at).await? {
            Sending::Stopped => return Ok(()),
            Sending::Nothing if !has_tasks => return Ok(()),
            Sending::Nothing => true,
            Sending::Sent { is_full } => !is_full,
        };
    }
    Ok(())
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

/// Returns the destinations whose definitions are valid, after the store has begun to record changes for all of them,
/// and has ceased to do so for datasets that no definition names.
async fn tracked(context: &Context) -> Result<Vec<Destination>, RelayError> {
    let mut destinations = Vec::new();
    let mut by_dataset: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let names = context.definitions.names(None).await?;
    let mut is_known = names.len() < MAX_DEFINITIONS;
    for name in names {
        let dataset = match context.definitions.lookup(&name, &context.datasets).await? {
            DestinationLookup::Found(destination) => {
                let dataset = destination.dataset().name.clone();
                destinations.push(*destination);
                Some(dataset)
            }
            DestinationLookup::Bad(error, dataset) => {
                warn!(destination = name, %error, "the definition is invalid");
                is_known &= dataset.is_some();
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
        for (dataset, names) in &by_dataset {
            let Lookup::Found(definition, _) = context.datasets.latest(dataset).await? else {
                continue;
            };
            let names: Vec<String> = names.iter().cloned().collect();
            if let Err(error) = context.store.track(&definition, &names).await {
                error!(dataset, %error, "changes are not recorded");
            }
        }
        untrack(context, |name| !by_dataset.contains_key(name)).await;
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
