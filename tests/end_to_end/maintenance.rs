//! Indexes and totals that a definition adds to a big table are created while files are ingested.

use std::time::Duration;

use landfall_domain::{JobId, JobState};
use landfall_local::Sql;
use reqwest::StatusCode;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use crate::http::Api;
use crate::support::{forget_definitions, land, start};

const PARTS: &str = r#"
name = "parts"
key = ["id"]
fields = [{ name = "id", type = "integer" }, { name = "kind", type = "text" }]
"#;
const INDEXED: &str = r#"
name = "parts"
key = ["id"]
fields = [{ name = "id", type = "integer" }, { name = "kind", type = "text", index = true }]

[[totals]]
name = "parts_by_kind"
by = ["kind"]
columns = { n = "count" }
"#;
const ROWS: u32 = 110_000;

fn parts(rows: u32) -> Vec<u8> {
    let lines = (0..rows).map(|row| format!("{row},kind {}\n", row % 7));
    format!("id,kind\n{}", lines.collect::<String>()).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_and_indexes_of_a_big_table_come_later() {
    let stack = start(Sql::Postgres, &[]).await;
    stack.put_dataset("parts", PARTS).await.unwrap();
    let api = Api::new(&stack);
    let first = land(&stack, "parts/all.csv", parts(ROWS)).await;
    assert_eq!(first.state, JobState::Succeeded);
    stack.put_dataset("parts", INDEXED).await.unwrap();
    forget_definitions(&stack);
    let (mut groups, mut jobs) = (None, Vec::new());
    for number in 0..60 {
        let file = format!("parts/{number}.csv");
        let event = land(&stack, &file, parts(1)).await;
        assert_eq!(event.state, JobState::Succeeded);
        jobs.push(event.job);
        let answer = api.get("datasets/parts/totals/parts_by_kind").send().await;
        let answer = answer.unwrap();
        match answer.status() {
            StatusCode::OK => {
                groups = Some(answer.json::<Value>().await.unwrap());
                break;
            }
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => {}
            other => panic!("{other}"),
        }
        sleep(Duration::from_secs(3)).await;
    }
    let groups = groups.expect("the totals are built");
    assert_finished(&api, &jobs).await;
    let counts = groups["totals"].as_array().unwrap().iter();
    let sum: i64 = counts.map(|group| group["n"].as_i64().unwrap()).sum();
    assert_eq!(sum, i64::from(ROWS));
    let mut connection = PgConnection::connect(stack.sql_url()).await.unwrap();
    let valid =
        "SELECT indisvalid FROM pg_index WHERE indrelid = 'parts'::regclass AND NOT indisprimary";
    let valid: Vec<bool> = sqlx::query_scalar(valid)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(valid, [true]);
}

/// Asserts that a job shows when its maintenance was finished.
async fn assert_finished(api: &Api, jobs: &[JobId]) {
    for _ in 0..30 {
        for job in jobs {
            let job = api.json(&format!("jobs/{job}")).await;
            if job["maintenance"]["finished_at"].is_string() {
                return;
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
    panic!("no job shows its maintenance");
}
