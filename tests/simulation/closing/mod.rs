//! How jobs close: after crashes at every step, and with snapshots.

mod crashes;
mod snapshots;
