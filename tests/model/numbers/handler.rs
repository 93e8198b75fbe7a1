//! The handler of a request that creates a row, with an idempotency key.

use super::Fault;
use super::state::State;

/// What becomes of a call to the ledger or the queue, or of an answer to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    /// The reply is lost, and the call is repeated. An answer is not.
    ReplyLost,
}

/// The item of an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    number: Option<u8>,
    is_sent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Handler {
    request: usize,
    next: Step,
    /// Whether it ends before the next half of the time after which a number can become a void is over.
    pub(crate) is_ending: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    Claim,
    Allocate,
    /// Writes the number, as it has read the one before.
    Write(u8),
    Record(u8),
    Send(u8),
    Mark(u8),
    Answer(u8),
    SendAfterAnswer(u8),
}

impl State {
    pub(crate) fn request(&mut self, request: usize) {
        self.clients[request].attempts += 1;
        self.handlers.push(Handler {
            request,
            next: Step::Claim,
            is_ending: false,
        });
        self.handlers.sort_unstable();
    }

    pub(crate) fn handle(&mut self, fault: Option<Fault>, at: usize, fate: Fate) {
        let handler = self.handlers.remove(at);
        if fate == Fate::ReplyLost {
            self.budget.losses -= 1;
            if let Step::Answer(_) = handler.next {
                return;
            }
            self.step(fault, &handler);
        }
        if let Some(next) = self.step(fault, &handler) {
            self.handlers.push(Handler { next, ..handler });
            self.handlers.sort_unstable();
        }
    }

    /// Takes a step of a handler. Returns the next one; `None` if it is the last.
    fn step(&mut self, fault: Option<Fault>, handler: &Handler) -> Option<Step> {
        let request = handler.request;
        match handler.next {
            Step::Claim => self.claim(fault, request),
            Step::Allocate if fault == Some(Fault::AllocatesInTwoSteps) => {
                Some(Step::Write(self.parent.last + 1))
            }
            Step::Allocate => Some(self.allocated(self.parent.last + 1)),
            Step::Write(number) => Some(self.allocated(number)),
            Step::Record(number) => self.record(fault, handler, number),
            Step::Send(number) if fault == Some(Fault::AnswersBeforeSending) => {
                self.clients[request].numbers.insert(number);
                Some(Step::SendAfterAnswer(number))
            }
            Step::Send(number) => {
                self.send(number, request);
                Some(Step::Mark(number))
            }
            Step::Mark(number) => {
                let claim = self.claims[request].as_mut();
                if let Some(claim) = claim.filter(|claim| claim.number == Some(number)) {
                    claim.is_sent = true;
                }
                Some(Step::Answer(number))
            }
            Step::Answer(number) => {
                self.give(number, request);
                self.clients[request].numbers.insert(number);
                None
            }
            Step::SendAfterAnswer(number) => {
                self.send(number, request);
                None
            }
        }
    }

    fn allocated(&mut self, number: u8) -> Step {
        self.parent.last = number;
        self.parent.is_listed = true;
        Step::Record(number)
    }

    fn claim(&mut self, fault: Option<Fault>, request: usize) -> Option<Step> {
        let new = Claim {
            number: None,
            is_sent: false,
        };
        let Some(claim) = &mut self.claims[request] else {
            self.claims[request] = Some(new);
            return Some(Step::Allocate);
        };
        match claim.number {
            None => Some(Step::Allocate),
            Some(number) if claim.is_sent => Some(Step::Answer(number)),
            Some(number) if number > self.old || fault == Some(Fault::SendsOldNumbers) => {
                Some(Step::Send(number))
            }
            // No row of it was acknowledged, or it was late.
            Some(number) if self.parent.voids.contains(&number) => {
                *claim = new;
                self.is_replaced = true;
                Some(Step::Allocate)
            }
            Some(number) if number <= self.parent.checked => Some(Step::Mark(number)),
            // The client has to wait until the number is checked.
            Some(_) => None,
        }
    }

    fn record(&mut self, fault: Option<Fault>, handler: &Handler, number: u8) -> Option<Step> {
        self.give(number, handler.request);
        let claim = self.claims[handler.request].as_mut()?;
        if fault == Some(Fault::RecordsUnconditionally) {
            claim.number = Some(number);
        }
        // Another handler of the request may have been faster. Then this number becomes a void.
        Some(Step::Send(*claim.number.get_or_insert(number)))
    }
}
