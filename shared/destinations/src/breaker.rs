//! Stops the calls to a service that is down.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use landfall_requests::wait;
use serde::{Deserialize, Serialize};

/// The number of failures in a row that opens the circuit.
const FAILURES: u32 = 5;
/// How long a probe may take before another one may be sent.
const PROBE: SignedDuration = SignedDuration::from_mins(2);

/// The circuit of a destination: while it is open, only probes are sent.
///
/// Only time-outs, failed connections, 429 and 5xx are failures: a row that the service refuses says nothing about the
/// service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// The number of failures in a row.
    failures: u32,
    /// Set while the circuit is open.
    open: Option<Open>,
}

/// An open circuit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Since when.
    pub since: Timestamp,
    /// When a probe may be sent.
    pub probe_at: Timestamp,
    /// Why the last call failed.
    pub reason: String,
    /// The number of probes that have failed.
    pub probes: u32,
}

/// Whether a call may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// As many as there are.
    Go,
    /// One, by the caller who stores this state: no other one probes at the same time.
    Probe(Breaker),
    /// None before this time.
    Wait(Timestamp),
}

impl Breaker {
    /// Returns whether calls may be sent.
    pub fn permit(&self, now: Timestamp) -> Permit {
        match &self.open {
            None => Permit::Go,
            Some(open) if now < open.probe_at => Permit::Wait(open.probe_at),
            Some(open) => Permit::Probe(Self {
                failures: self.failures,
                open: Some(Open {
                    probe_at: later(now, PROBE),
                    ..open.clone()
                }),
            }),
        }
    }

    /// Returns the open circuit, if it is open.
    pub fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// Records that a call was answered, whether the row was accepted or not. While the circuit is open, only the
    /// answer to a probe closes it.
    pub fn succeeded(&mut self, is_probe: bool) {
        if self.open.is_none() || is_probe {
            *self = Self::default();
        }
    }

    /// Records that a call failed. `asked` is how long the service asks to wait, and `random`, from 0 to 1, spreads
    /// probes. While the circuit is open, calls that were sent before that change nothing.
    pub fn failed(
        &mut self,
        now: Timestamp,
        reason: &str,
        asked: Option<Duration>,
        random: f64,
        is_probe: bool,
    ) {
        self.failures = self.failures.saturating_add(1);
        let probes = match &self.open {
            None if self.failures < FAILURES => return,
            None => 0,
            Some(_) if !is_probe => return,
            Some(open) => open.probes.saturating_add(1),
        };
        let wait = wait(probes.saturating_add(3), asked, random);
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        self.open = Some(Open {
            since: self.open.as_ref().map_or(now, |open| open.since),
            probe_at: later(now, wait),
            reason: reason.to_owned(),
            probes,
        });
    }
}

fn later(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn fail(breaker: &mut Breaker, second: i64, is_probe: bool) {
        breaker.failed(at(second), "down", None, 0.5, is_probe);
    }

    #[test]
    fn failures_in_a_row_open_the_circuit_and_a_probe_closes_it() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES - 1 {
            fail(&mut breaker, 0, false);
        }
        breaker.succeeded(false);
        for _ in 0..FAILURES - 1 {
            fail(&mut breaker, 0, false);
        }
        assert_eq!(breaker.permit(at(0)), Permit::Go);
        fail(&mut breaker, 0, false);
        let Permit::Wait(first) = breaker.permit(at(0)) else {
            panic!("{breaker:?}")
        };
        // Late answers to calls that were sent before.
        breaker.succeeded(false);
        fail(&mut breaker, 1, false);
        assert_eq!(breaker.permit(at(0)), Permit::Wait(first));
        let Permit::Probe(mut probing) = breaker.permit(first) else {
            panic!("{breaker:?}")
        };
        assert!(matches!(probing.permit(first), Permit::Wait(_)));
        let mut failing = probing.clone();
        failing.failed(first, "still down", None, 0.5, true);
        let open = failing.open().unwrap();
        assert_eq!((open.since, open.reason.as_str()), (at(0), "still down"));
        assert!(open.probe_at > first);
        probing.succeeded(true);
        assert_eq!(probing, Breaker::default());
    }

    proptest! {
        #[test]
        fn a_probe_is_always_possible_within_an_hour(steps in prop::collection::vec((0_u8..3, any::<bool>()), 0..60)) {
            let mut breaker = Breaker::default();
            let mut now = 0;
            for (kind, is_probe) in steps {
                now += 1;
                match kind {
                    0 => breaker.succeeded(is_probe),
                    1 => fail(&mut breaker, now, is_probe),
                    _ => if let Permit::Probe(claimed) = breaker.permit(at(now)) { breaker = claimed },
                }
                prop_assert!(!matches!(breaker.permit(at(now + 3700)), Permit::Wait(_)));
            }
        }
    }
}
