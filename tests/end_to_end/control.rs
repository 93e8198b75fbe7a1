//! Jobs that somebody controls while they run or afterwards.

use std::time::Duration;

use landfall_domain::{DeadCode, JobState, ProblemCode, StoreCounts};
use landfall_local::Sql;
use landfall_tests::Products;
use reqwest::{Method, StatusCode};

use crate::http::{Api, json_of};
use crate::support::{assert_products, completions, land, products_file, start, upload};

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_closes_without_its_other_chunks_and_its_file_can_be_uploaded_again() {
    let stack = start(Sql::Postgres, &[("ChunkBytes", "4096")]).await;
    let api = Api::new(&stack);
    let file = products_file(20_000, 5);
    let job = upload(&stack, "products/a.csv", file.clone()).await;
    let path = format!("jobs/{job}");
    loop {
        // From the first chunk on, the job is processed; it has hundreds of them.
        let answer = api.get(&path).send().await.unwrap();
        if answer.status() == StatusCode::OK {
            let shown = json_of(answer, StatusCode::OK).await;
            if shown["chunks"]["done"].as_u64() > Some(0) {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = api.request(Method::DELETE, &path).send().await.unwrap();
    let shown = json_of(answer, StatusCode::ACCEPTED).await;
    assert!(shown["cancelled"]["by"].is_string(), "{shown}");

    let event = completions(&stack, &[job]).await.remove(&job).unwrap();
    assert_eq!(event.state, JobState::Cancelled);
    assert_eq!(event.problem.unwrap().code, ProblemCode::Cancelled);
    assert_eq!(event.dead_chunks.by_code[&DeadCode::Cancelled], event.dead);
    assert!(event.dead > 0 && event.dead < event.chunks);
    assert!(event.counts.rows < 20_000);
    // What the event says is in the stores, and nothing else.
    let rows = api.rows("datasets/products/rows?limit=1000").await;
    let inserted = event.counts.stores.values().map(StoreCounts::total);
    assert!(inserted.clone().all(|total| total == event.counts.rows));
    assert!(rows.len() as u64 <= event.counts.rows);

    let again = land(&stack, "products/a.csv", file.clone()).await;
    assert_eq!(again.state, JobState::Succeeded, "{:?}", again.problem);
    assert_products(&stack, &Products::from_file(&file).rows).await;
}
