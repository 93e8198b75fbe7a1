//! Chunks that cannot be processed, and a database that is away for a while.

use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName;
use landfall_domain::{CompletionEvent, DeadCode, JobState, ProblemCode};
use landfall_local::{Sql, Stack};
use landfall_tests::Products;
use reqwest::StatusCode;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::http::Api;
use crate::support::{
    assert_products, completions, land, products_file, products_in_mongodb, products_in_sql, start,
    upload,
};
use crate::wide::{CHUNK_BYTES, wide_rows_are_reported_and_the_others_stored};

/// Runs statements on a database of the PostgreSQL server of the stack.
async fn execute(stack: &Stack, database: &str, statements: &[&str]) {
    let (server, _) = stack.sql_url().rsplit_once('/').unwrap();
    let url = format!("{server}/{database}");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for statement in statements {
        let statement = AssertSqlSafe(*statement);
        sqlx::raw_sql(statement)
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

/// Returns the number of messages in the dead-letter queue of the chunk queue.
pub async fn dead_letters(stack: &Stack) -> String {
    let sqs = aws_sdk_sqs::Client::new(stack.sdk_config());
    let redrive = QueueAttributeName::RedrivePolicy;
    let attributes = sqs.get_queue_attributes();
    let attributes = attributes.queue_url(&stack.outputs().chunk_queue_url);
    let attributes = attributes.attribute_names(redrive.clone()).send().await;
    let policy = attributes.unwrap().attributes.unwrap().remove(&redrive);
    let policy: serde_json::Value = serde_json::from_str(&policy.unwrap()).unwrap();
    let arn = policy["deadLetterTargetArn"].as_str().unwrap();
    let name = arn.rsplit(':').next().unwrap();
    let url = sqs.get_queue_url().queue_name(name).send().await.unwrap();
    let messages = QueueAttributeName::ApproximateNumberOfMessages;
    let attributes = sqs.get_queue_attributes();
    let attributes = attributes.queue_url(url.queue_url.unwrap());
    let attributes = attributes.attribute_names(messages.clone()).send().await;
    attributes.unwrap().attributes.unwrap()[&messages].clone()
}

/// Waits for the completion of this attempt of a job.
async fn attempt(stack: &Stack, first: &CompletionEvent, attempt: u32) -> CompletionEvent {
    loop {
        let event = stack.next_event(Duration::from_mins(5)).await.unwrap();
        let event = event.expect("the attempt closes").detail;
        if (event.job, event.attempt) == (first.job, attempt) {
            return event;
        }
    }
}

async fn wait_for(stack: &Stack, job: landfall_domain::JobId) -> CompletionEvent {
    completions(stack, &[job]).await.remove(&job).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_store_refuses_closes_its_job_at_once_with_the_reason() {
    let stack = start(Sql::Postgres, &[CHUNK_BYTES]).await;
    let first = "sku,name,description\nfirst,x,\n";
    land(&stack, "products/first.csv", first.as_bytes().to_vec()).await;
    let check = "ALTER TABLE products ADD CONSTRAINT sound CHECK (name <> 'poison')";
    execute(&stack, "landfall", &[check]).await;

    let rows = (0..1_000).map(|row| match row {
        500 => "s500,poison,\n".to_owned(),
        _ => format!("s{row},name {row},\n"),
    });
    let file = format!("sku,name,description\n{}", rows.collect::<String>());
    let started = Instant::now();
    let event = land(&stack, "products/poison.csv", file.clone().into_bytes()).await;
    let took = started.elapsed();
    assert!(took < Duration::from_mins(1), "{took:?}");
    assert_eq!(event.state, JobState::Partial);
    let problem = event.problem.as_ref().unwrap();
    assert_eq!(problem.code, ProblemCode::DeadChunks);
    assert!(event.chunks > 2);
    assert_eq!((event.dead, event.dead_chunks.first.len()), (1, 1));
    let dead = &event.dead_chunks.first[0];
    assert_eq!(dead.code, DeadCode::StoreRefused);
    assert!(dead.reason.contains("sound"), "{}", dead.reason);
    let poison = file.find("s500,").unwrap() as u64;
    assert!((dead.range.start..dead.range.end).contains(&poison));
    let before = &file[..usize::try_from(dead.range.start).unwrap()];
    assert_eq!(dead.first_line, before.lines().count() as u64 + 1);
    let place = format!("line 502 (byte {poison}): postgres refused");
    assert!(dead.reason.starts_with(&place), "{}", dead.reason);
    // All other rows of its chunk are stored.
    let mut stored = Products::from_file(first.as_bytes());
    stored.read(file.replace("s500,poison,\n", "").as_bytes());
    assert_eq!(products_in_sql(stack.sql_url()).await, stored.rows);
    stored.read(file.as_bytes());
    assert_eq!(products_in_mongodb(stack.mongodb_uri()).await, stored.rows);
    assert_eq!(dead_letters(&stack).await, "0");

    let job = Api::new(&stack).json(&format!("jobs/{}", event.job)).await;
    assert_eq!(job["chunks"]["dead"], 1);
    assert_eq!(job["dead_chunks"]["by_code"]["store_refused"], 1);
    assert_eq!(
        job["dead_chunks"]["first"][0]["reason"],
        dead.reason.as_str()
    );

    // Once the cause is removed, a redrive of the dead chunk repairs the job. A newer row of the chunk stays.
    let drop = "ALTER TABLE products DROP CONSTRAINT sound";
    execute(&stack, "landfall", &[drop]).await;
    let newer = "sku,name,description\ns501,newer,\n";
    land(&stack, "products/newer.csv", newer.as_bytes().to_vec()).await;
    let path = format!("jobs/{}/redrive", event.job);
    let api = Api::new(&stack);
    let open = api.post(&path, &serde_json::Value::Null, StatusCode::ACCEPTED);
    assert_eq!(open.await["attempt"], 2);
    let again = attempt(&stack, &event, 2).await;
    assert_eq!(again.state, JobState::Succeeded, "{:?}", again.problem);
    assert_ne!(again.id, event.id);
    assert_eq!((again.counts.rows, again.dead), (1_000, 0));
    for counts in again.counts.stores.values() {
        assert_eq!((counts.total(), counts.stale), (1_000, 1));
    }
    let mut expected = Products::from_file(first.as_bytes());
    expected.read(file.as_bytes());
    expected.read(newer.as_bytes());
    assert_products(&stack, &expected.rows).await;
    let job = Api::new(&stack).json(&format!("jobs/{}", event.job)).await;
    assert_eq!(job["redrives"][0]["state"], "succeeded");
    assert_eq!(job["redrives"][0]["chunks"], 1);

    wide_rows_are_reported_and_the_others_stored(&stack, "postgres", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_succeeds_soon_after_its_database_returns() {
    let stack = start(Sql::Postgres, &[("ChunkBytes", "65536")]).await;
    let file = products_file(20_000, 8);
    // Ends all connections and accepts no new ones, as a server does while it restarts.
    let down = [
        "ALTER DATABASE landfall ALLOW_CONNECTIONS false",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'landfall'",
    ];
    let job = upload(&stack, "products/a.csv", file.clone()).await;
    execute(&stack, "postgres", &down).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let waiting = Api::new(&stack).json(&format!("jobs/{job}")).await;
    assert_eq!(waiting["state"], "open");
    assert_eq!(waiting["waiting_for"][0]["store"], "postgres");
    execute(
        &stack,
        "postgres",
        &["ALTER DATABASE landfall ALLOW_CONNECTIONS true"],
    )
    .await;
    let returned = Instant::now();
    let event = wait_for(&stack, job).await;
    let took = returned.elapsed();
    assert_eq!(event.state, JobState::Succeeded, "{:?}", event.problem);
    println!("closed {:.1} s after its return", took.as_secs_f64());
    assert!(took < Duration::from_mins(1), "{took:?}");
    assert_eq!(event.dead, 0);
    assert_eq!(dead_letters(&stack).await, "0");
    assert_products(&stack, &Products::from_file(&file).rows).await;
}
