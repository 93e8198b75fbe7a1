//! Destinations: what they cost a load, and how fast one relay sends changes to a service that answers at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_sdk_lambda::primitives::Blob;
use axum::Router;
use axum::http::StatusCode;
use landfall_local::{Lines, Progress, Sql, Stack, Stores};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::Plan;
use crate::data::Sample;
use crate::landfall::Landfall;
use crate::profile::{CpuUsage, wait_until_idle};
use crate::result::{Part, Run, as_float};
use crate::tables::Database;

/// Rows of a load, unless fewer are wanted.
const ROWS: u64 = 500_000;
/// Rows that are sent, unless fewer are wanted.
const SENT: u64 = 100_000;
const WITHOUT: &str = "load without a destination";
const WITH: &str = "load with a destination";
const LOAD: &str = "first load, put to completion event";
const RELAY: &str = "one relay";
const WHAT: &str =
    "from the first call of a service that answers at once to the last; each call has one row";
const WITHIN: Duration = Duration::from_mins(10);
/// How long to wait while another relay runs.
const BUSY: Duration = Duration::from_millis(50);
/// The default: what is sent beside a load takes next to nothing of the machine.
const SLOWLY: &str = "";
const FAST: &str = "[limits]\nper_second = 10000\nconcurrency = 64\n";

pub(crate) async fn measure(plan: &Plan, progress: &Lines) -> Result<Part> {
    let title = "Destinations: loads with and without one, and calls of one relay, PostgreSQL";
    let mut part = plan.part("destinations", title);
    let landfall = Landfall::start(Stores::Sql, Sql::Postgres, progress).await?;
    let url = landfall.stack.sql_url();
    part.versions.extend([Database::at(url).version().await?]);
    let service = Service::start().await?;

    let sample = Sample::make(plan.directory(), ROWS.min(plan.rows), 1)?;
    for run in 0..plan.runs {
        // In turn, and each first once.
        let mut names = [WITHOUT, WITH];
        if run % 2 == 1 {
            names.reverse();
        }
        for name in names {
            progress.step(&format!("destinations, run {}: {name}", run + 1));
            let dataset = format!("load_{run}_{}", usize::from(name == WITH));
            landfall.dataset(&dataset).await?;
            if name == WITH {
                define(&landfall.stack, &dataset, &service, SLOWLY).await?;
            }
            let loaded = landfall.ingest(&dataset, &sample, sample.keyed).await?;
            remove(&landfall.stack, &dataset).await?;
            landfall.drop_tables(&dataset).await?;
            part.add(name, LOAD, sample.rows, loaded);
        }
    }
    part.compare("cost (least 1.5, goal 1.2)", WITHOUT, &[WITH], None);

    let sample = Sample::make(plan.directory(), SENT.min(plan.rows), 1)?;
    for run in 0..plan.runs {
        progress.step(&format!("destinations, run {}: {RELAY}", run + 1));
        let dataset = format!("sent_{run}");
        landfall.dataset(&dataset).await?;
        define(&landfall.stack, &dataset, &service, FAST).await?;
        reserve(&landfall.stack, 0).await?;
        landfall.put(&dataset, &sample.file).await?;
        wait_until_idle().await;
        let sent = send(&landfall.stack, &service, sample.keyed.rows).await?;
        remove(&landfall.stack, &dataset).await?;
        landfall.drop_tables(&dataset).await?;
        part.add(RELAY, WHAT, sample.keyed.rows, sent);
    }
    if let Some(seconds) = part.seconds(RELAY) {
        let rate = as_float(sample.keyed.rows) / seconds;
        part.figure(
            "calls of one relay (least 500, goal 5000)",
            rate,
            "calls/s",
            None,
        );
    }
    landfall.stack.stop();
    Ok(part)
}

/// Defines a destination of a dataset with the same name, and has the relay begin to record changes for it.
async fn define(stack: &Stack, dataset: &str, service: &Service, limits: &str) -> Result<()> {
    let definition = format!(
        "dataset = \"{dataset}\"\nurl = \"{}\"\nupdate = {{ path = \"/{{{{ sku }}}}\" }}\n{limits}",
        service.url
    );
    stack.put_destination(dataset, &definition).await?;
    reserve(stack, 1).await?;
    invoke(stack).await
}

async fn remove(stack: &Stack, name: &str) -> Result<()> {
    let delete = stack.s3().delete_object();
    let delete = delete.bucket(&stack.outputs().config_bucket);
    let key = format!("destinations/{name}.toml");
    let deleted = delete.key(&key).send().await;
    deleted
        .with_context(|| format!("cannot delete {key}"))
        .map(drop)
}

/// Sets how many relays may run at a time.
async fn reserve(stack: &Stack, relays: i32) -> Result<()> {
    let lambda = aws_sdk_lambda::Client::new(stack.sdk_config());
    let reserve = lambda.put_function_concurrency();
    let reserve = reserve.function_name(&stack.outputs().relay_function);
    let reserve = reserve.reserved_concurrent_executions(relays);
    let reserved = reserve.send().await;
    reserved
        .context("cannot reserve the relay's concurrency")
        .map(drop)
}

/// Runs the relay until nothing is due. While another one runs that was rung or is on the schedule, waits for it.
async fn invoke(stack: &Stack) -> Result<()> {
    loop {
        let invoked = aws_sdk_lambda::Client::new(stack.sdk_config()).invoke();
        let invoked = invoked.function_name(&stack.outputs().relay_function);
        let invoked = invoked.payload(Blob::new("{}")).send().await;
        if let Err(error) = &invoked
            && let Some(InvokeError::TooManyRequestsException(_)) = error.as_service_error()
        {
            sleep(BUSY).await;
            continue;
        }
        let error = invoked.context("cannot call the relay")?.function_error;
        ensure!(error.is_none(), "the relay failed: {error:?}");
        return Ok(());
    }
}

/// Has one relay send so many rows.
async fn send(stack: &Stack, service: &Service, rows: u64) -> Result<Run> {
    let (calls, before) = (service.calls(), CpuUsage::now());
    reserve(stack, 1).await?;
    let invoked = invoke(stack);
    let timed = async {
        let stop_at = Instant::now() + WITHIN;
        let mut first = None;
        loop {
            let sent = service.calls() - calls;
            if sent > 0 {
                first.get_or_insert_with(Instant::now);
            }
            if sent >= rows {
                return Ok(first.map(|first| first.elapsed()).unwrap_or_default());
            }
            ensure!(
                Instant::now() < stop_at,
                "only {sent} of {rows} rows were sent"
            );
            sleep(Duration::from_millis(2)).await;
        }
    };
    let ((), took) = tokio::try_join!(invoked, timed)?;
    Ok(Run {
        seconds: took.as_secs_f64(),
        cpu_seconds: CpuUsage::now().since(&before),
        ..Run::default()
    })
}

/// A service that accepts every call.
struct Service {
    url: String,
    calls: Arc<AtomicU64>,
    server: JoinHandle<()>,
}

impl Service {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("cannot start a service")?;
        let url = format!("http://{}", listener.local_addr()?);
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        let router = Router::new().fallback(move |_: axum::body::Bytes| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(StatusCode::NO_CONTENT)
        });
        let server = tokio::spawn(async move {
            // It ends when it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, calls, server })
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}
