use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use landfall_ledger::StoredSource;
use landfall_sources::{Outcome, Record, Run, Source};
use tokio::time::{Instant, sleep};

use crate::{Context, PullerError};

/// How long a lease lasts unless it is renewed. After a crash, a source waits for this time.
pub(crate) const LEASE: SignedDuration = SignedDuration::from_secs(15);
/// A lease is renewed when it has less than this left.
const LEAST_LEFT: SignedDuration = SignedDuration::from_secs(10);
/// How often a lease is looked at while something takes long.
const PULSE: Duration = Duration::from_secs(5);

/// Time that is reserved for the end of an invocation.
pub(crate) const RESERVE: Duration = Duration::from_secs(30);
/// The time after the end of an invocation until it is over for certain.
const MARGIN: Duration = Duration::from_secs(30);

/// Returns a time at which this invocation is over for certain, also if it hangs.
pub(crate) fn end_of_invocation(now: Timestamp, stop_at: Instant) -> Timestamp {
    let left = stop_at.saturating_duration_since(Instant::now()) + RESERVE + MARGIN;
    now.checked_add(left).unwrap_or(Timestamp::MAX)
}

/// A source that this invocation holds the lease of.
pub(crate) struct Held<'a> {
    pub(crate) source: &'a Source,
    pub(crate) record: Record,
    revision: u64,
    context: &'a Context,
}

impl<'a> Held<'a> {
    /// Takes the lease until `until` and applies a change to the record with the same write. Returns `None` if another
    /// invocation was first.
    pub(crate) async fn take(
        context: &'a Context,
        source: &'a Source,
        stored: StoredSource,
        until: Timestamp,
        change: impl FnOnce(&mut Record),
    ) -> Result<Option<Self>, PullerError> {
        let mut held = Self {
            source,
            record: stored.record,
            revision: stored.revision,
            context,
        };
        change(&mut held.record);
        held.record.lease(until);
        match held.save().await {
            Ok(()) => Ok(Some(held)),
            Err(PullerError::Lost) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores the record.
    pub(crate) async fn save(&mut self) -> Result<(), PullerError> {
        let (name, record) = (&self.source.name, &self.record);
        let table = &self.context.sources;
        let saved = table.save_source(name, record, self.revision).await?;
        self.revision = saved.ok_or(PullerError::Lost)?;
        Ok(())
    }

    /// Returns a number that no other invocation has while it holds the lease.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Renews the lease if it ends soon, as the record stands.
    pub(crate) async fn renew(&mut self) -> Result<(), PullerError> {
        let now = (self.context.now)();
        let left = self
            .record
            .leased_until
            .map(|until| until.duration_since(now));
        if left.is_some_and(|left| left >= LEAST_LEFT) {
            return Ok(());
        }
        self.record.lease(now.saturating_add(LEASE).unwrap_or(now));
        self.save().await
    }

    /// Waits for something that does not change the record, and renews the lease meanwhile.
    pub(crate) async fn hold<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, PullerError> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = sleep(PULSE) => self.renew().await?,
            }
        }
    }

    /// Stores the record and gives the lease back.
    pub(crate) async fn release(mut self) -> Result<(), PullerError> {
        self.record.release();
        self.save().await
    }

    /// Records how the run ended, before the record says that it is over.
    pub(crate) async fn record_end(
        &mut self,
        run: &Run,
        now: Timestamp,
        outcome: Outcome,
        reason: Option<String>,
    ) -> Result<(), PullerError> {
        // What another invocation has recorded must not be replaced.
        self.renew().await?;
        let entry = run.entry(self.source, now, outcome, reason);
        let table = &self.context.sources;
        Ok(table.add_source_run(&self.source.name, &entry).await?)
    }

    /// Returns the run that is not over.
    pub(crate) fn run(&self) -> Result<&Run, PullerError> {
        // A step of a run follows only from a record that has one.
        self.record.run.as_ref().ok_or(PullerError::Lost)
    }
}
