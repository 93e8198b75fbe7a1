//! What the functions log: metrics, and lines that lead from a job to everything about it.

use std::time::Duration;

use landfall_local::Sql;
use serde_json::{Value, json};

use crate::support::{land, products_file, start};

const ROWS: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_have_metrics_by_dataset_and_the_job_in_every_line() {
    let stack = start(Sql::Sqlite, &[]).await;
    let event = land(&stack, "products/1.csv", products_file(ROWS, 1)).await;
    let job = event.job.to_string();
    let mut logs = String::new();
    for _ in 0..100 {
        logs = stack.function_logs(1_000).await.unwrap();
        if logs.contains("job closed") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let metrics: Vec<Value> = logs
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("worker: ")?).ok())
        .filter(|line: &Value| line.get("_aws").is_some())
        .collect();
    let sum = |name: &str| -> u64 { metrics.iter().filter_map(|line| line[name].as_u64()).sum() };
    assert_eq!(sum("Rows"), event.counts.rows, "{logs}");
    assert_eq!(sum("Rejects"), event.counts.rejected);
    assert_eq!(sum("JobsSucceeded"), 1);
    for line in &metrics {
        assert_eq!(line["Dataset"], "products");
        assert_eq!(line["job"], job);
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        let dimensions = json!([["Stack"], ["Stack", "Dataset"]]);
        assert_eq!(directive["Dimensions"], dimensions);
    }

    let of_functions = |line: &&str| line.starts_with("splitter: ") || line.starts_with("worker: ");
    let about_jobs: Vec<&str> = logs
        .lines()
        .filter(of_functions)
        .filter(|line| !line.contains("S3 has enabled notifications"))
        .collect();
    for message in ["sealed", "the chunk is marked", "job closed"] {
        assert!(
            about_jobs.iter().any(|line| line.contains(message)),
            "{logs}"
        );
    }
    for line in about_jobs {
        assert!(line.contains(&job), "{line}");
    }
}
