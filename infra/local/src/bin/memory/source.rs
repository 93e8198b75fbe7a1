//! A source that is walked, instead of a file that is uploaded.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use landfall_domain::CompletionEvent;
use landfall_ledger::{DynamoTable, SourceTable};
use landfall_local::{PageServer, Progress, Stack};
use landfall_sources::RunEntry;
use tokio::time::{Instant, sleep};

use crate::TIMEOUT;

/// The interval between runs of the puller, which is a minute on AWS.
pub(crate) const PULL_EVERY: Duration = Duration::from_secs(2);
/// How soon after the completion event the run must be over.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);
const NAME: &str = "pulled";
/// Records of a page, which has about a megabyte.
const PAGE: u64 = 1_000;
const TEXT_BYTES: usize = 970;

const DATASET: &str = "name = \"pulled\"\nkey = [\"id\"]\nfields = [\n\
    { name = \"id\", type = \"integer\" },\n\
    { name = \"text\", type = \"text\" },\n]\n";

/// Walks over at least so many bytes, and returns what to print of the walk, and the event.
pub(crate) async fn pull(
    stack: &Stack,
    bytes: u64,
    progress: &dyn Progress,
) -> Result<(String, CompletionEvent)> {
    let pages = bytes.div_ceil(page(1, u64::MAX).len() as u64);
    let server = PageServer::start(move |number| {
        (number < pages).then(|| page(number, pages).into_bytes().into())
    });
    let server = server.await?;
    stack.put_dataset(NAME, DATASET).await?;
    progress.step("fetching and ingesting");
    stack.put_source(NAME, &definition(server.url())).await?;
    let event = loop {
        match stack.next_event(TIMEOUT).await? {
            Some(event) if event.detail.dataset.as_deref() == Some(NAME) => break event.detail,
            Some(_) => {}
            None => bail!("no job closed:\n{}", stack.function_logs(40).await?),
        }
    };
    let run = run(stack).await?;
    ensure!(
        event.counts.rows == pages * PAGE && run.progress.bytes >= bytes,
        "the walk has {} rows in {} bytes; it must have {} in {bytes}",
        event.counts.rows,
        run.progress.bytes,
        pages * PAGE
    );
    let seconds = run.ended.duration_since(run.started).as_secs_f64();
    let walk = format!(
        "walk: {} bytes in {} pages, {seconds:.1} s from its start until its job was found to have closed",
        run.progress.bytes, run.progress.pages
    );
    Ok((walk, event))
}

fn definition(url: &str) -> String {
    format!(
        "dataset = \"{NAME}\"\nurl = \"{url}\"\nevery = \"1 day\"\nrecords = \"records\"\n\
         paging = {{ kind = \"cursor\", parameter = \"page\", cursor = \"next\" }}\n\
         [limits]\nrequests_per_second = 1000\nbytes = {}\npages = 1000000\nseconds = 86400\n",
        32_u64 << 30
    )
}

/// Returns a page with other records than each other one.
fn page(number: u64, pages: u64) -> String {
    let text = "Lorem ipsum dolor sit amet, consectetur adipiscing elit. ".repeat(TEXT_BYTES / 57);
    let mut page = String::from("{\"records\":[");
    for id in number * PAGE..(number + 1) * PAGE {
        let comma = if id % PAGE == 0 { "" } else { "," };
        // Into memory, which does not fail.
        let _ = write!(page, "{comma}{{\"id\":{id},\"text\":\"{text}{id:016x}\"}}");
    }
    let next = (number + 1 < pages).then_some(number + 1);
    let next = next.map_or_else(|| "null".to_owned(), |next| next.to_string());
    let _ = write!(page, "],\"next\":{next}}}");
    page
}

/// Waits until the only run is over.
async fn run(stack: &Stack) -> Result<RunEntry> {
    let client = aws_sdk_dynamodb::Client::new(stack.sdk_config());
    let table = DynamoTable::new(client, &stack.outputs().ledger_table);
    let stop_at = Instant::now() + SETTLED_WITHIN;
    loop {
        let runs = table.source_runs(NAME, 1, 1).await?;
        if let Some(run) = runs.into_iter().next() {
            return Ok(run);
        }
        let is_late = Instant::now() >= stop_at;
        ensure!(!is_late, "the run does not end after its job has closed");
        sleep(PULL_EVERY).await;
    }
}
