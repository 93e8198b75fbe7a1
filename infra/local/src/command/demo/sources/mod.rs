//! Sources that follow two services.

mod services;

pub(super) use services::serve_both;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_cli::definition_files;
use landfall_domain::JobState;
use landfall_local::{Progress, Stack};

use super::directory;
use crate::command::report;

/// How long the first runs may take.
const WITHIN: Duration = Duration::from_mins(3);

/// Uploads the sources, and waits until each has been ingested once.
pub(super) async fn start(stack: &Stack, progress: &dyn Progress) -> Result<()> {
    let mut waiting = BTreeSet::new();
    for file in definition_files(&directory("sources")?)? {
        let name = file.file_stem().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} is not UTF-8", file.display()))?;
        let toml = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        stack.put_source(name, &toml).await?;
        waiting.insert(name.to_owned());
    }
    progress.step("fetching the sources");
    let stop_at = Instant::now() + WITHIN;
    while !waiting.is_empty() {
        let left = stop_at.saturating_duration_since(Instant::now());
        ensure!(
            !left.is_zero(),
            "not ingested: {waiting:?}\n{}",
            stack.function_logs(30).await?
        );
        let Some(event) = stack.next_event(left).await? else {
            continue;
        };
        report::line(&event.detail);
        // Sources and datasets have the same names.
        if event.detail.state == JobState::Succeeded
            && let Some(dataset) = &event.detail.dataset
        {
            waiting.remove(dataset);
        }
    }
    Ok(())
}
