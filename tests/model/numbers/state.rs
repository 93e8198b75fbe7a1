//! What the ledger, the queue, the store and the clients have.

use std::collections::{BTreeMap, BTreeSet};

use super::Fault;
use super::check::Check;
use super::handler::{Claim, Fate, Handler};

/// A step. Handlers, messages and checks are named by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A client sends its request, or repeats it.
    Request(usize),
    /// A client deletes its row.
    Delete(usize),
    /// A handler takes its next step.
    Handle(usize, Fate),
    Crash(usize),
    /// A worker stores the row of a message.
    Deliver(usize),
    /// The same, and the message is delivered again.
    DeliverTwice(usize),
    /// A message will be late.
    Delay(usize),
    /// A late message does not arrive at all.
    Drop(usize),
    /// The janitor records the last number.
    See,
    /// Half of the time is over since then.
    BecomeHalf,
    /// The time is over.
    BecomeOld,
    /// The janitor sends a message to check numbers.
    SendCheck,
    /// The janitor looks again, because the numbers that it has seen are checked.
    Forget,
    /// The janitor forgets the parent, which has no numbers to check.
    Leave,
    /// A worker takes its next step of a check.
    Check(usize),
    CrashCheck(usize),
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// The number of clients, each with one request.
    pub(crate) requests: usize,
    /// How often a client sends its request.
    pub(crate) attempts: u8,
    pub(crate) crashes: u8,
    pub(crate) losses: u8,
    pub(crate) redeliveries: u8,
    pub(crate) delays: u8,
    pub(crate) deletes: u8,
}

impl Budget {
    pub(crate) fn is_used(self) -> bool {
        self.crashes + self.losses + self.redeliveries + self.delays + self.deletes == 0
    }
}

/// The item of the parent in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Parent {
    /// The last number that is given out.
    pub(crate) last: u8,
    /// Whether it is in the janitor's index.
    pub(crate) is_listed: bool,
    pub(crate) seen: Option<Seen>,
    /// The voids up to this number are recorded.
    pub(crate) checked: u8,
    pub(crate) voids: BTreeSet<u8>,
}

/// The last number that the janitor has seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) last: u8,
    pub(crate) age: Age,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Age {
    New,
    Half,
    Old,
}

/// What a client has sent, and the numbers of the answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) attempts: u8,
    pub(crate) numbers: BTreeSet<u8>,
}

/// A row on its way to the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Message {
    number: u8,
    request: usize,
    /// Whether it may arrive at any time.
    pub(crate) is_late: bool,
}

/// What the store has of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stored {
    Row(usize),
    Deleted,
    Void,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) budget: Budget,
    pub(crate) parent: Parent,
    /// Numbers up to this one were given out before half of the time.
    pub(crate) old: u8,
    /// The requests that have got each number, and whether two have got the same.
    given: BTreeMap<u8, usize>,
    pub(crate) is_given_twice: bool,
    /// Whether a request has got another number in place of a void.
    pub(crate) is_replaced: bool,
    pub(crate) claims: [Option<Claim>; 2],
    pub(crate) clients: [Client; 2],
    pub(crate) handlers: Vec<Handler>,
    pub(crate) queue: Vec<Message>,
    /// The numbers of messages that were late.
    pub(crate) late: BTreeSet<u8>,
    pub(crate) stored: BTreeMap<u8, Stored>,
    pub(crate) checks: Vec<Check>,
}

impl State {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            budget,
            parent: Parent::default(),
            old: 0,
            given: BTreeMap::new(),
            is_given_twice: false,
            is_replaced: false,
            claims: [None, None],
            clients: [Client::default(), Client::default()],
            handlers: Vec::new(),
            queue: Vec::new(),
            late: BTreeSet::new(),
            stored: BTreeMap::new(),
            checks: Vec::new(),
        }
    }

    pub(crate) fn has_row(&self, number: u8) -> bool {
        matches!(self.stored.get(&number), Some(Stored::Row(_)))
    }

    /// Returns whether a number has become what it stays.
    pub(crate) fn has_ended(&self, number: u8) -> bool {
        let is_void = self.parent.voids.contains(&number);
        match self.stored.get(&number) {
            None => false,
            Some(Stored::Row(request)) => !is_void && self.given.get(&number) == Some(request),
            Some(Stored::Deleted) => true,
            Some(Stored::Void) => is_void,
        }
    }

    /// Returns whether half of the time can be over: handlers do not take as long.
    pub(crate) fn can_become_half(&self) -> bool {
        !self.handlers.iter().any(|handler| handler.is_ending)
    }

    /// Returns whether the time can be over: messages that are not late do not take as long, either.
    pub(crate) fn can_become_old(&self, last: u8) -> bool {
        let mut messages = self.queue.iter();
        self.can_become_half() && messages.all(|message| message.is_late || message.number > last)
    }

    fn end_handlers(&mut self) {
        for handler in &mut self.handlers {
            handler.is_ending = true;
        }
        self.handlers.sort_unstable();
    }

    /// Notes that a request gets a number.
    pub(crate) fn give(&mut self, number: u8, request: usize) {
        let first = *self.given.entry(number).or_insert(request);
        self.is_given_twice |= first != request;
    }

    pub(crate) fn send(&mut self, number: u8, request: usize) {
        self.queue.push(Message {
            number,
            request,
            is_late: false,
        });
        self.queue.sort_unstable();
    }

    fn store(&mut self, fault: Option<Fault>, message: &Message) {
        let row = Stored::Row(message.request);
        if fault == Some(Fault::CreatesOverTombstones) {
            self.stored.insert(message.number, row);
        }
        // Its version is the least.
        self.stored.entry(message.number).or_insert(row);
    }

    pub(crate) fn apply(&mut self, fault: Option<Fault>, action: Action) {
        match action {
            Action::Request(request) => self.request(request),
            Action::Delete(request) => {
                self.budget.deletes -= 1;
                if let Some(number) = self.clients[request].numbers.last() {
                    self.stored.insert(*number, Stored::Deleted);
                }
            }
            Action::Handle(at, fate) => self.handle(fault, at, fate),
            Action::Crash(at) => {
                self.budget.crashes -= 1;
                self.handlers.remove(at);
            }
            Action::Deliver(at) => {
                let message = self.queue.remove(at);
                self.store(fault, &message);
            }
            Action::DeliverTwice(at) => {
                self.budget.redeliveries -= 1;
                let message = self.queue[at].clone();
                self.store(fault, &message);
                self.queue[at].is_late = true;
                self.queue.sort_unstable();
            }
            Action::Delay(at) => {
                self.budget.delays -= 1;
                self.late.insert(self.queue[at].number);
                self.queue[at].is_late = true;
                self.queue.sort_unstable();
            }
            Action::Drop(at) => drop(self.queue.remove(at)),
            Action::See => {
                let (last, age) = (self.parent.last, Age::New);
                self.end_handlers();
                self.parent.seen = Some(Seen { last, age });
            }
            Action::BecomeHalf => {
                self.end_handlers();
                if let Some(seen) = &mut self.parent.seen {
                    seen.age = Age::Half;
                    self.old = seen.last;
                }
            }
            Action::BecomeOld => {
                if let Some(seen) = &mut self.parent.seen {
                    seen.age = Age::Old;
                }
            }
            Action::SendCheck => self.send_check(fault),
            Action::Forget => self.parent.seen = None,
            Action::Leave => self.parent.is_listed = false,
            Action::Check(at) => self.check(fault, at),
            Action::CrashCheck(at) => {
                self.budget.crashes -= 1;
                self.restart_check(at);
            }
        }
    }
}
