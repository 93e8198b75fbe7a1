//! Destinations as clients see them: in responses of the HTTP API, and on the command line.

use jiff::Timestamp;
use landfall_destinations::{Destination, Permit};
use serde::{Deserialize, Serialize};

use crate::{Pause, StoredDestination};

/// A destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = DestinationStatus))]
pub struct DestinationView {
    /// Its name.
    pub name: String,
    /// The dataset whose rows are sent.
    pub dataset: String,
    /// Who has paused it, and when: nothing is sent until it is resumed.
    pub paused: Option<Pause>,
    /// Whether calls are sent.
    pub circuit: CircuitState,
    /// Why nothing is sent.
    pub problem: Option<String>,
}

/// Whether calls are sent to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CircuitState {
    /// As many as its limits allow.
    Closed,
    /// None, as several in a row have failed.
    Open,
    /// One at a time, to try whether the service is back.
    HalfOpen,
}

impl CircuitState {
    /// Returns the word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl DestinationView {
    /// Returns what is to be shown of a destination.
    pub fn new(destination: &Destination, stored: &StoredDestination, now: Timestamp) -> Self {
        let circuit = match stored.breaker.permit(now) {
            Permit::Go => CircuitState::Closed,
            Permit::Wait(_) => CircuitState::Open,
            Permit::Probe(_) => CircuitState::HalfOpen,
        };
        let noted = stored.notes.problem.as_ref();
        let open = stored.breaker.open().map(|open| {
            format!(
                "the service has failed since {:.0}: {}; the next attempt follows at {:.0}",
                open.since, open.reason, open.probe_at
            )
        });
        Self {
            name: destination.name.clone(),
            dataset: destination.dataset().name.clone(),
            paused: stored.pause.clone(),
            circuit,
            problem: noted.map(|noted| noted.message.clone()).or(open),
        }
    }
}
