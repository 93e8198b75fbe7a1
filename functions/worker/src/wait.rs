//! Why work waits, and how long, apart from stores that are down.

use jiff::Timestamp;
use landfall_closing::CloseError;
use landfall_ledger::Pause;
use landfall_runtime::jittered;
use landfall_stores::StoreError;

use crate::{Wait, WorkError};

/// The shortest and the longest time in seconds after which a chunk of a paused dataset is delivered again.
const SHORTEST_PAUSE: i64 = 60;
const LONGEST_PAUSE: i64 = 300;

/// Returns how long a chunk waits: as long as its dataset has been paused, within limits.
pub(crate) fn wait_for_resume(pause: &Pause, now: Timestamp) -> Wait {
    let since = pause.at.parse().unwrap_or(now);
    let paused_for = now.duration_since(since).as_secs();
    let longest = paused_for.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    Wait {
        seconds: jittered(u32::try_from(longest).unwrap_or_default()),
        reason: format!("{} has paused the dataset", pause.by),
        store: None,
    }
}

/// Has work wait that had to wait too long for the maintenance of its table.
pub(crate) fn wait_if_maintained(error: WorkError) -> WorkError {
    match &error {
        WorkError::Store(error @ StoreError::Maintained { .. })
        | WorkError::Close(CloseError::Prune {
            source: error @ StoreError::Maintained { .. },
            ..
        }) => wait_for_maintenance(&error.to_string()).into(),
        _ => error,
    }
}

pub(crate) fn wait_for_maintenance(reason: &str) -> Wait {
    Wait {
        seconds: jittered(u32::try_from(SHORTEST_PAUSE).unwrap_or_default()),
        reason: reason.to_owned(),
        store: None,
    }
}
