use jiff::Timestamp;
use landfall_aws::Earlier;
use tokio::time::Instant;

/// A delivery of a chunk's message.
///
/// A delivery after which the chunk has to wait does not count: the message is sent again with the number of the
/// receives before it.
///
/// Of the receives that the queue allows, the worker ingests in all but the last, and marks the chunk dead if the last
/// of these fails. The last receive is only reached if a worker died, or could not mark the chunk. It repeats the mark,
/// so that the message does not have to go to the dead-letter queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    /// How often the chunk has been received, approximately; `None` if SQS does not report it.
    pub(crate) receives: Option<u32>,
    /// Whether its message was sent again after it had to wait.
    pub(crate) has_waited: bool,
    /// Since when it has waited for a store that is down.
    pub(crate) down_since: Option<Timestamp>,
    /// How often it is received at most.
    pub(crate) max_receives: u32,
    /// When to stop ingesting, so that time is left for the mark and the close.
    pub(crate) ingest_until: Instant,
    /// When to stop taking steps of a prune.
    pub(crate) close_until: Instant,
}

impl Delivery {
    pub(crate) fn new(
        receive_count: Option<u32>,
        earlier: Earlier,
        max_receives: u32,
        ingest_until: Instant,
        close_until: Instant,
    ) -> Self {
        Self {
            receives: receive_count.map(|count| count.saturating_add(earlier.receives)),
            has_waited: earlier.has_waited,
            down_since: earlier.down_since,
            max_receives,
            ingest_until,
            close_until,
        }
    }

    /// Returns what the next message carries over if this delivery ends with a wait.
    pub(crate) fn after_wait(self, down_since: Option<Timestamp>) -> Earlier {
        Earlier {
            receives: self.receives.unwrap_or(1).saturating_sub(1),
            has_waited: true,
            down_since,
        }
    }

    /// Returns whether the chunk may be marked already.
    pub(crate) fn is_repeated(self) -> bool {
        self.has_waited || self.receives != Some(1)
    }

    /// Returns whether the chunk is dead if this delivery fails.
    pub(crate) fn is_last(self) -> bool {
        self.receives
            .is_some_and(|receives| receives.saturating_add(1) >= self.max_receives)
    }

    /// Returns whether the last delivery ended without a mark.
    pub(crate) fn is_beyond_last(self) -> bool {
        // The first delivery ingests, even if the queue allows no other.
        self.receives
            .is_some_and(|receives| receives > 1 && receives >= self.max_receives)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_receive_is_kept_for_the_mark() {
        let delivery = |receives, max_receives| Delivery {
            receives,
            has_waited: false,
            down_since: None,
            max_receives,
            ingest_until: Instant::now(),
            close_until: Instant::now(),
        };
        for (receives, max_receives, repeated, last, beyond) in [
            (None, 3, true, false, false),
            (Some(1), 3, false, false, false),
            (Some(2), 3, true, true, false),
            (Some(3), 3, true, true, true),
            (Some(9), 3, true, true, true),
            (Some(1), 1, false, true, false),
        ] {
            let delivery = delivery(receives, max_receives);
            assert_eq!(delivery.is_repeated(), repeated, "{delivery:?}");
            assert_eq!(delivery.is_last(), last, "{delivery:?}");
            assert_eq!(delivery.is_beyond_last(), beyond, "{delivery:?}");
        }
    }

    #[test]
    fn a_wait_costs_no_receive() {
        let mut earlier = Earlier::default();
        let now = Instant::now();
        let received = |earlier, times| Delivery::new(Some(times), earlier, 8, now, now);
        for (times, receives) in [(1, 1), (1, 1), (3, 3), (1, 3), (2, 4), (1, 4)] {
            let delivery = received(earlier, times);
            assert_eq!(delivery.receives, Some(receives));
            earlier = delivery.after_wait(None);
            assert!(received(earlier, 1).is_repeated());
        }
    }
}
