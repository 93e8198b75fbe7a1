//! The long forms, which `cargo faults` runs: they print what they measure.
//!
//! On two cores that other builds shared, with functions of the `dev` profile and a million rows each: 16 jobs closed
//! 24 seconds after the last of 114 kills. With PostgreSQL stopped for 20 and for 300 seconds, the job closed 8 and 30
//! seconds after its return.

use std::time::Duration;

use landfall_domain::JobState;
use landfall_tests::Products;
use tokio::time::{Instant, sleep};

use super::{Faults, kills};
use crate::support::{assert_counts, assert_products, products_file, upload};

/// Rows of a file, unless the variable says otherwise.
const ROWS: u64 = 1_000_000;
const ROWS_VARIABLE: &str = "LANDFALL_FAULTS_ROWS";
/// The template's default.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;

fn rows() -> u64 {
    std::env::var(ROWS_VARIABLE).map_or(ROWS, |rows| rows.parse().unwrap())
}

/// Starts a stack that divides a file with these rows into as many chunks as the default size does with [`ROWS`].
async fn start() -> Faults {
    let chunk_bytes = CHUNK_BYTES * rows() / ROWS;
    Faults::start(false, &chunk_bytes.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo faults"]
async fn a_million_rows_land_while_functions_are_killed() {
    let faults = start().await;
    kills::check(&faults, &products_file(rows(), 3)).await;
}

async fn stop_for(faults: &mut Faults, seconds: u64, seed: u64) {
    let file = products_file(rows(), seed);
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
    let outcome = (event.state, event.dead);
    assert_eq!(outcome, (JobState::Succeeded, 0), "{event:?}");
    let expected = Products::from_file(&file);
    assert_counts(&event, &expected);
    assert_products(&faults.stack, &expected.rows).await;
    faults
        .assert_no_other_completion(&[&event], Duration::from_secs(5))
        .await;
    assert!(took < Duration::from_mins(1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo faults"]
async fn a_million_rows_land_although_postgresql_stops() {
    let mut faults = start().await;
    // The same keys in both files.
    stop_for(&mut faults, 20, 4).await;
    stop_for(&mut faults, 300, 4).await;
}
