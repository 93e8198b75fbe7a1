//! Models of two protocols, beside numbered children in [`numbers`].
//!
//! A model of a key that is sent to a service, which checks every order of the steps: changes of the row, two relays
//! that lease, call, record and die, answers that are lost, refusals, and leases that end. What is called, and what an
//! answer means, is decided by the deployed code.

#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod key;
mod numbers;
mod service;

use landfall_destinations::{Destination, Draft};
use landfall_domain::Dataset;
use stateright::{Checker, HasDiscoveries, Model, Property};

use key::{Action, Lease, Relay, State};

/// What may happen at most.
const CHANGES: u8 = 3;
const CRASHES: u8 = 1;
const FAILURES: u8 = 1;
const REFUSALS: u8 = 1;

const DATASET: &str = "name = \"orders\"\nkey = [\"number\"]\nfields = [{ name = \"number\", type = \"integer\" }, \
                       { name = \"seq\", type = \"integer\" }]\n";
const BY_KEY: &str =
    "update = { path = \"/o/{{ number }}\" }\ndelete = { path = \"/o/{{ number }}\" }\n";
const BY_ID: &str = "id_from = \"id\"\nlookup = { path = \"/o?number={{ number }}\" }\ncreate = { path = \"/o\" }\n\
                     update = { path = \"/o/{{ remote_id }}\" }\ndelete = { path = \"/o/{{ remote_id }}\" }\n";

/// A destination, and the rules of its store and relays.
struct Rules {
    destination: Destination,
    /// Whether a lease ends only after the calls that were sent with it.
    leases_outlive_calls: bool,
}

impl Rules {
    fn new(operations: &str, leases_outlive_calls: bool) -> Self {
        let text = format!("dataset = \"orders\"\nurl = \"https://a.example\"\n{operations}");
        let dataset = Dataset::from_toml("orders.toml", DATASET).unwrap();
        let draft = Draft::parse("a", "a.toml", &text).unwrap();
        Self {
            destination: draft.check(&dataset).unwrap(),
            leases_outlive_calls,
        }
    }

    /// Returns whether a lease may end.
    fn may_end(&self, state: &State, lease: &Lease) -> bool {
        let holder = state
            .relays
            .iter()
            .find(|relay| relay.lease() == Some(lease.number));
        let is_called = state.calls.iter().any(|call| call.lease == lease.number);
        match holder {
            // It has died.
            None => !is_called || !self.leases_outlive_calls,
            Some(_) => state.crashes > 0 && (!is_called || !self.leases_outlive_calls),
        }
    }
}

impl Model for Rules {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(CHANGES, CRASHES, FAILURES, REFUSALS)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.changes > 0 {
            actions.extend([Action::Write, Action::Delete]);
        }
        if state.is_aside {
            actions.push(Action::Redrive);
        }
        for (index, relay) in state.relays.iter().enumerate() {
            match relay {
                Relay::Idle if state.is_due() => actions.push(Action::Lease(index)),
                Relay::Working(work) => {
                    let is_leased = state
                        .lease
                        .as_ref()
                        .is_some_and(|lease| lease.number == work.lease);
                    actions.push(if is_leased {
                        Action::Step(index)
                    } else {
                        Action::GiveUp(index)
                    });
                }
                Relay::Idle | Relay::Calling(_) => {}
                Relay::Recording(..) => actions.push(Action::Record(index)),
            }
            if !matches!(relay, Relay::Idle) && state.crashes > 0 {
                actions.push(Action::Crash(index));
            }
        }
        for call in &state.calls {
            for fate in state.fates() {
                actions.push(Action::Serve(call.lease, fate));
            }
        }
        if state
            .lease
            .as_ref()
            .is_some_and(|lease| self.may_end(state, lease))
        {
            actions.push(Action::EndLease);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.apply(&self.destination, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no older version after a newer one", |_, state: &State| {
                !state.service.is_overtaken
            }),
            Property::always("one call at a time", |_, state: &State| {
                state.calls.len() <= 1
            }),
            Property::always(
                "the last version is sent or set aside",
                |rules: &Self, state: &State| {
                    let mut actions = Vec::new();
                    rules.actions(state, &mut actions);
                    !actions.is_empty() || state.is_settled()
                },
            ),
            Property::sometimes("a change is set aside", |_, state: &State| state.is_aside),
            Property::sometimes("an outcome is uncertain", |_, state: &State| {
                state.is_uncertain
            }),
            Property::sometimes(
                "all is sent after crashes and failures",
                |_, state: &State| {
                    let used = state.changes + state.crashes + state.failures + state.refusals;
                    used == 0 && state.is_settled()
                },
            ),
        ]
    }
}

fn check(operations: &str) {
    let checker = Rules::new(operations, true)
        .checker()
        .threads(2)
        .spawn_bfs()
        .join();
    checker.assert_properties();
}

#[test]
fn a_service_with_our_keys_follows_in_order() {
    check(BY_KEY);
}

#[test]
fn a_service_with_its_own_ids_follows_in_order() {
    check(BY_ID);
}

/// The checks can fail.
#[test]
fn a_lease_that_ends_during_a_call_is_found() {
    let expected = ["no older version after a newer one", "one call at a time"];
    let checker = Rules::new(BY_KEY, false).checker();
    let checker = checker.finish_when(HasDiscoveries::AllOf(expected.into()));
    let found = checker.spawn_bfs().join().discoveries();
    assert!(expected.iter().all(|name| found.contains_key(name)));
}
