//! Circuit breakers: while a store is down, chunks wait for it instead of using up their tries.
//!
//! The first worker that cannot reach a store opens its circuit in the ledger. From then on, every worker has its
//! chunks wait, and one worker at a time tries again with its chunk (*half-open*). Once the store responds to that, the
//! circuit is closed. If a worker dies while it tries, another one follows after a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use landfall_domain::StoreKind;
use landfall_ledger::{Circuit, CircuitTable, LedgerError};
use landfall_runtime::{Metric, Metrics, jittered};
use tracing::{error, info, warn};

use crate::{Wait, WorkError};

/// Returns the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How long a worker uses the state that it read last.
const FRESH: SignedDuration = SignedDuration::from_secs(3);
/// The time between a failed attempt to reach a store and the next one.
const PROBE_AFTER: SignedDuration = SignedDuration::from_secs(5);
/// The time after which another worker tries, if the one that does so does not report. Longer than stores wait for a
/// connection.
const PROBE_LEASE: SignedDuration = SignedDuration::from_secs(45);
/// The shortest and the longest wait in seconds. Waits are as long as the store has been down, within these limits.
const SHORTEST_WAIT: i64 = 2;
const LONGEST_WAIT: i64 = 30;

/// The circuits of the stores.
pub(crate) struct Circuits {
    table: Arc<dyn CircuitTable>,
    clock: Clock,
    metrics: Metrics,
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    read_at: Option<Timestamp>,
    open: Vec<Circuit>,
}

impl Circuits {
    pub(crate) fn new(table: Arc<dyn CircuitTable>, clock: Clock, metrics: Metrics) -> Self {
        Self {
            table,
            clock,
            metrics,
            cached: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Fails with [`WorkError::Wait`] if a store is down, unless it is time to try whether it is back.
    pub(crate) async fn admit(&self) -> Result<(), WorkError> {
        let open = self.open().await?;
        let now = self.now();
        if let Some(circuit) = open.iter().find(|circuit| circuit.probe_at > now) {
            return Err(self.wait(circuit));
        }
        for circuit in &open {
            if !self.table.claim_probe(circuit, now + PROBE_LEASE).await? {
                self.cached().read_at = None;
                return Err(self.wait(circuit));
            }
            info!(
                store = circuit.store.as_str(),
                "trying whether the store is back"
            );
        }
        Ok(())
    }

    /// Closes the circuit of a store that has responded, if it is known to be open.
    pub(crate) async fn note_response(&self, store: StoreKind) {
        let circuit = {
            let open = &mut self.cached().open;
            let index = open.iter().position(|open| open.store == store);
            index.map(|index| open.remove(index))
        };
        let Some(circuit) = circuit else {
            return;
        };
        match self.table.close_circuit(&circuit).await {
            Ok(()) => info!(store = store.as_str(), since = %circuit.since, "the store is back"),
            // The next worker that tries closes it.
            Err(error) => warn!(%error, "the circuit of a store stays open"),
        }
    }

    /// Returns a [`WorkError::Wait`] instead of an error of a store that is down, whose circuit it opens.
    pub(crate) async fn wait_if_down(&self, error: WorkError) -> WorkError {
        let Some((store, reason)) = error.store_down() else {
            return error;
        };
        self.metrics.write(None, None, &[Metric::StoreDown]);
        let now = self.now();
        let circuit = Circuit {
            store,
            since: now,
            reason: reason.to_owned(),
            probe_at: now + PROBE_AFTER,
        };
        match self.table.open_circuit(&circuit).await {
            Ok(circuit) => {
                error!(store = store.as_str(), reason, since = %circuit.since, "a store is down");
                let wait = self.wait(&circuit);
                self.cached().read_at = None;
                wait
            }
            Err(error) => error.into(),
        }
    }

    fn wait(&self, circuit: &Circuit) -> WorkError {
        let down_for = (self.now() - circuit.since).get_seconds();
        let longest = down_for.clamp(SHORTEST_WAIT, LONGEST_WAIT);
        WorkError::Wait(Wait {
            seconds: jittered(u32::try_from(longest).unwrap_or_default()),
            reason: format!("{} is down: {}", circuit.store, circuit.reason),
            store: Some(circuit.store),
        })
    }

    async fn open(&self) -> Result<Vec<Circuit>, LedgerError> {
        let now = self.now();
        {
            let cached = self.cached();
            if cached.read_at.is_some_and(|read_at| now - FRESH < read_at) {
                return Ok(cached.open.clone());
            }
        }
        let open = self.table.open_circuits().await?;
        *self.cached() = Cached {
            read_at: Some(now),
            open: open.clone(),
        };
        Ok(open)
    }

    fn cached(&self) -> MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
