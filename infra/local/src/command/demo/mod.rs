//! What `--demo` starts beside the stack: services to fetch, and the sources that fetch them.

mod services;

pub(crate) use services::serve_both;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_cli::definition_files;
use landfall_domain::JobState;
use landfall_local::{Progress, Stack, StackOptions, target_directory, workspace};

use super::report;

/// The interval between runs of the puller, which is a minute on AWS.
const PULL_EVERY: Duration = Duration::from_secs(2);
/// How long the first runs may take.
const WITHIN: Duration = Duration::from_mins(3);

/// A demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Demo {
    /// Two services, and two sources that follow them
    Sources,
}

/// A file of environment variables, which is removed when dropped.
pub(crate) struct Variables(PathBuf);

impl Drop for Variables {
    fn drop(&mut self) {
        // The next demo replaces it.
        let _ = remove(&self.0);
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn directory(name: &str) -> Result<PathBuf> {
    Ok(workspace()?.join("infra/demo").join(name))
}

/// Adds what the demo needs to the options of the stack.
pub(crate) fn configure(options: &mut StackOptions) -> Result<()> {
    options.datasets.insert(0, directory("datasets")?);
    options.pull_every = Some(PULL_EVERY);
    Ok(())
}

/// Uploads the sources, and waits until each has been ingested once.
pub(crate) async fn start(stack: &Stack, progress: &dyn Progress) -> Result<Variables> {
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
    let variables = write_variables(stack).await?;
    report::demo(&variables.0);
    Ok(variables)
}

/// Writes the variables that the commands of the documentation need to a file with a fixed name.
async fn write_variables(stack: &Stack) -> Result<Variables> {
    let target = target_directory()?;
    let path = target.join("demo.env");
    let functions = std::fs::read_to_string(stack.write_environment().await?)?;
    let variables = Variables(path);
    let written = write(&variables.0, stack, &functions, &target.join("debug"));
    written.with_context(|| format!("cannot write {}", variables.0.display()))?;
    Ok(variables)
}

fn write(path: &Path, stack: &Stack, functions: &str, programs: &Path) -> Result<()> {
    // It has a token, so only its owner may read it.
    remove(path)?;
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    for line in functions.lines() {
        writeln!(file, "export {line}")?;
    }
    let api = stack.outputs().api_url.trim_end_matches('/');
    writeln!(file, "export API=\"{api}\"")?;
    writeln!(file, "export TOKEN=\"{}\"", stack.token())?;
    writeln!(file, "export PATH=\"{}:$PATH\"", programs.display())?;
    Ok(())
}
