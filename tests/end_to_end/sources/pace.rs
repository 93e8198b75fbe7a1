//! The pace of requests, which all instances of the puller share in the ledger.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use landfall_fetch::{Pace, PaceError};
use landfall_ledger::PaceTable;
use landfall_local::Stack;
use landfall_sources::Limits;
use puller::LedgerPace;
use tokio::time::Instant;

const PER_SECOND: usize = 5;
const INSTANCES: usize = 4;
/// Requests of each instance.
const REQUESTS: usize = 6;

fn limits(requests_per_day: Option<u64>) -> Limits {
    Limits {
        requests_per_second: 5.0,
        requests_per_day,
        bytes: 1,
        pages: 1,
        seconds: 1,
        response_bytes: 1,
    }
}

/// Checks the limits per second and per day, and a pause, with several instances.
pub async fn check(stack: &Stack) {
    let instance = || LedgerPace::new(Arc::new(super::ledger(stack)) as Arc<dyn PaceTable>);
    let instances: Vec<LedgerPace> = (0..INSTANCES).map(|_| instance()).collect();
    let sending = instances.iter().map(async |pace| {
        let mut sent = Vec::new();
        for _ in 0..REQUESTS {
            pace.wait("budget.example", &limits(None)).await.unwrap();
            sent.push(Instant::now());
        }
        sent
    });
    let mut sent = join_all(sending).await.concat();
    sent.sort_unstable();
    for pair in sent.windows(PER_SECOND + 2) {
        // One more for what the machine delays between the permission and the sending.
        let within = pair[PER_SECOND + 1].duration_since(pair[0]);
        assert!(within >= Duration::from_secs(1), "{within:?}");
    }

    for request in 0..3 {
        let pace = &instances[request % INSTANCES];
        pace.wait("day.example", &limits(Some(3))).await.unwrap();
    }
    let refused = instances[3].wait("day.example", &limits(Some(3))).await;
    assert!(
        matches!(refused, Err(PaceError::Day { most: 3, .. })),
        "{refused:?}"
    );

    let pause = Duration::from_mins(30);
    instances[0].pause("busy.example", pause).await.unwrap();
    instances[1]
        .pause("busy.example", Duration::from_secs(1))
        .await
        .unwrap();
    for pace in &instances {
        let refused = pace.wait("busy.example", &limits(None)).await;
        let is_paused = matches!(&refused, Err(PaceError::Wait(wait)) if *wait > pause / 2);
        assert!(is_paused, "{refused:?}");
    }
}
