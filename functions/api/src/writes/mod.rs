//! Writes of single rows: how they are ordered, recorded and sent.
//!
//! 1. The row is decoded as a worker will decode it, so that what a file would reject is refused at once.
//! 2. A clock in the ledger orders the write. Its order is the id of the write, and the version of the row.
//! 3. The write is recorded, then sent to the workers. A row that is too large for a message becomes an object before.
//! 4. The request is answered. A worker applies the row, and records what became of it.
//!
//! So of two writes of a key, one that is sent after the other was acknowledged is the greater, whatever the clocks of
//! the instances say.
//!
//! A request with an idempotency key claims it before the third step. If the handler dies after that, the repeated
//! request takes over once the claim is over, with the id of the first one: it records and sends the same write again,
//! which is harmless. It thus has the place of the first request among the writes of its key.

mod accept;
mod request;
mod view;

pub(crate) use accept::{
    CLAIM_MS, FIRST_LOOK, LONGEST_LOOK, LONGEST_WAIT, accept, in_flight, wait_for_end, written,
};
pub(crate) use request::{IdempotencyKey, RowWrite};
pub(crate) use view::WriteView;
