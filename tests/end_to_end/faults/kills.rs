//! Processes of all functions that are killed at random while files are loaded and the API is asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use landfall_domain::{JobId, JobState};
use landfall_tests::Products;
use rand::seq::IndexedRandom;
use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Faults, products};
use crate::http::Api;
use crate::support::{assert_counts, assert_products, upload};

/// For how long functions are killed at most, one each second.
const KILLING: Duration = Duration::from_mins(2);
/// For how long small files are uploaded beside the big one, so that there are splitters to kill.
const UPLOADING: Duration = Duration::from_mins(1);
/// Seconds between two small files.
const PAUSE: usize = 4;
/// Rows of a small file.
const FEW: u32 = 500;

/// Uploads a file and smaller ones, and kills a random process each second while they are loaded. Checks rows, counts
/// and completions, and prints what happened.
pub(super) async fn check(faults: &Faults, file: &[u8]) {
    let job = upload(&faults.stack, "products/killed.csv", file.to_vec()).await;
    let mut files = vec![(job, file.to_vec())];
    let is_over = AtomicBool::new(false);
    let load = async {
        let (kills, last) = kill(faults, &mut files).await;
        let jobs: Vec<_> = files.iter().map(|(job, _)| *job).collect();
        let events = faults.close(&jobs).await;
        is_over.store(true, Ordering::Relaxed);
        (kills, last.elapsed(), events)
    };
    let ((kills, after, events), asked) = tokio::join!(load, ask(faults, job, &is_over));
    let all: u32 = kills.values().sum();
    println!(
        "{all} kills {kills:?}; {} jobs closed {:.0} s after the last one; of {} requests, the API answered {}",
        files.len(),
        after.as_secs_f64(),
        asked.sent,
        asked.answered
    );

    let mut expected = Products::default();
    for (job, file) in &files {
        let event = &events[job];
        let outcome = (event.state, event.dead);
        assert_eq!(outcome, (JobState::Succeeded, 0), "{event:?}");
        assert_counts(event, &Products::from_file(file));
        expected.read(file);
    }
    assert_products(&faults.stack, &expected.rows).await;
    let known: Vec<_> = events.values().collect();
    faults
        .assert_no_other_completion(&known, Duration::from_secs(5))
        .await;
    assert!(kills.contains_key("worker") && kills.contains_key("api"));
    assert!(kills.contains_key("splitter"), "{kills:?}");
    assert!(asked.answered > 0);
    assert!(after < Duration::from_mins(2), "{after:?}");
}

/// Kills a random process each second while the first file is loaded, and uploads further ones. Returns the number of
/// kills by function, and the time of the last one.
async fn kill(
    faults: &Faults,
    files: &mut Vec<(JobId, Vec<u8>)>,
) -> (BTreeMap<&'static str, u32>, Instant) {
    let outputs = faults.stack.outputs();
    let functions = [
        ("splitter", &outputs.splitter_function),
        ("worker", &outputs.worker_function),
        ("maintenance", &outputs.maintenance_function),
        ("api", &outputs.api_function),
        ("socket", &outputs.socket_function),
        ("janitor", &outputs.janitor_function),
    ];
    let first = files[0].0;
    let started = Instant::now();
    let (mut kills, mut last) = (BTreeMap::new(), started);
    for second in 0.. {
        if second % PAUSE == 0 && started.elapsed() < UPLOADING {
            let name = format!("small{second:03}");
            let file = products(&name, FEW);
            let key = format!("products/{name}.csv");
            files.push((upload(&faults.stack, &key, file.clone()).await, file));
        }
        let running = functions.iter().flat_map(|(name, function)| {
            let processes = faults.stack.processes_of(function);
            processes.into_iter().map(|process| (*name, process))
        });
        let running: Vec<_> = running.collect();
        if let Some((name, process)) = running.choose(&mut rand::rng())
            && process.kill().unwrap()
        {
            *kills.entry(*name).or_default() += 1;
            last = Instant::now();
        }
        sleep(Duration::from_secs(1)).await;
        let head = faults.head(first).await;
        let is_closed = head.is_some_and(|head| head.state != JobState::Open);
        let elapsed = started.elapsed();
        if elapsed > KILLING || (is_closed && elapsed > UPLOADING) {
            break;
        }
    }
    (kills, last)
}

/// Requests to the API.
#[derive(Default)]
struct Asked {
    sent: u32,
    answered: u32,
}

/// Asks the API for a job until its loading is over. Only its last answers must be successful, but each must be true.
async fn ask(faults: &Faults, job: JobId, is_over: &AtomicBool) -> Asked {
    let (api, path) = (Api::new(&faults.stack), format!("jobs/{job}"));
    let mut asked = Asked::default();
    while !is_over.load(Ordering::Relaxed) {
        asked.sent += 1;
        if let Some(shown) = answer(&api, &path).await {
            asked.answered += 1;
            let chunks = &shown["chunks"];
            let number = |name: &str| chunks[name].as_u64();
            let processed = number("done").unwrap() + number("dead").unwrap();
            let remaining = number("planned").map(|planned| planned - processed);
            assert_eq!(number("remaining"), remaining, "{shown}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    // A process that was killed may be replaced only now.
    for _ in 0..20 {
        if let Some(shown) = answer(&api, &path).await {
            assert_eq!(shown["state"], "succeeded", "{shown}");
            return asked;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the API answers no more");
}

/// Returns the job, unless there is none yet, or the process that should answer is killed.
async fn answer(api: &Api, path: &str) -> Option<Value> {
    let request = api.get(path).timeout(Duration::from_secs(30));
    let answer = request.send().await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    answer.json().await.ok()
}
