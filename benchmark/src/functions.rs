//! Each function: its memory, start-up time and size.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_lambda::primitives::Blob;
use landfall_local::{
    Build, FUNCTIONS, Lines, MemoryWatch, Progress, Sql, Stack, Stores, workspace, zip, zips,
};
use reqwest::Client;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::Plan;
use crate::data::Sample;
use crate::landfall::Landfall;
use crate::result::{Part, as_float, median};

const STARTS: usize = 20;
const STARTED_WITHIN: Duration = Duration::from_secs(10);
const NEXT: &str = "GET /2018-06-01/runtime/invocation/next ";

const MOST_RESIDENT_MIB: f64 = 64.0;
const MOST_INIT_MS: f64 = 20.0;
const MOST_ZIP_MB: f64 = 5.0;

pub(crate) async fn measure(plan: &Plan, progress: &Lines) -> Result<Part> {
    let mut part = plan.part("functions", "Functions");
    let sample = Sample::make(plan.directory(), plan.rows, 1)?;
    let landfall = Landfall::start(Stores::Both, Sql::Postgres, progress).await?;

    progress.step("functions: memory");
    let watch = MemoryWatch::start(landfall.stack.endpoint());
    landfall.dataset("products_memory").await?;
    let run = landfall
        .ingest("products_memory", &sample, sample.keyed)
        .await?;
    call_apis(&landfall.stack).await?;
    let peaks = watch.stop()?;
    part.add(
        "Landfall, first load",
        "put to completion event, into MongoDB and PostgreSQL",
        sample.rows,
        run,
    );
    for function in FUNCTIONS {
        let (_, peak) = peaks
            .iter()
            .find(|(name, _)| name.to_lowercase().contains(function))
            .with_context(|| format!("no process of {function} was seen"))?;
        let name = format!("{function}: resident, the largest of {}", peak.processes);
        part.figure(&name, peak.mebibytes, "MiB", Some(MOST_RESIDENT_MIB));
    }

    let zips = zips(Build::Release, progress).await?;
    let environment = environment(&landfall.stack.write_environment().await?)?;
    for function in FUNCTIONS {
        progress.step(&format!("functions: start of {function}"));
        let zip = zip(&zips, function);
        let bootstrap = unpack(&landfall.stack.tools().join("python"), &zip, plan).await?;
        let mut milliseconds = Vec::with_capacity(STARTS);
        for _ in 0..STARTS {
            let took = start(function, &bootstrap, &environment).await?;
            milliseconds.push(took.as_secs_f64() * 1e3);
        }
        let name = format!("{function}: process start to first poll, median of {STARTS}");
        part.figure(&name, median(&milliseconds), "ms", Some(MOST_INIT_MS));
        let megabytes = |path: &Path| -> Result<f64> {
            let size = fs::metadata(path).with_context(|| path.display().to_string())?;
            Ok(as_float(size.len()) / 1e6)
        };
        let (packed, unpacked) = (megabytes(&zip)?, megabytes(&bootstrap)?);
        part.figure(&format!("{function}: zip"), packed, "MB", Some(MOST_ZIP_MB));
        part.figure(&format!("{function}: unpacked"), unpacked, "MB", None);
    }
    landfall.stack.stop();
    Ok(part)
}

/// Calls the functions that a load does not use: reads pages from the API, connects to the socket, and runs the
/// janitor.
async fn call_apis(stack: &Stack) -> Result<()> {
    for store in ["sql", "mongodb"] {
        let url = format!(
            "{}datasets/products_memory/rows?limit=1000&store={store}",
            stack.outputs().api_url
        );
        let request = Client::new().get(url).bearer_auth(stack.token());
        let answer = request.send().await?.error_for_status()?;
        ensure!(!answer.bytes().await?.is_empty(), "an empty page");
    }
    let lambda = aws_sdk_lambda::Client::new(stack.sdk_config());
    for (function, event) in [
        (&stack.outputs().socket_function, "socket-connect"),
        (&stack.outputs().janitor_function, "schedule"),
    ] {
        let event = fs::read(workspace()?.join(format!("events/{event}.json")))?;
        lambda
            .invoke()
            .function_name(function)
            .payload(Blob::new(event))
            .send()
            .await
            .with_context(|| format!("cannot call {function}"))?;
    }
    Ok(())
}

/// Parses the variables of an env file.
pub(crate) fn environment(path: &Path) -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(path)?;
    text.lines()
        .map(|line| {
            let (name, value) = line
                .split_once('=')
                .with_context(|| format!("{} has a line without =", path.display()))?;
            Ok((name.to_owned(), value.trim_matches('"').to_owned()))
        })
        .collect()
}

/// Unpacks a function's binary and returns its path.
pub(crate) async fn unpack(python: &Path, zip: &Path, plan: &Plan) -> Result<PathBuf> {
    let directory = plan.directory().join("unpacked");
    let status = Command::new(python)
        .args(["-m", "zipfile", "-e"])
        .arg(zip)
        .arg(&directory)
        .status()
        .await
        .context("cannot run python")?;
    ensure!(status.success(), "cannot unpack {}", zip.display());
    let bootstrap = directory.join("bootstrap");
    fs::set_permissions(&bootstrap, Permissions::from_mode(0o755))?;
    Ok(bootstrap)
}

/// Starts a function with a runtime API that has no work, and returns the time until its first poll.
async fn start(
    function: &str,
    bootstrap: &Path,
    environment: &[(String, String)],
) -> Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let start = Instant::now();
    let mut process = Command::new(bootstrap)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", function)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "benchmark")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "benchmark")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", bootstrap.display()))?;
    let polled = async {
        let (stream, _) = listener.accept().await?;
        let request = request_line(stream).await?;
        ensure!(
            request.starts_with(NEXT),
            "{function} requested {request:?} before its first poll"
        );
        Ok(())
    };
    tokio::select! {
        polled = polled => polled?,
        status = process.wait() => bail!("{function} exited while starting: {}", status?),
        () = tokio::time::sleep(STARTED_WITHIN) => {
            bail!("{function} had not polled after {} s", STARTED_WITHIN.as_secs())
        }
    }
    let took = start.elapsed();
    process.kill().await?;
    Ok(took)
}

async fn request_line(mut stream: TcpStream) -> Result<String> {
    let mut head = [0; 256];
    let mut length = 0;
    while length < head.len() && !head[..length].contains(&b'\r') {
        match stream.read(&mut head[length..]).await? {
            0 => break,
            more => length += more,
        }
    }
    let text = String::from_utf8_lossy(&head[..length]);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
