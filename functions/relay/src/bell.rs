//! What an invocation works on, and bells for later ones.

use std::collections::BTreeSet;

use aws_lambda_events::event::sqs::SqsEvent;
use jiff::Timestamp;
use landfall_aws::RelayMessage;
use landfall_destinations::Destination;
use tracing::warn;

use crate::Context;

/// The longest delay of a bell in seconds. A later run on the schedule follows within a minute anyway, and the queue
/// keeps messages only a little longer.
const LONGEST_DELAY: u32 = 50;
/// The maximum number of bells that a run sends for a destination.
const MAX_BELLS: usize = 10;

/// What an invocation works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All destinations, on the schedule.
    All,
    /// What the relay was rung for.
    Rung {
        /// Datasets whose destinations are meant.
        datasets: BTreeSet<String>,
        /// Single destinations.
        destinations: BTreeSet<String>,
    },
}

impl Scope {
    /// Returns the scope of messages of the relay queue, or none if they are of another queue. An event has messages of
    /// one queue only.
    pub(crate) fn of_messages(event: &SqsEvent) -> Option<Self> {
        let bodies = event
            .records
            .iter()
            .filter_map(|record| record.body.as_deref());
        let messages: Vec<_> = bodies
            .filter_map(|body| RelayMessage::parse(body).ok())
            .collect();
        (!messages.is_empty()).then(|| Self::rung(messages))
    }

    /// Returns the scope of messages.
    pub fn rung(messages: impl IntoIterator<Item = RelayMessage>) -> Self {
        let (mut datasets, mut destinations) = (BTreeSet::new(), BTreeSet::new());
        for message in messages {
            match message {
                RelayMessage::Dataset(name) => datasets.insert(name),
                RelayMessage::Destination(name) => destinations.insert(name),
            };
        }
        Self::Rung {
            datasets,
            destinations,
        }
    }

    /// Returns whether the destination of this name, which follows this dataset, belongs to it.
    pub(crate) fn has(&self, destination: &str, dataset: &str) -> bool {
        match self {
            Self::All => true,
            Self::Rung {
                datasets,
                destinations,
            } => datasets.contains(dataset) || destinations.contains(destination),
        }
    }
}

/// When a relay is to look for keys of a destination again, in seconds since 1970.
#[derive(Default)]
pub(crate) struct Bells(BTreeSet<i64>);

impl Bells {
    /// Adds the time at which something is due.
    pub(crate) fn add(&mut self, at: Timestamp) {
        let seconds = at.as_second() + i64::from(at.subsec_nanosecond() > 0);
        self.0.insert(seconds);
        if self.0.len() > MAX_BELLS {
            self.0.pop_last();
        }
    }

    /// Forgets what was due before a run that found nothing due.
    pub(crate) fn forget_past(&mut self, now: Timestamp) {
        self.0.retain(|at| *at > now.as_second());
    }

    /// Rings the relay for what is due before the schedule has a run for it.
    pub(crate) async fn ring(&self, context: &Context, destination: &Destination) {
        let now = context.clock.now().as_second();
        let message = RelayMessage::Destination(destination.name.clone());
        for at in &self.0 {
            let Ok(seconds @ ..=LONGEST_DELAY) = u32::try_from((at - now).max(0)) else {
                return;
            };
            if let Err(error) = context.bell.ring(&message, seconds).await {
                warn!(destination = destination.name, %error, "the relay cannot be rung");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_for_what_they_name() {
        let event = |bodies: &[&str]| {
            let records: Vec<_> = bodies
                .iter()
                .map(|body| json!({"messageId": "1", "body": body}))
                .collect();
            serde_json::from_value(json!({ "Records": records })).unwrap()
        };
        let rung = event(&[
            r#"{"dataset":"orders"}"#,
            r#"{"destination":"crm"}"#,
            "{}",
            "x",
        ]);
        let scope = Scope::of_messages(&rung).unwrap();
        assert!(scope.has("shop", "orders") && scope.has("crm", "products"));
        assert!(!scope.has("shop", "products") && !scope.has("orders", "crm"));
        let completed = event(&[r#"{"detail-type":"landfall.job.completed","detail":{}}"#]);
        assert_eq!(Scope::of_messages(&completed), None);
    }
}
