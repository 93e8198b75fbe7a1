//! The circuit of a destination, of which the ledger has a copy that all relays share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use landfall_destinations::Permit;
use landfall_ledger::StoredDestination;
use tracing::{info, warn};

use crate::busy::Busy;
use crate::{Context, RelayError};

/// The circuit while a batch is sent.
pub(crate) struct Circuit<'a> {
    context: &'a Context,
    name: &'a str,
    is_probe: bool,
    state: Mutex<StoredDestination>,
}

impl<'a> Circuit<'a> {
    /// Returns the circuit if calls may be sent: any number of them, or one as a probe. Returns none if another relay
    /// works on the destination.
    pub(crate) async fn enter(
        context: &'a Context,
        name: &'a str,
        busy: &Busy<'_>,
    ) -> Result<Option<Self>, RelayError> {
        let mut stored = context.destinations_table.destination(name).await?;
        if busy.is_of_another(stored.busy_until) {
            return Ok(None);
        }
        let is_probe = match stored.breaker.permit(context.clock.now()) {
            Permit::Go => false,
            Permit::Wait(_) => return Ok(None),
            Permit::Probe(claimed) => {
                let saved =
                    context
                        .destinations_table
                        .save_breaker(name, &claimed, stored.revision);
                let Some(revision) = saved.await? else {
                    return Ok(None);
                };
                stored = StoredDestination {
                    breaker: claimed,
                    revision,
                    ..stored
                };
                true
            }
        };
        Ok(Some(Self {
            context,
            name,
            is_probe,
            state: Mutex::new(stored),
        }))
    }

    /// Returns whether only one key may be sent.
    pub(crate) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// Returns whether another call may be sent.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_probe || self.state().breaker.open().is_none()
    }

    /// Returns when a probe may be sent, if the circuit is open.
    pub(crate) fn probe_at(&self) -> Option<Timestamp> {
        self.state().breaker.open().map(|open| open.probe_at)
    }

    /// Records what a reply says about the service, and stores the circuit if it opens or closes.
    pub(crate) async fn note(
        &self,
        now: Timestamp,
        failure: Option<(String, Option<Duration>)>,
        random: f64,
    ) {
        let changed = {
            let mut state = self.state();
            let before = state.breaker.open().cloned();
            match &failure {
                None => state.breaker.succeeded(self.is_probe),
                Some((reason, asked)) => {
                    state
                        .breaker
                        .failed(now, reason, *asked, random, self.is_probe);
                }
            }
            let is_changed = state.breaker.open() != before.as_ref();
            is_changed.then(|| state.clone())
        };
        let Some(StoredDestination {
            breaker, revision, ..
        }) = changed
        else {
            return;
        };
        if let Some(open) = breaker.open() {
            let (reason, probe_at) = (&open.reason, open.probe_at);
            warn!(destination = self.name, reason, %probe_at, "the circuit is open");
        } else {
            info!(destination = self.name, "the circuit is closed");
        }
        let saved = self
            .context
            .destinations_table
            .save_breaker(self.name, &breaker, revision);
        match saved.await {
            Ok(Some(revision)) => self.state().revision = revision,
            // Another relay has opened it, too.
            Ok(None) => {}
            Err(error) => {
                warn!(destination = self.name, %error, "the state of the circuit is not stored");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, StoredDestination> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
