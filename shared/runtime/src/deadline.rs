use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Time that an invocation has if its deadline has passed before it begins. `cargo lambda watch` sets none.
const ASSUMED: Duration = Duration::from_mins(1);

/// When an invocation times out.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    left: Duration,
    now: Instant,
}

impl Deadline {
    /// Returns the deadline at this time.
    pub fn new(time: SystemTime) -> Self {
        Self {
            left: time.duration_since(SystemTime::now()).unwrap_or(ASSUMED),
            now: Instant::now(),
        }
    }

    /// Returns when to stop so that `reserve` is left: now, if less is left.
    pub fn stop_at(self, reserve: Duration) -> Instant {
        self.now + self.left.saturating_sub(reserve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_stops_before_the_deadline_and_a_missing_deadline_is_assumed() {
        let reserve = Duration::from_secs(5);
        let left = |time| Deadline::new(time).stop_at(reserve) - Instant::now();
        let now = SystemTime::now();
        let minutes = left(now + Duration::from_mins(2));
        assert!(minutes > Duration::from_secs(114) && minutes <= Duration::from_secs(115));
        assert_eq!(left(now + Duration::from_secs(3)), Duration::ZERO);
        assert!(left(SystemTime::UNIX_EPOCH) > Duration::from_secs(54));
    }
}
