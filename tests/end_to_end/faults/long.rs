//! The long forms, which `cargo faults` runs: they print what they measure.
//!
//! On two cores, with functions of the `dev` profile: after 22 kills in two minutes, the job closed 41 seconds after
//! the last one. With PostgreSQL stopped for 20 and for 300 seconds, it closed 11 and 41 seconds after its return.

use std::time::Duration;

use landfall_domain::{CompletionEvent, JobState};
use landfall_tests::Products;
use rand::seq::IndexedRandom;
use tokio::time::{Instant, sleep};

use super::Faults;
use crate::support::{assert_counts, assert_products, products_file, upload};

/// Rows of a file.
const ROWS: u64 = 1_000_000;
/// For how long functions are killed.
const KILLING: Duration = Duration::from_mins(2);
/// The template's default.
const CHUNK_BYTES: &str = "8388608";

/// Checks a job that has closed, and that it does not close again.
async fn check_closed(faults: &Faults, event: &CompletionEvent, file: &[u8]) {
    assert_eq!(
        (event.state, event.dead),
        (JobState::Succeeded, 0),
        "{event:?}"
    );
    let expected = Products::from_file(file);
    assert_counts(event, &expected);
    assert_products(&faults.stack, &expected.rows).await;
    let another = faults
        .stack
        .next_event(Duration::from_secs(5))
        .await
        .unwrap();
    assert!(
        another.is_none_or(|another| another.detail == *event),
        "two completions"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo faults"]
async fn a_million_rows_land_while_functions_are_killed() {
    let faults = Faults::start(false, CHUNK_BYTES).await;
    let file = products_file(ROWS, 3);
    let started = Instant::now();
    let job = upload(&faults.stack, "products/killed.csv", file.clone()).await;
    // Whether notifications of S3 survive a dead splitter is up to Lambda, whose retries the local stack lacks.
    crate::delivery::wait_for_seal(&faults.stack, job).await;
    let (mut kills, mut last) = (0, Instant::now());
    while last.duration_since(started) < KILLING {
        sleep(Duration::from_secs(1)).await;
        let head = faults.head(job).await.unwrap();
        if head.state != JobState::Open {
            break;
        }
        let outputs = faults.stack.outputs();
        let functions = [&outputs.worker_function, &outputs.socket_function];
        let processes = functions
            .map(|function| faults.stack.processes_of(function))
            .concat();
        if let Some(process) = processes.choose(&mut rand::rng()) {
            kills += u32::from(process.kill().unwrap());
        }
        last = Instant::now();
    }
    let head = faults.head(job).await.unwrap();
    let done = faults.progress(&head).await.done;
    let event = faults.close(&[job]).await.remove(&job).unwrap();
    let (took, after) = (started.elapsed(), last.elapsed());
    println!(
        "{kills} kills in {:.0} s, after which {done} of {} chunks were done; closed after {:.0} s, {:.0} s after the \
         last kill",
        (last - started).as_secs_f64(),
        event.chunks,
        took.as_secs_f64(),
        after.as_secs_f64()
    );
    check_closed(&faults, &event, &file).await;
    assert!(kills > 10 && after < Duration::from_mins(2));
}

async fn stop_for(faults: &mut Faults, seconds: u64, seed: u64) {
    let file = products_file(ROWS, seed);
    let job = upload(&faults.stack, "products/stopped.csv", file.clone()).await;
    faults.wait_for_the_middle(job).await;
    faults.sql.stop();
    sleep(Duration::from_secs(seconds)).await;
    let head = faults.head(job).await.unwrap();
    assert_eq!(head.state, JobState::Open);
    let done = faults.progress(&head).await.done;
    faults.sql.start().await.unwrap();
    let returned = Instant::now();
    let event = faults.close(&[job]).await.remove(&job).unwrap();
    let took = returned.elapsed();
    println!(
        "PostgreSQL stopped for {seconds} s with {done} of {} chunks done: closed {:.0} s after its return",
        event.chunks,
        took.as_secs_f64()
    );
    check_closed(faults, &event, &file).await;
    assert!(took < Duration::from_mins(1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo faults"]
async fn a_million_rows_land_although_postgresql_stops() {
    let mut faults = Faults::start(false, CHUNK_BYTES).await;
    // The same keys in both files.
    stop_for(&mut faults, 20, 4).await;
    stop_for(&mut faults, 300, 4).await;
}
