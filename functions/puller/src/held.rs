use jiff::Timestamp;
use landfall_ledger::{SourceTable, StoredSource};
use landfall_sources::{Outcome, Record, Run, Source};

use crate::PullerError;

/// A source that this invocation holds the lease of.
pub(crate) struct Held<'a> {
    pub(crate) source: &'a Source,
    pub(crate) record: Record,
    revision: u64,
    table: &'a dyn SourceTable,
}

impl<'a> Held<'a> {
    /// Takes the lease until `until` and applies a change to the record with the same write. Returns `None` if another
    /// invocation was first.
    pub(crate) async fn take(
        table: &'a dyn SourceTable,
        source: &'a Source,
        stored: StoredSource,
        until: Timestamp,
        change: impl FnOnce(&mut Record),
    ) -> Result<Option<Self>, PullerError> {
        let mut held = Self {
            source,
            record: stored.record,
            revision: stored.revision,
            table,
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
        let saved = self.table.save_source(name, record, self.revision).await?;
        self.revision = saved.ok_or(PullerError::Lost)?;
        Ok(())
    }

    /// Stores the record and gives the lease back.
    pub(crate) async fn release(mut self) -> Result<(), PullerError> {
        self.record.release();
        self.save().await
    }

    /// Records how the run ended, before the record says that it is over.
    pub(crate) async fn record_end(
        &self,
        run: &Run,
        now: Timestamp,
        outcome: Outcome,
        reason: Option<String>,
    ) -> Result<(), PullerError> {
        let entry = run.entry(self.source, now, outcome, reason);
        Ok(self.table.add_source_run(&self.source.name, &entry).await?)
    }

    /// Returns the run that is not over.
    pub(crate) fn run(&self) -> Result<&Run, PullerError> {
        // A step of a run follows only from a record that has one.
        self.record.run.as_ref().ok_or(PullerError::Lost)
    }
}
