use std::collections::BTreeSet;

use aws_lambda_events::event::dynamodb;
use landfall_domain::JobId;
use landfall_ledger::job_of_item;
use serde::Deserialize;
use tracing::{error, info};

use crate::queue::PushMessage;
use crate::{Context, SocketError};

/// Enqueues a push for each job that has changed.
pub(crate) async fn enqueue_pushes(
    context: &Context,
    event: &dynamodb::Event,
) -> Result<(), SocketError> {
    let messages: Vec<_> = changed_jobs(event)
        .into_iter()
        .map(|job| PushMessage { job, to: None })
        .collect();
    context.queue.send(&messages).await?;
    // The local endpoint starts no other invocation until this one has logged a line, or for 50 ms.
    info!(
        records = event.records.len(),
        jobs = messages.len(),
        "pushes enqueued"
    );
    Ok(())
}

/// Returns the jobs whose items have changed.
fn changed_jobs(event: &dynamodb::Event) -> BTreeSet<JobId> {
    #[derive(Deserialize)]
    struct Key {
        pk: String,
    }
    let mut jobs = BTreeSet::new();
    for record in &event.records {
        if record.event_name == "REMOVE" {
            continue;
        }
        match serde_dynamo::from_item::<_, Key>(record.change.keys.clone()) {
            // Items of datasets and tokens belong to no job.
            Ok(key) => jobs.extend(job_of_item(&key.pk)),
            // A retry of the batch would fail on it again, and hold up the records after it.
            Err(error) => error!(%error, "a record of the ledger's stream has no key"),
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_changed_in_many_places_is_pushed_once() {
        let event = include_str!("../../../events/ledger-stream.json");
        let event = serde_json::from_str(event).unwrap();
        let jobs: Vec<_> = changed_jobs(&event)
            .into_iter()
            .map(|job| job.to_string())
            .collect();
        // Records of its head and of two marks in a shard. The others are a removal and a dataset.
        assert_eq!(jobs, ["0b5ffb8b-8a36-8f8f-8b6b-1b4e0dbb5f0a"]);
    }
}
