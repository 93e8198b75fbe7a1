//! Changes of rows for destinations: what is due, leased, recorded and sent again.

use landfall_domain::{ChangeState, Row, Value};
use landfall_stores::{ChangeOutcome, ChangeSummary, DueChange, Selection, StoreError};

use crate::changes_again::{all, matching};
use crate::databases::Database;
use crate::follower::{Follower, expected, notes, sent};
use crate::rows::{PAIRS, counts, deleted_pair, pair, text};
use crate::worker::Worker;

pub(crate) fn pairs(ids: &[&str], note: &str) -> Vec<Row> {
    ids.iter().map(|id| pair(id, note)).collect()
}

pub(crate) async fn only_changes_are_due(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    worker.apply(1, pairs(&["a", "b"], "before")).await;
    let mut follower = Follower::of(&worker, &["crm"]).await;
    assert_eq!(follower.drain("crm").await, []);
    // Unchanged, updated, inserted.
    let rows = vec![pair("a", "before"), pair("b", "2"), pair("c", "2")];
    worker.applies(2, rows.clone(), counts(1, 1, 1, 0)).await;
    let due = follower.drain("crm").await;
    assert_eq!(notes(&due), expected(&[("b", Some("2")), ("c", Some("2"))]));
    assert!(
        due.iter()
            .all(|change| change.sent.is_none() && change.attempts == 0)
    );
    // Redelivered, stale, or the same values again.
    worker.applies(2, rows.clone(), counts(0, 0, 3, 0)).await;
    worker
        .applies(1, pairs(&["b", "c"], "late"), counts(0, 0, 0, 2))
        .await;
    worker.applies(3, rows, counts(0, 0, 3, 0)).await;
    assert_eq!(follower.drain("crm").await, []);
    // Deleted: there, never sent, absent.
    let deletes = ["b", "a", "z"].map(deleted_pair);
    worker.apply(4, deletes.to_vec()).await;
    let due = follower.drain("crm").await;
    assert_eq!(notes(&due), expected(&[("b", None)]));
    let is_known = |change: &DueChange| change.sent.as_ref().map(|sent| sent.id.clone());
    let known: Vec<_> = due.iter().filter_map(is_known).collect();
    assert_eq!(known, [Some("id of b".to_owned())]);
    // A key that comes back is new to the service.
    worker.apply(5, pairs(&["b"], "5")).await;
    let due = follower.drain("crm").await;
    assert_eq!(notes(&due), expected(&[("b", Some("5"))]));
    assert_eq!(due[0].sent, None);
    worker.drop_table().await;
}

pub(crate) async fn changes_supersede_each_other(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let mut follower = Follower::of(&worker, &["crm"]).await;
    for moment in 1..=5 {
        worker
            .apply(moment, pairs(&["a"], &moment.to_string()))
            .await;
    }
    let due = follower.drain("crm").await;
    assert_eq!(notes(&due), expected(&[("a", Some("5"))]));
    // It changes while it is sent.
    worker.apply(6, pairs(&["a"], "6")).await;
    let (lease, due) = follower.lease("crm", 10).await;
    assert_eq!(due[0].sent.as_ref().unwrap().id.as_deref(), Some("id of a"));
    worker.apply(7, pairs(&["a"], "7")).await;
    assert_eq!(follower.lease("crm", 10).await.1, []);
    assert_eq!(follower.record("crm", &lease, &due, &sent).await, 1);
    let due = follower.drain("crm").await;
    assert_eq!(notes(&due), expected(&[("a", Some("7"))]));
    // It is deleted while it is sent, and comes back while that is sent.
    worker.apply(8, pairs(&["a"], "8")).await;
    let (lease, due) = follower.lease("crm", 10).await;
    worker.apply(9, vec![deleted_pair("a")]).await;
    follower.record("crm", &lease, &due, &sent).await;
    let (lease, due) = follower.lease("crm", 10).await;
    assert_eq!(notes(&due), expected(&[("a", None)]));
    worker.apply(10, pairs(&["a"], "10")).await;
    follower.record("crm", &lease, &due, &sent).await;
    let due = follower.drain("crm").await;
    assert_eq!(notes(&due), expected(&[("a", Some("10"))]));
    assert_eq!(due[0].sent, None);
    worker.drop_table().await;
}

pub(crate) async fn a_lost_lease_is_due_again(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let mut follower = Follower::of(&worker, &["crm"]).await;
    worker.apply(1, pairs(&["a", "b", "c"], "1")).await;
    let (first, due) = follower.lease("crm", 2).await;
    assert_eq!(notes(&due), expected(&[("a", Some("1")), ("b", Some("1"))]));
    let (_, rest) = follower.lease("crm", 10).await;
    assert_eq!(notes(&rest), expected(&[("c", Some("1"))]));
    assert_eq!(follower.record("crm", &first, &due[..1], &sent).await, 1);
    follower.pass_lease();
    let (second, again) = follower.lease("crm", 10).await;
    assert_eq!(
        notes(&again),
        expected(&[("b", Some("1")), ("c", Some("1"))])
    );
    assert!(again.iter().all(|change| change.is_uncertain));
    // The first one is late, and changes nothing.
    let refuse = |_: &DueChange| ChangeOutcome::SetAside {
        answer: "no".to_owned(),
        holds: true,
    };
    assert_eq!(follower.record("crm", &first, &due, &refuse).await, 0);
    let release = |_: &DueChange| ChangeOutcome::Released;
    assert_eq!(follower.record("crm", &second, &again, &release).await, 2);
    let due = follower.drain("crm").await;
    assert_eq!(due.len(), 2);
    assert!(
        due.iter()
            .all(|change| change.is_uncertain && change.attempts == 0)
    );
    worker.apply(2, pairs(&["b"], "2")).await;
    assert!(!follower.drain("crm").await[0].is_uncertain);
    worker.drop_table().await;
}

pub(crate) async fn retries_and_refusals(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let mut follower = Follower::of(&worker, &["crm"]).await;
    let ids = ["held", "retried", "skipped", "throttled", "unknown"];
    worker.apply(1, pairs(&ids, "1")).await;
    let (lease, due) = follower.lease("crm", 10).await;
    let at = follower.after(600);
    let outcome = |change: &DueChange| {
        let Value::Text(id) = &change.key.values[0] else {
            panic!("{change:?}");
        };
        let id = id.as_str();
        let answer = format!("answer to {id}");
        match id {
            "held" => ChangeOutcome::SetAside {
                answer,
                holds: true,
            },
            "skipped" => ChangeOutcome::SetAside {
                answer,
                holds: false,
            },
            "unknown" => ChangeOutcome::Unknown {
                answer,
                holds: true,
            },
            other => ChangeOutcome::Retry {
                at,
                answer: "é".repeat(3_000),
                counts_as_attempt: other == "retried",
                uncertain: other == "retried",
            },
        }
    };
    assert_eq!(follower.record("crm", &lease, &due, &outcome).await, 5);
    let summary = follower.summary("crm").await;
    assert!(summary.oldest_wanted_at.is_some());
    let expected_summary = ChangeSummary {
        waiting: 2,
        set_aside: 2,
        unknown: 1,
        oldest_wanted_at: summary.oldest_wanted_at,
        ..ChangeSummary::default()
    };
    assert_eq!(summary, expected_summary);
    let listed = follower.list("crm", ChangeState::SetAside).await;
    let answers: Vec<_> = listed
        .iter()
        .filter_map(|change| change.answer.clone())
        .collect();
    assert_eq!(answers.len(), 2);
    assert!(answers.contains(&"answer to held".to_owned()));
    assert_eq!(listed.iter().filter(|change| change.holds).count(), 1);
    let waiting = follower.list("crm", ChangeState::Waiting).await;
    assert!(
        waiting
            .iter()
            .all(|change| change.answer.as_ref().unwrap().len() == 2_000)
    );
    assert_eq!(follower.list("crm", ChangeState::Unknown).await.len(), 1);
    // Later changes pass only where nothing holds them.
    worker.apply(2, pairs(&ids, "2")).await;
    let due = follower.drain("crm").await;
    assert_eq!(notes(&due), expected(&[("skipped", Some("2"))]));
    follower.pass(600);
    let due = follower.drain("crm").await;
    assert_eq!(
        notes(&due),
        expected(&[("retried", Some("2")), ("throttled", Some("2"))])
    );
    let state = |change: &DueChange| (change.attempts, change.is_uncertain);
    let mut states: Vec<_> = due.iter().map(state).collect();
    states.sort_unstable();
    assert_eq!(states, [(0, false), (1, true)]);
    // Redriven, as they stand.
    let other = matching(&[ChangeState::Unknown], Some("answer to (held"));
    assert_eq!(follower.redrive("crm", &other, 10).await, 0);
    let state = matching(&[ChangeState::Unknown], Some("answer to unk"));
    assert_eq!(follower.redrive("crm", &state, 10).await, 1);
    assert_eq!(follower.redrive("crm", &state, 10).await, 0);
    assert_eq!(follower.redrive("crm", &all(), 10).await, 1);
    let due = follower.drain("crm").await;
    assert_eq!(
        notes(&due),
        expected(&[("held", Some("2")), ("unknown", Some("2"))])
    );
    assert!(due.iter().all(|change| change.attempts == 0));
    // Keys that were sent are sent again if they are named.
    let keys = ["held", "never"].map(|id| vec![text(id)]);
    let keys = Selection::Keys(keys.to_vec());
    assert_eq!(follower.redrive("crm", &keys, 10).await, 1);
    let due = follower.drain("crm").await;
    assert_eq!(notes(&due), expected(&[("held", Some("2"))]));
    assert!(due[0].sent.is_some());
    assert_eq!(follower.summary("crm").await, ChangeSummary::default());
    worker.drop_table().await;
}

pub(crate) async fn a_prune_is_a_delete_of_each_key(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let mut follower = Follower::of(&worker, &["crm"]).await;
    worker.apply(10, pairs(&["a", "b", "c", "d"], "10")).await;
    worker.apply(11, vec![deleted_pair("d")]).await;
    follower.drain("crm").await;
    worker.apply(12, pairs(&["e"], "12")).await;
    worker.apply(20, pairs(&["a"], "10")).await;
    assert_eq!(worker.prune(20).await, 3);
    let due = follower.drain("crm").await;
    assert_eq!(notes(&due), expected(&[("b", None), ("c", None)]));
    // Late rows are stale; newer ones come back.
    worker
        .applies(15, pairs(&["b"], "15"), counts(0, 0, 0, 1))
        .await;
    assert_eq!(follower.drain("crm").await, []);
    worker.apply(25, pairs(&["b"], "25")).await;
    let due = follower.drain("crm").await;
    assert_eq!(notes(&due), expected(&[("b", Some("25"))]));
    worker.drop_table().await;
}

pub(crate) async fn existing_rows_are_synchronised(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let ids: Vec<String> = (0..95).map(|id| format!("key {id:03}")).collect();
    let rows = |ids: &[String], note: &str| ids.iter().map(|id| pair(id, note)).collect();
    worker.apply(1, rows(&ids, "1")).await;
    let mut follower = Follower::of(&worker, &["crm", "shop"]).await;
    worker.apply(2, rows(&ids[..10], "2")).await;
    assert_eq!(follower.drain("crm").await.len(), 10);
    let mut steps = 1;
    let mut marked = 0;
    let marked = loop {
        let step = follower.sync_step("crm").await;
        assert!(step.marked >= marked);
        marked = step.marked;
        if step.is_done {
            break marked;
        }
        steps += 1;
        // Between two steps: some that are marked, others that are not yet.
        worker
            .apply(10 + steps, rows(&ids[40..50], &format!("{steps}")))
            .await;
    };
    assert!(steps >= 4, "{steps} steps");
    assert!((75..=85).contains(&marked), "{marked} marked");
    assert_eq!(follower.drain_all("crm").await.len(), 85);
    // All have been marked, or sent before.
    let again = loop {
        let step = follower.sync_step("crm").await;
        if step.is_done {
            break step.marked;
        }
    };
    assert_eq!(again, 0);
    // The other one has only what has changed.
    let due = follower.drain_all("shop").await;
    assert_eq!(due.len(), 20);
    worker.drop_table().await;
}

pub(crate) async fn destinations_come_and_go(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let tables = || database.tables_of_changes(&worker.dataset);
    assert_eq!(tables().await, 0);
    let mut follower = Follower::of(&worker, &[]).await;
    worker.apply(1, pairs(&["a"], "1")).await;
    assert_eq!(tables().await, 0);
    assert_eq!(follower.tracked().await, None);
    let untracked = follower.try_lease("crm", 10).await;
    assert!(
        matches!(untracked, Err(StoreError::Untracked { .. })),
        "{untracked:?}"
    );
    follower.track(&["crm", "shop"]).await;
    let ids: Vec<String> = (0..50).map(|id| format!("key {id:03}")).collect();
    let rows = |note: &str| ids.iter().map(|id| pair(id, note)).collect();
    worker.apply(2, rows("2")).await;
    // Another worker, and a definition that knows nothing of it.
    let other = worker.other().await;
    let redefined = other
        .redefined(&format!("{PAIRS}\nunknown_columns = \"drop\""))
        .await;
    redefined.apply(3, pairs(&["a"], "3")).await;
    assert_eq!(follower.drain_all("crm").await.len(), 51);
    follower.track(&["crm"]).await;
    let gone = follower.try_lease("shop", 10).await;
    assert!(
        matches!(gone, Err(StoreError::Untracked { .. })),
        "{gone:?}"
    );
    worker.apply(4, pairs(&["a"], "4")).await;
    // It comes back, and begins with what changes next.
    follower.track(&["crm", "shop"]).await;
    follower.track(&["shop", "crm"]).await;
    worker.apply(5, pairs(&["b"], "5")).await;
    let due = follower.drain("shop").await;
    assert!(notes(&due).contains(&("b".to_owned(), Some("5".to_owned()))));
    assert!(due.len() <= 2, "{due:?}");
    assert_eq!(follower.drain("crm").await.len(), 2);
    // The dataset has no definition any more.
    let registered = follower.tracked().await.unwrap();
    follower.store.track(&registered, &[]).await.unwrap();
    assert_eq!(follower.tracked().await, None);
    worker.apply(6, pairs(&["a", "b"], "6")).await;
    follower.track(&["crm"]).await;
    assert_eq!(follower.drain("crm").await, []);
    worker.apply(7, pairs(&["a"], "7")).await;
    assert_eq!(
        notes(&follower.drain("crm").await),
        expected(&[("a", Some("7"))])
    );
    worker.drop_table().await;
}

/// Chunks so big that a store may write them in parts, or in another way.
pub(crate) async fn changes_of_big_chunks(database: &Database) {
    let worker = Worker::of(database, PAIRS).await;
    let mut follower = Follower::of(&worker, &["crm"]).await;
    let rows = |keys: std::ops::Range<u32>, note: &str| {
        let rows = keys.map(|key| pair(&format!("key {key:05}"), note));
        rows.collect::<Vec<_>>()
    };
    worker
        .applies(1, rows(0..3_000, "1"), counts(3_000, 0, 0, 0))
        .await;
    assert_eq!(follower.drain_all("crm").await.len(), 3_000);
    worker
        .applies(2, rows(2_700..5_700, "2"), counts(2_700, 300, 0, 0))
        .await;
    assert_eq!(follower.drain_all("crm").await.len(), 3_000);
    let mut mixed = rows(0..2_000, "1");
    mixed.extend(rows(4_000..5_000, "3"));
    worker.applies(3, mixed, counts(0, 1_000, 2_000, 0)).await;
    let due = follower.drain_all("crm").await;
    assert_eq!(due.len(), 1_000);
    assert!(due.iter().all(|change| change.sent.is_some()));
    worker
        .applies(3, rows(5_600..5_800, "3"), counts(100, 100, 0, 0))
        .await;
    assert_eq!(follower.drain_all("crm").await.len(), 200);
    worker.drop_table().await;
}

pub(crate) async fn changes_of_merged_columns(database: &Database) {
    let definition = r#"
        key = ["id"]
        mode = "merge"
        fields = [{ name = "id", type = "text" }, { name = "note", type = "text" }]
    "#;
    let worker = Worker::of(database, definition).await;
    let mut follower = Follower::of(&worker, &["crm"]).await;
    worker.apply(1, pairs(&["a", "b", "c"], "1")).await;
    assert_eq!(follower.drain("crm").await.len(), 3);
    let rows = vec![
        pair("a", "1"),
        pair("b", "2"),
        deleted_pair("c"),
        pair("d", "2"),
    ];
    worker.apply(2, rows.clone()).await;
    let due = follower.drain("crm").await;
    let changed = [("b", Some("2")), ("c", None), ("d", Some("2"))];
    assert_eq!(notes(&due), expected(&changed));
    worker.apply(2, rows).await;
    worker.apply(1, pairs(&["b", "c"], "late")).await;
    assert_eq!(follower.drain("crm").await, []);
    worker.drop_table().await;
}
