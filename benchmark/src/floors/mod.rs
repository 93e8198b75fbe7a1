//! Floors: the speed of a client that knows all rows from the start and has no safeguards.
//!
//! All floors start with the clean file on disk and end with the last commit. They load the columns of an ordinary
//! table: no version, no unknown columns.

pub(crate) mod mariadb;
pub(crate) mod mongodb;
pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::profile::wait_until_idle;
use crate::result::Run;

const WITHIN: Duration = Duration::from_mins(30);

/// Runs a floor on idle databases. The floor returns when its rows were ready to be sent.
async fn timed(floor: impl Future<Output = Result<Option<Instant>>>) -> Result<Run> {
    wait_until_idle().await;
    let start = Instant::now();
    let prepared = tokio::time::timeout(WITHIN, floor)
        .await
        .context("a floor took more than half an hour")??;
    Ok(Run {
        seconds: start.elapsed().as_secs_f64(),
        preparing_seconds: prepared.map(|at| (at - start).as_secs_f64()),
        ..Run::default()
    })
}
