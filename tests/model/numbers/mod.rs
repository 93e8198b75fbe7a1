//! A model of numbers that a parent gives to the requests of its children, which checks every order of the steps of
//! rule 11: handlers that claim an idempotency key, allocate a number, record, send and answer; replies that are lost,
//! handlers that die, requests that are repeated; messages that are delivered again or late; deleted rows; the janitor,
//! and workers that turn numbers without a row into voids.
//!
//! Times are assumed: handlers end within minutes, and messages that are not late arrive within half of the time after
//! which a number can become a void.

mod check;
mod handler;
mod state;

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model, Property};

use handler::Fate;
use state::{Action, Age, Budget, State, Stored};

/// The maximum number of requests that are handled, and of checks that are carried out, at the same time.
const HANDLERS: usize = 2;
const CHECKS: usize = 2;

const ONE_REQUEST: &str = "a number is given to one request";
const ONE_NUMBER: &str = "a request has one number";
const NOT_LOST: &str = "an acknowledged row is not lost";
const STAYS_AWAY: &str = "a row stays away after its void";
const ENDS: &str = "each number ends as a row, a deleted row or a void";

/// What happens in some order of the steps.
const SOMETIMES: [&str; 3] = [BECOMES_VOID, IS_REPLACED, ALL_ANSWERED];
const BECOMES_VOID: &str = "a number becomes a void";
const IS_REPLACED: &str = "a request gets another number in place of a void";
const ALL_ANSWERED: &str = "all requests are answered after everything has happened";

/// A step that is done in a wrong way, to see that the checks can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A handler reads the last number, and writes the next one.
    AllocatesInTwoSteps,
    /// A handler records and sends its number although another one has recorded one for the request.
    RecordsUnconditionally,
    /// A repeated request sends a number again, however old it is.
    SendsOldNumbers,
    AnswersBeforeSending,
    /// A row that is created replaces what is stored of its number.
    CreatesOverTombstones,
    /// The janitor has numbers checked at once.
    ChecksAtOnce,
    /// The janitor has all numbers checked, also those that it has not seen for long.
    ChecksUnseen,
    /// The janitor forgets a parent that may have got new numbers meanwhile.
    LeavesUnconditionally,
    /// Voids are recorded, but leave no tombstones.
    LeavesNoTombstones,
    /// Tombstones are written before the voids are recorded.
    RecordsAfterTombstones,
    /// A worker writes tombstones for numbers that it could not record as voids.
    VoidsUnconditionally,
}

struct Rules {
    budget: Budget,
    fault: Option<Fault>,
}

impl Model for Rules {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.budget)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let budget = state.budget;
        for (request, client) in state.clients.iter().enumerate() {
            let is_answered = !client.numbers.is_empty();
            if request < budget.requests
                && !is_answered
                && client.attempts < budget.attempts
                && state.handlers.len() < HANDLERS
            {
                actions.push(Action::Request(request));
            }
            if budget.deletes > 0 && is_answered {
                actions.push(Action::Delete(request));
            }
        }
        for handler in 0..state.handlers.len() {
            actions.push(Action::Handle(handler, Fate::Done));
            if budget.losses > 0 {
                actions.push(Action::Handle(handler, Fate::ReplyLost));
            }
            if budget.crashes > 0 {
                actions.push(Action::Crash(handler));
            }
        }
        for (at, message) in state.queue.iter().enumerate() {
            actions.push(Action::Deliver(at));
            if budget.redeliveries > 0 {
                actions.push(Action::DeliverTwice(at));
            }
            if message.is_late {
                actions.push(Action::Drop(at));
            } else if budget.delays > 0 {
                actions.push(Action::Delay(at));
            }
        }
        self.janitor_actions(state, actions);
        for check in 0..state.checks.len() {
            actions.push(Action::Check(check));
            if budget.crashes > 0 {
                actions.push(Action::CrashCheck(check));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.apply(self.fault, action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_REQUEST, |_, state: &State| !state.is_given_twice),
            Property::always(ONE_NUMBER, |_, state: &State| {
                let is_live = |number: &&u8| !state.parent.voids.contains(number);
                let mut clients = state.clients.iter();
                clients.all(|client| client.numbers.iter().filter(is_live).count() <= 1)
            }),
            Property::always(NOT_LOST, |_, state: &State| {
                let mut numbers = state.clients.iter().flat_map(|client| &client.numbers);
                numbers.all(|number| {
                    !state.parent.voids.contains(number) || state.late.contains(number)
                })
            }),
            Property::always(STAYS_AWAY, |_, state: &State| {
                let mut voids = state.parent.voids.iter();
                voids.all(|number| !state.has_row(*number) || state.is_being_checked(*number))
            }),
            Property::always(ENDS, |rules: &Self, state: &State| {
                let mut actions = Vec::new();
                rules.actions(state, &mut actions);
                !actions.is_empty() || (1..=state.parent.last).all(|number| state.has_ended(number))
            }),
            Property::sometimes(BECOMES_VOID, |_, state: &State| {
                state.stored.values().any(|stored| *stored == Stored::Void)
            }),
            Property::sometimes(IS_REPLACED, |_, state: &State| state.is_replaced),
            Property::sometimes(ALL_ANSWERED, |_, state: &State| {
                let mut clients = state.clients[..state.budget.requests].iter();
                state.budget.is_used()
                    && clients.all(|client| !client.numbers.is_empty())
                    && state.parent.checked == state.parent.last
            }),
        ]
    }
}

impl Rules {
    fn janitor_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let parent = &state.parent;
        if !parent.is_listed {
            return;
        }
        match &parent.seen {
            None if parent.checked < parent.last => actions.push(Action::See),
            None => actions.push(Action::Leave),
            Some(seen) if seen.last <= parent.checked => actions.push(Action::Forget),
            Some(seen) if seen.age == Age::Old || self.fault == Some(Fault::ChecksAtOnce) => {
                if state.checks.len() < CHECKS {
                    actions.push(Action::SendCheck);
                }
            }
            Some(seen) if seen.age == Age::New && state.can_become_half() => {
                actions.push(Action::BecomeHalf);
            }
            Some(seen) if seen.age == Age::Half && state.can_become_old(seen.last) => {
                actions.push(Action::BecomeOld);
            }
            Some(_) => {}
        }
        if self.fault == Some(Fault::LeavesUnconditionally) && parent.checked > 0 {
            actions.push(Action::Leave);
        }
    }
}

const NOTHING: Budget = Budget {
    requests: 0,
    attempts: 0,
    crashes: 0,
    losses: 0,
    redeliveries: 0,
    delays: 0,
    deletes: 0,
};

/// What may happen beside steps that are done.
const BUDGETS: [Budget; 4] = [
    Budget {
        requests: 2,
        attempts: 1,
        crashes: 1,
        losses: 1,
        ..NOTHING
    },
    Budget {
        requests: 1,
        attempts: 2,
        crashes: 1,
        redeliveries: 1,
        delays: 1,
        ..NOTHING
    },
    Budget {
        requests: 1,
        attempts: 2,
        crashes: 1,
        losses: 1,
        ..NOTHING
    },
    Budget {
        requests: 1,
        attempts: 1,
        losses: 1,
        redeliveries: 1,
        delays: 1,
        deletes: 1,
        ..NOTHING
    },
];

#[test]
fn every_number_ends() {
    let mut found = BTreeSet::new();
    for budget in BUDGETS {
        let rules = Rules {
            budget,
            fault: None,
        };
        let checker = rules.checker().threads(2).spawn_bfs().join();
        for (name, path) in checker.discoveries() {
            assert!(SOMETIMES.contains(&name), "{name}: {path}");
            found.insert(name);
        }
    }
    assert_eq!(found, BTreeSet::from(SOMETIMES));
}

/// The checks can fail.
#[test]
fn wrong_steps_are_found() {
    let wrong = [
        (Fault::AllocatesInTwoSteps, ONE_REQUEST),
        (Fault::RecordsUnconditionally, ONE_NUMBER),
        (Fault::SendsOldNumbers, NOT_LOST),
        (Fault::AnswersBeforeSending, NOT_LOST),
        (Fault::CreatesOverTombstones, STAYS_AWAY),
        (Fault::ChecksAtOnce, NOT_LOST),
        (Fault::ChecksUnseen, NOT_LOST),
        (Fault::LeavesUnconditionally, ENDS),
        (Fault::LeavesNoTombstones, STAYS_AWAY),
        (Fault::RecordsAfterTombstones, ENDS),
        (Fault::VoidsUnconditionally, ENDS),
    ];
    for (fault, expected) in wrong {
        let found = BUDGETS.iter().any(|budget| {
            let rules = Rules {
                budget: *budget,
                fault: Some(fault),
            };
            let checker = rules.checker().threads(2);
            let checker = checker.finish_when(HasDiscoveries::AllOf([expected].into()));
            checker
                .spawn_bfs()
                .join()
                .discoveries()
                .contains_key(expected)
        });
        assert!(found, "{fault:?} is not found");
    }
}
