//! Records that a relay works on a destination, so that others need not.

use jiff::{SignedDuration, Timestamp};
use landfall_ledger::LedgerError;

use crate::Context;

/// How long a relay works before it records that: most have little to do, and end earlier.
const UNRECORDED: SignedDuration = SignedDuration::from_secs(2);
/// How long a record is valid.
const VALID: SignedDuration = SignedDuration::from_secs(30);
/// How long before its end a record is renewed.
const RENEWED: SignedDuration = SignedDuration::from_secs(20);

/// The record of a relay that works on a destination.
///
/// A relay that is rung leaves a destination alone that another one works on. That one looks for changes once more
/// after it has deleted its record, so a change that is committed before a relay is rung has a relay that finds it.
pub(crate) struct Busy<'a> {
    context: &'a Context,
    name: &'a str,
    since: Timestamp,
    until: Option<Timestamp>,
}

impl<'a> Busy<'a> {
    pub(crate) fn new(context: &'a Context, name: &'a str) -> Self {
        Self {
            context,
            name,
            since: context.clock.now(),
            until: None,
        }
    }

    /// Returns whether another relay works on the destination, of which this is recorded.
    pub(crate) fn is_of_another(&self, recorded: Option<Timestamp>) -> bool {
        let now = self.context.clock.now();
        self.until.is_none() && recorded.is_some_and(|until| now < until)
    }

    /// Records that the relay goes on, if it works for long.
    pub(crate) async fn go_on(&mut self) -> Result<(), LedgerError> {
        let now = self.context.clock.now();
        let is_needed = match self.until {
            None => now.duration_since(self.since) >= UNRECORDED,
            Some(until) => until.duration_since(now) < RENEWED,
        };
        if is_needed {
            let until = now.saturating_add(VALID).unwrap_or(now);
            self.record(Some(until)).await?;
        }
        Ok(())
    }

    /// Deletes the record, and returns whether there was one.
    pub(crate) async fn end(&mut self) -> Result<bool, LedgerError> {
        let is_recorded = self.until.is_some();
        if is_recorded {
            self.record(None).await?;
            self.since = self.context.clock.now();
        }
        Ok(is_recorded)
    }

    async fn record(&mut self, until: Option<Timestamp>) -> Result<(), LedgerError> {
        let table = &self.context.destinations_table;
        table.set_busy(self.name, until).await?;
        self.until = until;
        Ok(())
    }
}
