//! **Puller**: fetches the sources that are due, and stores the records of each run as one object of the inbox.
//!
//! *Input*: a schedule, every minute.
//!
//! *Output*: objects `<dataset>/sources/<source>/…` in the inbox, which are ingested like all others; the records of
//! sources and their runs in the ledger.
//!
//! Each invocation looks at all sources. What has to be done about one follows from its record
//! ([`Record::step`](landfall_sources::Record::step)): start a run, continue a walk, create the object of a walk that
//! is whole, or see whether the job of an object has closed. Before anything is done, the source is *leased* with a
//! conditional write, so that runs of a source never overlap.
//!
//! # Leases
//!
//! A lease lasts 15 seconds and is renewed while the walk goes on, so that soon after an invocation dies, another one
//! follows. Each write of the record needs the revision that the invocation has read or written last. So an invocation
//! that was too slow to renew its lease finds that it has lost it, and what it has stored until then counts for
//! nothing. While an object is created, the lease lasts until the invocation is over for certain: an object must not
//! appear after another invocation has given it up.
//!
//! # Nothing is lost, and nothing is claimed too early
//!
//! - An object is created only when its walk is whole: by one request, or by completing a multipart upload. A walk that
//!   fails is started again, with another object. Once that is recorded, its upload is aborted.
//! - The state that a walk proposes is recorded before its object is created. If the reply to that is lost, the next
//!   invocation finds the object by its key, which belongs to this walk alone, or walks again.
//! - The proposed state becomes current when the job of the object has succeeded. The next run starts after that, so
//!   that the objects of a source are in the order of its runs. If the job closes in another way, the next run starts
//!   where this one did.
//! - A walk without records has no object and no job: its state becomes current at once.
//! - The parts of an upload are named by their `ETag`s when it is completed, so that a part which another invocation
//!   replaced, although its lease was over, makes the upload fail instead of mixing two walks.
//!
//! A walk that takes longer than an invocation is continued by the next one, from its last checkpoint: after each part,
//! and at the end of the invocation with the records that are too few for a part, which are kept in an object aside.
//! An answer that is stored as it arrives, such as a CSV file, must arrive within one invocation.
//!
//! A source with children has requests for each row of another dataset, one row after the other in the order of their
//! keys, which are read from a database page by page. The checkpoint has the row whose pages are being fetched.
//!
//! *Failure policy*: a request that may succeed later is repeated, then the walk, up to five times with growing pauses.
//! A run that fails is recorded with its reason, and the source is due again at its next time. A failure of one source
//! does not stop the others. Failures of AWS and of the database end a step; the next invocation repeats it.
//!
//! *Memory*: for each of four sources at a time, a part of 8 MiB and one answer, 16 MiB unless its definition says
//! otherwise.

mod aws;
mod catalog;
mod complete;
mod context;
mod error;
mod fetch;
mod handler;
mod held;
mod pace;
mod parents;
mod store;
mod walk;

pub use context::Context;
pub use error::PullerError;
pub use fetch::{Fetcher, Fetching, HttpFetcher};
pub use handler::{handle, run};
pub use pace::LedgerPace;
pub use parents::{ParentRows, ParentsError};
pub use store::{PART_BYTES, Target};
