//! Confirmations of prunes that were held back.

use axum::http::{Method, StatusCode};
use landfall_aws::WorkMessage;
use landfall_domain::{HeldPrune, JobId, JobState, Mode, ObjectOrder, PruneDecision, StoreKind};
use landfall_ledger::{LedgerTable, Seal, Sums};

use crate::fakes::{Api, PRODUCTS};

/// Creates a snapshot job of `products` whose prune is held back.
async fn held(api: &Api, key: &str) -> JobId {
    let definition = PRODUCTS.replacen("[[fields]]", "mode = \"snapshot\"\n[[fields]]", 1);
    api.buckets
        .put_text("config", "datasets/products.toml", &definition);
    let mut head = api.start_job(key).await;
    head.mode = Mode::Snapshot;
    let held = HeldPrune {
        store: StoreKind::Sqlite,
        rows: 500,
        deletes: 490,
        max_share: 0.2,
    };
    let problem = held.problem(head.job);
    let decision = PruneDecision { held: Some(held) };
    api.ledger.decide_prune(head.job, decision).await.unwrap();
    let seal = Seal {
        chunks: 0,
        problem: None,
        warnings: Vec::new(),
    };
    let head = api.ledger.seal(head.job, &seal).await.unwrap();
    let closed =
        api.ledger
            .record_close(&head, JobState::Succeeded, Some(problem), Sums::default());
    let head = closed.await.unwrap();
    api.ledger.record_published(&head).await.unwrap();
    head.job
}

fn sent(api: &Api) -> Vec<WorkMessage> {
    std::mem::take(&mut *api.queue.0.lock().unwrap())
}

#[tokio::test]
async fn a_confirmed_prune_is_handed_to_the_workers_until_it_is_done() {
    let api = Api::new();
    let job = held(&api, "products/1.csv").await;
    let shown = api.get(&format!("/jobs/{job}")).await.json();
    assert_eq!(shown["prune"], "held");
    assert_eq!(shown["problem"]["code"], "prune_held");
    let message = shown["problem"]["message"].as_str().unwrap();
    assert!(message.contains("490 of the 500 rows"), "{message}");

    let path = format!("/jobs/{job}/prune");
    for _ in 0..2 {
        let response = api.post(&path, "application/json", "").await;
        assert_eq!(response.status, StatusCode::ACCEPTED, "{}", response.text());
        assert_eq!(response.json()["prune"], "confirmed");
        assert_eq!(response.header("location"), format!("../{job}"));
        assert_eq!(sent(&api), [WorkMessage::Close { job }]);
    }
    let dataset = api.table.head(job).await.unwrap().unwrap().dataset.unwrap();
    let pruned = [(StoreKind::Sqlite, 490)].into();
    let done = api.ledger.record_pruned(job, &dataset, pruned).await;
    done.unwrap();
    api.ledger.record_prune_published(job).await.unwrap();
    let response = api.post(&path, "application/json", "").await;
    assert_eq!(response.status, StatusCode::ACCEPTED, "{}", response.text());
    assert_eq!(sent(&api), []);
    let shown = api.get(&format!("/jobs/{job}")).await.json();
    assert_eq!(shown["prune"], "done");
    assert_eq!(shown["problem"], serde_json::Value::Null);
    assert_eq!(shown["counts"]["stores"]["sqlite"]["pruned"], 490);
}

#[tokio::test]
async fn prunes_that_must_not_run_are_refused() {
    let api = Api::new();
    let refused = async |job: JobId, reason: &str| {
        let response = api
            .post(&format!("/jobs/{job}/prune"), "application/json", "")
            .await;
        assert_eq!(response.status, StatusCode::CONFLICT, "{reason}");
        assert!(response.detail().contains(reason), "{}", response.detail());
        assert_eq!(sent(&api), []);
    };
    let open = api.start_job("products/open.csv").await.job;
    refused(open, "still open").await;
    api.close_job(open).await;
    refused(open, "nothing to confirm").await;

    let job = held(&api, "products/1.csv").await;
    api.buckets
        .put_text("config", "datasets/products.toml", PRODUCTS);
    refused(job, "mode").await;

    let newer = ObjectOrder::new(2, "", job).unwrap();
    api.table.raise_floor("products", newer).await.unwrap();
    refused(job, "newer snapshot").await;
}

#[tokio::test]
async fn a_confirmation_needs_the_scope_write() {
    let api = Api::new();
    let job = held(&api, "products/1.csv").await;
    api.assert_needs_write(Method::POST, &format!("/jobs/{job}/prune"))
        .await;
}
