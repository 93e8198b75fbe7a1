//! Indexes and totals that a definition adds to a big table are created while files are ingested.

use std::time::Duration;

use landfall_domain::JobState;
use landfall_local::Sql;
use reqwest::StatusCode;
use serde_json::Value;

use crate::http::Api;
use crate::support::{land, start};

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
    let stack = start(Sql::Sqlite, &[]).await;
    stack.put_dataset("parts", PARTS).await.unwrap();
    let api = Api::new(&stack);
    let first = land(&stack, "parts/all.csv", parts(ROWS)).await;
    assert_eq!(first.state, JobState::Succeeded);
    stack.put_dataset("parts", INDEXED).await.unwrap();
    // Definitions are cached for a minute, so not each file has the new one.
    let mut groups = None;
    for number in 0..60 {
        let file = format!("parts/{number}.csv");
        assert_eq!(
            land(&stack, &file, parts(1)).await.state,
            JobState::Succeeded
        );
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
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let groups = groups.expect("the totals are built");
    let counts = groups["totals"].as_array().unwrap().iter();
    let sum: i64 = counts.map(|group| group["n"].as_i64().unwrap()).sum();
    assert_eq!(sum, i64::from(ROWS));
    let path = stack.sql_url().strip_prefix("sqlite://").unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    let indexes: i64 = connection
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = '_by_parts.kind'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(indexes, 1);
}
