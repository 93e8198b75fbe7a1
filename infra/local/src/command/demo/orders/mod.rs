//! A service that follows orders.

mod erp;
mod held;

pub(super) use erp::Erp;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use landfall_cli::api::Api;
use landfall_cli::seed::{Seeding, Way, seed_orders};
use landfall_local::{Lines, Progress, Stack};
use serde::Deserialize;
use tokio::time::sleep;

use super::directory;

/// The name of the destination.
const NAME: &str = "erp";
/// The time between two looks at the service.
const POLL: Duration = Duration::from_secs(1);
/// How long the service may receive nothing although changes wait.
const STALLED: Duration = Duration::from_mins(3);

/// What waits to be sent.
#[derive(Deserialize)]
struct Destination {
    circuit: String,
    waiting: u64,
    /// Changes that no relay has looked at.
    recorded: u64,
    lag_seconds: Option<u64>,
}

/// Uploads the destination, seeds orders, and waits until the service has them.
pub(super) async fn start(
    stack: &Stack,
    erp: &Erp,
    orders: u64,
    is_kept: bool,
    progress: &Lines,
) -> Result<()> {
    let file = directory("destinations")?.join(format!("{NAME}.toml"));
    let toml = std::fs::read_to_string(&file);
    let toml = toml.with_context(|| format!("cannot read {}", file.display()))?;
    stack.put_destination(NAME, &toml).await?;
    progress.step("starting the relay");
    // From its first run on, changes are recorded.
    stack.invoke(&stack.outputs().relay_function).await?;
    let bar = ProgressBar::new(0);
    if bar.is_hidden() {
        progress.step("seeding orders");
    } else {
        progress.clear();
    }
    let api = api(stack)?;
    let seeding = Seeding {
        orders,
        changes: 0,
        seed: 1,
        // The service starts without orders. Those of an earlier run reach it again only if they change.
        cleans: is_kept,
        way: Way::Files,
        concurrency: 1,
    };
    let seeded = seed_orders(&api, &seeding, &bar).await?;
    progress.clear();
    progress.note(&format!("seeded: {} orders", seeded.orders()));
    let (mut calls, mut called_at) = (0, Instant::now());
    while show(&api, erp, progress).await? > 0 {
        if erp.calls() > calls {
            (calls, called_at) = (erp.calls(), Instant::now());
        }
        if called_at.elapsed() > STALLED {
            let logs = stack.function_logs(30).await?;
            bail!("the service gets no orders\n{logs}");
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// Shows how the service follows until it is dropped.
pub(super) async fn watch(stack: &Stack, erp: &Erp, progress: &Lines) -> Result<()> {
    let api = api(stack)?;
    loop {
        show(&api, erp, progress).await?;
        sleep(POLL).await;
    }
}

fn api(stack: &Stack) -> Result<Api> {
    Ok(Api::new(&stack.outputs().api_url, stack.token())?)
}

/// Shows what the service holds and what waits. Returns how many orders wait.
async fn show(api: &Api, erp: &Erp, progress: &Lines) -> Result<u64> {
    let path = format!("destinations/{NAME}");
    let destination = api.get::<Destination>(&path).await;
    let destination = destination.context("cannot read the destination")?;
    let (held, calls) = (erp.held(), erp.calls_per_second());
    let waiting = destination.waiting + destination.recorded;
    let lag = destination.lag_seconds.unwrap_or_default();
    let circuit = destination.circuit;
    progress.step(&format!(
        "following: the service holds {held} orders; {waiting} changes wait, the oldest for {lag} s; {calls} calls per \
         second; circuit {circuit}"
    ));
    Ok(waiting)
}
