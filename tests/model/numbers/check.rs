//! The check of numbers that have been given out for long: those without a row become voids.

use std::collections::BTreeSet;

use super::Fault;
use super::state::{State, Stored};

/// A check of the numbers above `from`, up to `to`, by a worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Check {
    from: u8,
    to: u8,
    next: Step,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    /// Read what the store has.
    Read,
    /// Record the numbers that it lacks, unless others are checked since.
    Record(BTreeSet<u8>),
    /// Write tombstones for these.
    Bury(BTreeSet<u8>),
}

impl State {
    pub(crate) fn send_check(&mut self, fault: Option<Fault>) {
        let Some(seen) = &self.parent.seen else {
            return;
        };
        let to = match fault {
            Some(Fault::ChecksUnseen) => self.parent.last,
            _ => seen.last,
        };
        self.checks.push(Check {
            from: self.parent.checked,
            to,
            next: Step::Read,
        });
        self.checks.sort_unstable();
    }

    pub(crate) fn check(&mut self, fault: Option<Fault>, at: usize) {
        let check = self.checks.remove(at);
        if let Some(next) = self.check_step(fault, &check) {
            self.checks.push(Check { next, ..check });
            self.checks.sort_unstable();
        }
    }

    fn check_step(&mut self, fault: Option<Fault>, check: &Check) -> Option<Step> {
        let Check { from, to, next } = check;
        match next {
            // An earlier delivery may have ended before it has written tombstones.
            Step::Read if self.parent.checked >= *to => Some(Step::Bury(self.voids(*from, *to))),
            Step::Read => {
                let numbers = from + 1..=*to;
                let missing = numbers.filter(|number| !self.stored.contains_key(number));
                let missing: BTreeSet<u8> = missing.collect();
                if fault == Some(Fault::RecordsAfterTombstones) {
                    self.bury(&missing);
                }
                Some(Step::Record(missing))
            }
            Step::Record(missing) => {
                if self.parent.checked == *from {
                    self.parent.voids.extend(missing);
                    self.parent.checked = *to;
                } else if fault == Some(Fault::VoidsUnconditionally) {
                    return Some(Step::Bury(missing.clone()));
                }
                // Another worker may have recorded other voids.
                Some(Step::Bury(self.voids(*from, *to)))
            }
            Step::Bury(_) if fault == Some(Fault::LeavesNoTombstones) => None,
            Step::Bury(voids) => {
                self.bury(voids);
                None
            }
        }
    }

    /// The message of a check is delivered again, because its worker has died.
    pub(crate) fn restart_check(&mut self, at: usize) {
        self.checks[at].next = Step::Read;
        self.checks.sort_unstable();
    }

    /// Returns whether a check is under way that may write a tombstone of a number.
    pub(crate) fn is_being_checked(&self, number: u8) -> bool {
        let mut checks = self.checks.iter();
        checks.any(|check| (check.from + 1..=check.to).contains(&number))
    }

    fn voids(&self, from: u8, to: u8) -> BTreeSet<u8> {
        self.parent.voids.range(from + 1..=to).copied().collect()
    }

    /// Writes tombstones, whose versions are newer than those of rows that are created.
    fn bury(&mut self, numbers: &BTreeSet<u8>) {
        for number in numbers {
            let stored = self.stored.entry(*number).or_insert(Stored::Void);
            if let Stored::Row(_) = stored {
                *stored = Stored::Void;
            }
        }
    }
}
