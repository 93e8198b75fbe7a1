use jiff::{SignedDuration, Timestamp};

/// How often a pause is doubled at most.
const MAX_DOUBLINGS: u32 = 5;

/// How long the janitor waits before it acts.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The first pause without progress. All others are multiples of it.
    pub first: SignedDuration,
    /// Attempts to repair a job without any progress, after which the janitor gives up.
    pub max_attempts: u32,
    /// The age of an object from which on a failure of the splitter before its job begins is final.
    pub split_within: SignedDuration,
    /// The greatest age of objects whose lost notifications are replaced. Less than the lifetime of a job's head.
    pub max_object_age: SignedDuration,
}

impl Patience {
    /// Returns the pause before the next attempt: doubled after each attempt, up to a limit.
    pub(crate) fn pause(self, attempts: u32) -> SignedDuration {
        self.first.saturating_mul(1 << attempts.min(MAX_DOUBLINGS))
    }

    /// Returns the pause while messages wait in the chunk queue: a chunk may only be slow.
    pub(crate) fn pause_while_busy(self, attempts: u32) -> SignedDuration {
        self.pause(attempts).saturating_mul(3)
    }

    /// Returns the pause of a job that is not sealed. The splitter records how far it is every few seconds, and Lambda
    /// runs it again a minute or two after it has failed. If the object is packed, an invocation that continues records
    /// nothing until it has unpacked it again, which takes up to 12 minutes.
    pub(crate) fn pause_of_splitter(self, attempts: u32, is_packed: bool) -> SignedDuration {
        let factor = if is_packed { 8 } else { 5 };
        let pause = self.pause(attempts).saturating_mul(factor);
        pause.min(self.pause(MAX_DOUBLINGS))
    }

    /// Returns the age of an object at which its notification is considered lost.
    pub(crate) fn notified_within(self) -> SignedDuration {
        self.first.saturating_mul(8)
    }

    /// Returns for how long functions of an earlier release may run after the janitor's first run.
    pub(crate) fn upgrades_within(self) -> SignedDuration {
        self.first.saturating_mul(30)
    }

    /// Returns the time from the beginning of one inventory of the inbox to that of the next.
    pub(crate) fn between_inventories(self) -> SignedDuration {
        self.first.saturating_mul(5)
    }
}

/// Returns whether a pause that began at this time is over.
pub(crate) fn is_over(since: Timestamp, pause: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(since) >= pause || pause.is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let patience = Patience {
            first: SignedDuration::from_mins(2),
            max_attempts: 6,
            split_within: SignedDuration::MAX,
            max_object_age: SignedDuration::MAX,
        };
        let minutes = |pause: SignedDuration| pause.as_mins();
        let pauses = [0, 1, 2, 3, 4, 5, 6, 99].map(|attempts| minutes(patience.pause(attempts)));
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(minutes(patience.pause_of_splitter(0, false)), 10);
        assert_eq!(minutes(patience.pause_of_splitter(3, false)), 64);
        assert_eq!(minutes(patience.pause_of_splitter(0, true)), 16);
    }
}
