//! The circuit of a destination, of which the ledger has a copy that all relays share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use landfall_destinations::Permit;
use landfall_ledger::{DestinationError, StoredDestination};
use tracing::{info, warn};

use crate::busy::Busy;
use crate::{Context, RelayError};

/// How often the ledger is asked, while a batch is sent, whether the destination is paused.
const CHECKS_EVERY: SignedDuration = SignedDuration::from_secs(5);

/// The circuit while a batch is sent.
pub(crate) struct Circuit<'a> {
    context: &'a Context,
    name: &'a str,
    is_probe: bool,
    state: Mutex<StoredDestination>,
    /// When the ledger was last asked whether the destination is paused.
    checked_at: Mutex<Timestamp>,
}

impl<'a> Circuit<'a> {
    /// Returns the circuit if calls may be sent: any number of them, or one as a probe. Returns none if the destination
    /// is paused, or another relay works on it.
    pub(crate) async fn enter(
        context: &'a Context,
        name: &'a str,
        busy: &Busy<'_>,
    ) -> Result<Option<Self>, RelayError> {
        let checked_at = Mutex::new(context.clock.now());
        let mut stored = context.destinations_table.destination(name).await?;
        if stored.pause.is_some() || busy.is_of_another(stored.busy_until) {
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
                stored.breaker = claimed;
                stored.revision = revision;
                true
            }
        };
        Ok(Some(Self {
            context,
            name,
            is_probe,
            state: Mutex::new(stored),
            checked_at,
        }))
    }

    /// Returns whether only one key may be sent.
    pub(crate) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// Returns whether another call may be sent.
    pub(crate) async fn may_call(&self) -> Result<bool, RelayError> {
        let now = self.context.clock.now();
        let is_checked = {
            let checked_at = self.checked_at.lock();
            let mut checked_at = checked_at.unwrap_or_else(PoisonError::into_inner);
            let is_checked = now.duration_since(*checked_at) < CHECKS_EVERY;
            if !is_checked {
                *checked_at = now;
            }
            is_checked
        };
        if !is_checked {
            let stored = self.context.destinations_table.destination(self.name);
            let pause = stored.await?.pause;
            self.state().pause = pause;
        }
        let state = self.state();
        Ok(state.pause.is_none() && (self.is_probe || state.breaker.open().is_none()))
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

    /// Adds errors, the newest last, to those that are shown. Failures to do so lose nothing that matters.
    pub(crate) async fn add_errors(&self, errors: Vec<DestinationError>) {
        let notes = {
            let mut state = self.state();
            state.notes.add(errors);
            state.notes.clone()
        };
        let table = &self.context.destinations_table;
        if let Err(error) = table.save_notes(self.name, &notes).await {
            warn!(destination = self.name, %error, "the errors are not stored");
        }
    }

    fn state(&self) -> MutexGuard<'_, StoredDestination> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
