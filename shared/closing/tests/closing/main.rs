//! How jobs close: after crashes at every step, and with snapshots.

#![expect(clippy::unwrap_used, reason = "a test")]

mod crashes;
mod fakes;
mod snapshots;
