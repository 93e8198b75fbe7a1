//! `cargo local`: builds `landfall-local` and everything it needs at the same time, and then becomes it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use landfall_setup::functions::{FUNCTIONS, ZIPS, compile};
use landfall_setup::progress::{Lines, Progress, tasks};
use landfall_setup::{mongodb, processes, python, target_directory};

const TOOL: &str = "landfall-local";
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    run().await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run() -> Result<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let progress = Lines::default();
    let shutdown = processes::shutdown_signal()?;
    tokio::select! {
        built = build(&arguments, &progress) => built?,
        () = shutdown => return Ok(ExitCode::from(INTERRUPTED)),
    }
    progress.clear();
    let mut tool = Command::new(target_directory()?.join("debug").join(TOOL));
    let error = tool.args(&arguments).exec();
    Err(error).with_context(|| format!("cannot run {TOOL}"))
}

async fn build(arguments: &[OsString], progress: &dyn Progress) -> Result<()> {
    let has = |option: &str| {
        arguments
            .iter()
            .filter_map(|argument| argument.to_str())
            .any(|argument| argument.split('=').next() == Some(option))
    };
    let only_tool = ["--help", "-h", "--version", "-V"].into_iter().any(has);
    let mut binaries = vec![TOOL];
    if !only_tool && std::env::var_os(ZIPS).is_none() {
        binaries.extend(FUNCTIONS);
    }
    if has("--demo") {
        // The commands that its documentation shows.
        binaries.push("landfall");
    }
    let [landfall, servers] = tasks(progress);
    let landfall = async move { compile(&binaries, &landfall).await };
    let servers = async move {
        if only_tool {
            return Ok(());
        }
        python::environment(python::LOCAL_STACK, &servers).await?;
        if !has("--mongodb") {
            mongodb::find_or_build(&servers).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(landfall, servers)?;
    Ok(())
}
