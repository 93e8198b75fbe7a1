//! Changes that are sent again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use landfall_domain::ChangeState;
use landfall_stores::{ChangeOutcome, DueChange, Selection};

use crate::changes::pairs;
use crate::databases::Database;
use crate::follower::{Follower, notes};
use crate::rows::PAIRS;
use crate::worker::Worker;

pub(crate) fn matching(states: &[ChangeState], answer: Option<&str>) -> Selection {
    Selection::Matching {
        states: states.to_vec(),
        answer: answer.map(str::to_owned),
    }
}

/// Selects all keys that are set aside or unknown.
pub(crate) fn all() -> Selection {
    matching(&[ChangeState::SetAside, ChangeState::Unknown], None)
}

/// Keys that a service refuses again are behind those that are not sent again yet.
pub(crate) async fn redrives_in_parts(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let mut follower = Follower::of(&worker, &["crm"]).await;
    let ids = ["a", "b", "c", "d", "e"];
    worker.apply(1, pairs(&ids, "1")).await;
    let refused = |_: &DueChange| ChangeOutcome::SetAside {
        answer: "422".to_owned(),
        holds: true,
    };
    let (lease, due) = follower.lease("crm", 10).await;
    follower.record("crm", &lease, &due, &refused).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        follower.pass(1);
        assert_eq!(follower.redrive("crm", &all(), 2).await, 2);
        let (lease, due) = follower.lease("crm", 10).await;
        seen.extend(notes(&due).into_iter().map(|(id, _)| id));
        follower.record("crm", &lease, &due, &refused).await;
    }
    let all_keys: BTreeSet<_> = seen.iter().map(String::as_str).collect();
    assert_eq!(all_keys, BTreeSet::from(ids), "{seen:?}");
    // Retries that are far away come first, so that those that fail again are not in front.
    assert_eq!(follower.redrive("crm", &all(), 10).await, 5);
    let (lease, due) = follower.lease("crm", 10).await;
    // Stores keep milliseconds.
    let hour = |hour: i64| follower.after(hour * 3600).as_millisecond();
    let times: Vec<_> = (1..=5)
        .map(|number| Timestamp::from_millisecond(hour(number)).unwrap())
        .collect();
    let id = |change: &DueChange| format!("{:?}", change.key.values);
    let by_id: BTreeMap<_, _> = due.iter().map(id).zip(times.iter().copied()).collect();
    let retry = |change: &DueChange| ChangeOutcome::Retry {
        at: by_id[&id(change)],
        answer: "503".to_owned(),
        counts_as_attempt: true,
        uncertain: false,
    };
    follower.record("crm", &lease, &due, &retry).await;
    let waiting = matching(&[ChangeState::Waiting], None);
    assert_eq!(follower.redrive("crm", &waiting, 2).await, 2);
    let sooner = follower.list("crm", ChangeState::Waiting).await;
    let later = sooner.iter().filter(|change| change.due_at > follower.now);
    assert_eq!(later.map(|change| change.due_at).max(), Some(times[2]));
    assert_eq!(follower.redrive("crm", &waiting, 10).await, 3);
    assert_eq!(follower.redrive("crm", &waiting, 10).await, 0);
    assert_eq!(follower.drain("crm").await.len(), 5);
    worker.drop_table().await;
}

/// A service does not have every key that was sent.
pub(crate) async fn what_the_service_has(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let mut follower = Follower::of(&worker, &["crm"]).await;
    let sends = [
        (false, None, (false, None)),
        (true, None, (true, None)),
        (true, Some("7"), (true, Some("7"))),
        (true, None, (true, Some("7"))),
        (false, None, (false, None)),
        (true, None, (true, None)),
    ];
    let mut expected = None;
    for (moment, (exists, id, then)) in (1..).zip(sends) {
        worker
            .apply(moment, pairs(&["a"], &moment.to_string()))
            .await;
        let (lease, due) = follower.lease("crm", 10).await;
        let known = due[0].sent.as_ref();
        let known = known.map(|sent| (sent.exists, sent.id.as_deref()));
        assert_eq!(known, expected, "before {moment}");
        let outcome = |_: &DueChange| ChangeOutcome::Sent {
            exists,
            id: id.map(str::to_owned),
        };
        assert_eq!(follower.record("crm", &lease, &due, &outcome).await, 1);
        expected = Some(then);
    }
    worker.drop_table().await;
}
