//! Databases that go away in the middle of a load, and come back.

use std::time::Duration;

use landfall_domain::JobState;
use landfall_tests::Products;
use tokio::time::{Instant, sleep};

use super::{Faults, replies, wait_until, workers};
use crate::http::Api;
use crate::support::{assert_counts, assert_products, products_file, upload};

/// How long a database is away.
const AWAY: Duration = Duration::from_secs(8);

/// Which database of the stack goes away.
#[derive(Clone, Copy, Debug)]
enum Which {
    Sql,
    Mongodb,
}

/// Takes a database away in the middle of a load, and checks the job once it is back.
async fn check(faults: &mut Faults, which: Which, expected: &mut Products) {
    let file = products_file(30_000, 7);
    expected.read(&file);
    let job = upload(&faults.stack, "products/load.csv", file.clone()).await;
    faults.wait_for_the_middle(job).await;
    match which {
        // As in a crash: what was marked must be durable.
        Which::Sql => faults.sql.kill().unwrap(),
        // The stand-in does not sync its log with each write.
        Which::Mongodb => faults.mongodb.stop(),
    }
    let stopped = Instant::now();
    let (api, path) = (Api::new(&faults.stack), format!("jobs/{job}"));
    if matches!(which, Which::Mongodb) {
        sleep(AWAY).await;
    } else {
        // The first worker that fails has tried for 30 seconds.
        let name = faults.sql.url().split(':').next().unwrap();
        wait_until("the job says what it waits for", async || {
            let job = api.json(&path).await;
            assert_eq!(job["state"], "open");
            job["waiting_for"][0]["store"] == name
        })
        .await;
    }
    let database = match which {
        Which::Sql => &mut faults.sql,
        Which::Mongodb => &mut faults.mongodb,
    };
    database.start().await.unwrap();
    let returned = Instant::now();
    let event = faults.close(&[job]).await.remove(&job).unwrap();
    println!(
        "{which:?}: away for {:.1} s, closed {:.1} s after its return",
        (returned - stopped).as_secs_f64(),
        returned.elapsed().as_secs_f64()
    );
    assert!(returned.elapsed() < Duration::from_mins(1));
    let outcome = (event.state, event.dead);
    assert_eq!(outcome, (JobState::Succeeded, 0), "{event:?}");
    assert_counts(&event, &Products::from_file(&file));
    assert_products(&faults.stack, &expected.rows).await;
    assert_eq!(api.json(&path).await["waiting_for"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_counted_twice_if_functions_or_databases_fail() {
    let mut faults = Faults::start(false, "65536").await;
    let mut expected = workers::check(&faults).await;
    replies::check(&faults, &mut expected).await;
    check(&mut faults, Which::Sql, &mut expected).await;
    check(&mut faults, Which::Mongodb, &mut expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_continues_once_mariadb_is_back() {
    let mut faults = Faults::start(true, "65536").await;
    let mut expected = Products::default();
    check(&mut faults, Which::Sql, &mut expected).await;
}
