//! Fetches the first pages of a source, and stores nothing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use jiff::Timestamp;
use landfall_domain::excerpt;
use landfall_fetch::{FetchError, HttpTransport, LocalPace, Session};
use landfall_sources::{Answer, Parent, Policy, Secrets, Source, State, Walk};
use tokio::time::Instant;

use super::check::check_dataset;

/// How long the pages may take together.
const TIME: Duration = Duration::from_mins(10);

/// What to fetch.
#[derive(clap::Args)]
pub(crate) struct Attempt {
    /// Definition of the source
    definition: PathBuf,
    /// File with the secrets: a JSON object of names and secrets
    #[arg(long)]
    secrets: Option<PathBuf>,
    /// Directory with the definitions of the datasets, which say how CSV is written. The source must fit its dataset
    #[arg(long)]
    datasets: Option<PathBuf>,
    /// File with rows of the dataset of `[children]`, one JSON object in each line
    #[arg(long)]
    parents: Option<PathBuf>,
    /// Number of pages to fetch
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pages: u64,
    /// Number of records of each page to print
    #[arg(long, default_value_t = 3)]
    rows: usize,
    /// Allow servers with private and loopback addresses
    #[arg(long)]
    private: bool,
}

/// Fetches pages from the start, and prints each request, with the names of secrets instead of the secrets, and the
/// first records of its answer.
pub(crate) async fn attempt(attempt: &Attempt, out: &mut impl Write) -> Result<()> {
    let shown = attempt.definition.display().to_string();
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let name = attempt.definition.file_stem().unwrap_or_default();
    let text = read(&attempt.definition)?;
    let mut source = Source::from_toml(&name.to_string_lossy(), &shown, &text)?;
    if let Some(datasets) = &attempt.datasets {
        let dataset = check_dataset(&source, datasets);
        source.csv = dataset.map_err(|error| anyhow!("{shown}: {error}"))?.csv;
    }
    if source.streams() {
        bail!(
            "an answer in {} is stored as it arrives; fetch it with curl",
            source.format.as_str()
        );
    }
    let secrets = attempt.secrets.as_ref().map(read).transpose()?;
    // The text must not be in the error.
    let secrets: Secrets = serde_json::from_str(secrets.as_deref().unwrap_or("{}"))
        .map_err(|_| anyhow!("the secrets are not a JSON object of names and texts"))?;
    let policy = Policy::new("*", attempt.private)?;
    let transport = HttpTransport::new(policy.clone())?;
    let (pace, stop_at) = (LocalPace::default(), Instant::now() + TIME);
    let mut session = Session::new(&source, &policy, &secrets, &transport, &pace, stop_at);
    let mut walk = Walk::start(&source, &State::default(), true, Timestamp::now());
    if walk.needs_parents() {
        let file = attempt.parents.as_deref();
        let file = file
            .context("the source has [children]: pass rows of their dataset with --parents FILE")?;
        walk.add_parents(&source, parents(file)?, true)?;
    }
    let mut lines = Vec::new();
    while let Some(request) = walk.request(&source)
        && walk.progress().pages < attempt.pages
    {
        writeln!(out, "{} {}", request.method, request.shown_url())?;
        let response = match session.fetch(&request).await {
            Err(FetchError::Answer { status, .. }) if walk.skip_parent(&source, status)? => {
                writeln!(out, "{status}, skipped")?;
                continue;
            }
            response => response?,
        };
        let answer = Answer {
            status: response.status,
            headers: &response.headers,
            body: &response.body,
        };
        let before = walk.progress().records;
        walk.accept(&source, &answer, &mut lines)?;
        let (status, bytes) = (response.status, response.body.len());
        let records = walk.progress().records - before;
        writeln!(out, "{status}, {bytes} bytes, {records} records")?;
        let records = String::from_utf8_lossy(&lines);
        for record in records.lines().take(attempt.rows) {
            writeln!(out, "  {}", secrets.remove_from(&excerpt(record)))?;
        }
        lines.clear();
    }
    if walk.is_done() {
        writeln!(out, "that was the last page")?;
    }
    Ok(())
}

/// Reads rows from a file with one JSON object in each line. Their keys are the numbers of the lines.
fn parents(file: &Path) -> Result<Vec<Parent>> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let parents: Vec<Parent> = lines
        .map(|(index, line)| {
            let number = index + 1;
            let values = serde_json::from_str(line)
                .with_context(|| format!("{shown}:{number} is not a JSON object"))?;
            let key = vec![format!("in line {number}")];
            Ok(Parent { key, values })
        })
        .collect::<Result<_>>()?;
    ensure!(!parents.is_empty(), "{shown} has no rows");
    Ok(parents)
}
