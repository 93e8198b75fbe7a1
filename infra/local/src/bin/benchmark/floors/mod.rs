//! Floors: what a client alone can do that knows all rows from the start and guards against nothing.
//!
//! All of them start with the clean file on disk and end with the last commit, and load the columns of a
//! plain user's table: no version, no unknown columns.

pub(crate) mod mariadb;
pub(crate) mod mongodb;
pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::profile::settle;
use crate::result::Run;

const WITHIN: Duration = Duration::from_mins(30);

/// Runs a floor on quiet databases. It gives the time at which its rows were ready to be sent.
async fn timed(floor: impl Future<Output = Result<Option<Instant>>>) -> Result<Run> {
    settle().await;
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
