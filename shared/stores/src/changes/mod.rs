//! Records which keys have changed, for destinations that follow the rows of a dataset.
//!
//! Level-triggered: what is recorded is not a log of changes, but that the *wanted* version of a key is ahead of the
//! one that was *sent*. The row is sent as it stands, so changes supersede each other, and a repeated or late step does
//! no harm. If a key changes while it is sent, it is due again.
//!
//! # In SQL
//!
//! Writers only append: the transaction that inserts, updates or deletes rows also adds an *entry* for each changed key
//! to `_changed_<dataset>`, which has no index. A lease first *folds* a bounded number of entries: it deletes them, and
//! raises the wanted version of their keys in `_keys_<dataset>`, which has a row per destination and key. Whatever is
//! committed late is folded late, as no sequence says where to go on.
//!
//! | column of `_keys_<dataset>` | |
//! |---|---|
//! | `_wanted`, `_wanted_at` | version of the newest known change; when the first one came that is not sent |
//! | `_sent` | version that was sent, null if the service has never had to do with the key, or it was deleted there |
//! | `_exists`, `_sent_as` | whether the service has the key; its id there |
//! | `_state` | `waiting`, `sent`, `set_aside`, `unknown` |
//! | `_holds` | whether a key that is set aside or unknown stays so when it changes |
//! | `_due_at` | when a key that waits is due; of a leased one, the end of the lease |
//! | `_lease` | id of the lease, if no result is recorded; an old one means that an attempt has an uncertain outcome |
//! | `_gone` | whether the key had no row when it was leased; once that is sent, the key is deleted here |
//!
//! A lease locks its keys first and reads the rows afterwards, in a later statement. It therefore sees everything that
//! was folded for these keys. The wanted version becomes that of the row as it stands, which may be newer: its entry
//! then changes nothing when it is folded. A result counts only for a key that still has the lease.
//!
//! The registry has the destinations of a dataset, which every writer reads under its lock. They are nothing that a
//! definition of the dataset has, so workers with older definitions record changes, too. A dataset without destinations
//! has no tables for this, and its writers run no further statement.
//!
//! # In MongoDB
//!
//! Only where there is no SQL database: [`connect_changes`](crate::connect_changes) opens the one store that records.
//! See `mongodb::changes`.

mod bounded;
mod cells;
mod followed;
mod listed;
mod port;
mod reader;
mod redrive;
mod results;
mod sequence;
mod servers;
pub(crate) mod statements;
mod track;
mod tracked;
mod updates;

use jiff::Timestamp;
use landfall_domain::{StoreKind, is_name};
use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};
pub(crate) use bounded::ChangeBackend;
pub(crate) use followed::Followed;
pub use port::{
    ChangeKey, ChangeOutcome, ChangePage, ChangeReader, ChangeResult, ChangeStore, ChangeSummary,
    DueChange, Lease, ListedChange, MAX_ANSWER_BYTES, MAX_COUNTED_ENTRIES, Selection, Sent,
    SyncStep,
};
pub(crate) use reader::ReadChanges;
pub(crate) use results::cut;
pub(crate) use sequence::{Call, ChangeTransaction};
pub(crate) use servers::ServerChanges;
pub(crate) use track::track;
pub(crate) use tracked::{IS_TRACKED, keyed, tracked_of};

/// Returns the name of the table to which writers add changed keys. No dataset can have this name.
pub(crate) fn entries_of(dataset: &str) -> String {
    format!("_changed_{dataset}")
}

/// Returns the name of the table or collection of the keys that destinations follow. No dataset can have this name.
pub(crate) fn keys_of(dataset: &str) -> String {
    format!("_keys_{dataset}")
}

/// The destinations of a dataset, as the registry has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tracking {
    /// Names of the destinations that changes are recorded for.
    #[serde(default)]
    pub(crate) destinations: Vec<String>,
    /// Names of those that are gone, whose keys are not all deleted yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) leaving: Vec<String>,
}

impl Tracking {
    /// Returns whether there is nothing to record or to delete.
    pub(crate) fn is_empty(&self) -> bool {
        self.destinations.is_empty() && self.leaving.is_empty()
    }

    /// Returns whether writers record changes.
    pub(crate) fn is_on(&self) -> bool {
        !self.destinations.is_empty()
    }

    /// Fails unless changes are recorded for a destination.
    pub(crate) fn check(&self, store: StoreKind, dataset: &str, destination: &str) -> Result<()> {
        if self.destinations.iter().any(|name| name == destination) {
            return Ok(());
        }
        Err(StoreError::Untracked {
            store,
            dataset: dataset.to_owned(),
            destination: destination.to_owned(),
        })
    }

    /// Returns whether it is for exactly these destinations, and nothing is left of others.
    pub(crate) fn is_for(&self, destinations: &[String]) -> bool {
        self.destinations == destinations && self.leaving.is_empty()
    }

    /// Changes the destinations. One that has left and comes back counts only once its old keys are deleted.
    pub(crate) fn set(&mut self, destinations: &[String]) {
        let is_gone = |name: &String| !destinations.contains(name);
        let gone = self.destinations.extract_if(.., |name| is_gone(name));
        self.leaving.extend(gone);
        let stays = |name: &&String| !self.leaving.contains(name);
        self.destinations = destinations.iter().filter(stays).cloned().collect();
    }
}

/// Checks the name of a destination, which becomes part of statements.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(StoreError::Config(format!(
        "not a name of a destination: {name:?}"
    )))
}

pub(crate) fn milliseconds(at: Timestamp) -> i64 {
    at.as_millisecond()
}

pub(crate) fn timestamp(store: StoreKind, milliseconds: i64) -> Result<Timestamp> {
    let at = Timestamp::from_millisecond(milliseconds);
    at.map_err(|_| StoreError::unavailable(store, "a time of a change cannot be read"))
}

/// Returns the time of a change that is recorded now, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    milliseconds(Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::Tracking;

    #[test]
    fn a_destination_comes_back_after_its_keys_are_deleted() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let set = |tracking: &mut Tracking, wanted: &[&str]| {
            let wanted: Vec<String> = names(wanted);
            tracking.set(&wanted);
        };
        let mut tracking = Tracking::default();
        set(&mut tracking, &["a", "b"]);
        assert_eq!(tracking.destinations, ["a", "b"]);
        set(&mut tracking, &["b"]);
        assert_eq!(
            (tracking.destinations.len(), tracking.leaving.as_slice()),
            (1, names(&["a"]).as_slice())
        );
        set(&mut tracking, &["a", "b"]);
        assert_eq!(tracking.destinations, ["b"]);
        tracking.leaving.clear();
        set(&mut tracking, &["a", "b"]);
        assert!(tracking.is_for(&names(&["a", "b"])));
        set(&mut tracking, &[]);
        assert!(!tracking.is_on() && !tracking.is_empty());
    }
}
