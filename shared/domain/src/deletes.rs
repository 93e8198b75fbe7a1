//! How long deletes are remembered.
//!
//! A row that deletes its key leaves a tombstone with its version, which makes older rows of the key that come later
//! stale. Tombstones expire, so no such row may come after that. The delete was written after its object was created,
//! and its object is newer than that of the older row. So the tombstone still exists as long as the object of the older
//! row is younger than tombstones get.

use jiff::{SignedDuration, Timestamp};

use crate::version::ObjectOrder;

/// How long the stores keep tombstones, in days.
pub const TOMBSTONE_DAYS: u32 = 30;

/// The age of an object after which its chunks are not processed any more if rows can delete. Two days shorter than the
/// life of tombstones, for clocks that differ and for the worker that has just begun.
const MAX_AGE: SignedDuration = SignedDuration::from_hours((TOMBSTONE_DAYS as i64 - 2) * 24);

impl ObjectOrder {
    /// Returns whether the stores may have forgotten deletes of rows of this object that are newer.
    pub fn may_outlive_tombstones(&self, now: Timestamp) -> bool {
        let age = i128::from(now.as_millisecond()) - i128::from(self.time_ms());
        age > MAX_AGE.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;

    #[test]
    fn deletes_are_forgotten_after_28_days() {
        let now: Timestamp = "2026-11-29T08:30:00Z".parse().unwrap();
        for (created, expected) in [
            ("2026-11-01T08:29:59.999Z", true),
            ("2026-11-01T08:30:00Z", false),
            ("2026-11-29T09:00:00Z", false),
            ("1970-01-01T00:00:00Z", true),
        ] {
            let created: Timestamp = created.parse().unwrap();
            let job = JobId::for_object("inbox", "a", "1");
            let order = ObjectOrder::new(created.as_millisecond(), "01", job).unwrap();
            assert_eq!(order.may_outlive_tombstones(now), expected, "{created}");
        }
    }
}
