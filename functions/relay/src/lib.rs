//! Sends the changes of rows to the services that follow them, and notifies webhooks of jobs that have closed.
//!
//! **Input**: the event of a schedule, every minute, whose content is not read; messages of the relay queue
//! ([`landfall_aws::RelayMessage`]), which are only bells: they name datasets whose rows have changed, or destinations
//! with keys that are due, and may be lost, repeated and late; and completion events. The work is in the store, as keys
//! whose changes are not sent, in the ledger, as notifications, and in the configuration bucket, as definitions.
//!
//! **Output**: calls, and for each key what has become of them: sent, due again later, set aside, or unknown.
//!
//! # A key
//!
//! The relay *leases* keys that are due, in batches. A lease is exclusive, so that there is one call for a key at a
//! time. Where calls are fast, the next keys are leased while others are sent. The row is sent as it stands. If it
//! changes meanwhile, the key stays due, and the newer row follows. A key can take several calls: a lookup or an update
//! that finds nothing leads to a create at once.
//!
//! A call begins only if its time-out ends well before the lease does ([`LEASE`], [`USABLE`]). The rest allows for the
//! time that recording takes, and for clocks that differ. So two relays call for a key at once only if a service goes
//! on with a call after its time-out.
//!
//! # Bells
//!
//! A run ends when nothing is due. If a key or the probe of an open circuit is due within a minute, or its time is over
//! before everything is sent, the run rings the relay for then. A run leaves a destination alone that another one has
//! been working on for seconds, as the ledger says. That one looks for changes once more before it ends.
//!
//! # Tasks
//!
//! Operators redrive keys and synchronise rows by tasks, which the ledger has. Before and between batches, while few
//! keys are due, the relay takes steps of them, each of which makes a bounded number of keys due. A destination that is
//! paused sends nothing, and its tasks wait.
//!
//! # Pace
//!
//! Each call has a time slot of its destination ([`Slots`](landfall_runtime::Slots)), which all relays share.
//!
//! # Failures
//!
//! - The service fails or does not answer: the key is due again later. After five such failures in a row, the *circuit*
//!   of the destination opens: keys that are leased are released, and until a probe succeeds, one key at a time is
//!   sent. Other destinations go on.
//! - The service refuses a row: its change is set aside with the answer.
//! - The relay dies: its leases end, and the outcomes of their keys are uncertain
//!   ([`landfall_destinations`] says what follows from that).
//! - A secret is missing, or the host is not allowed: nothing is sent, and the log says why.
//! - The store cannot record results: the leases end, as if the relay had died.
//! - A definition is invalid: the log says so, and nothing is sent. What is recorded for the destination is kept.
//! - A definition is gone: what is recorded for the destination is deleted. Nothing is deleted unless all definitions
//!   could be read.
//!
//! # Notifications
//!
//! A rule sends completion events to a queue of the relay. Each becomes a *notification* in the ledger for each webhook
//! that is to receive it. Its id follows from the event and the URL, so that an event which is repeated adds none.
//! Notifications that are due are sent at once, and by the runs on the schedule, each after a *claim*, which is a
//! conditional write, so that one relay at a time sends it. If a relay dies, the claim ends after four minutes. A
//! delivered notification is recorded as such, and is not sent again. A URL that fails is left alone until the next
//! run, so that it keeps no others waiting.
//!
//! If the webhooks of a job cannot be read, its event is redelivered, and those that could be read are notified.
//!
//! # Memory
//!
//! At most four destinations are worked on at a time, each with at most two batches of 500 keys, whose rows the store
//! bounds to 8 MiB, and with the bodies of its concurrent calls, at most 1 MiB each. 64 KiB of an answer are read. At
//! most eight notifications are sent at a time, each with a completion event, which EventBridge bounds.

mod batch;
mod bell;
mod busy;
mod call;
mod circuit;
mod context;
mod error;
mod exchange;
mod handler;
mod notify;
mod tasks;
mod together;

pub use batch::{LEASE, USABLE};
pub use bell::Scope;
pub use context::Context;
pub use error::RelayError;
pub use handler::{handle, run};
pub use notify::{accept, send_due};
