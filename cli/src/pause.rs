//! Datasets of a stack that are paused.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use landfall_aws::Lookup;
use landfall_ledger::{Ledger, Pause};
use landfall_runtime::Environment;

/// Pauses a dataset. Returns who has paused it.
pub(crate) async fn pause(dataset: &str, by: &str) -> Result<Pause> {
    let environment = Environment::load().await;
    let ledger = Ledger::new(Arc::new(environment.ledger_table()?));
    if let Lookup::Unknown = environment.datasets()?.latest(dataset).await? {
        bail!("there is no dataset {dataset:?}");
    }
    let paused = ledger.pause(dataset, by).await;
    paused.context("cannot pause the dataset")
}

/// Resumes a dataset.
pub(crate) async fn resume(dataset: &str) -> Result<()> {
    let environment = Environment::load().await;
    let ledger = Ledger::new(Arc::new(environment.ledger_table()?));
    let resumed = ledger.resume(dataset).await;
    resumed.context("cannot resume the dataset")
}
