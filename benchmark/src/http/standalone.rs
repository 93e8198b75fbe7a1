//! The API's release binary as a plain server, without a gateway.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use landfall_local::{Build, Lines, Stack, zip, zips};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::Plan;
use crate::functions::{environment, unpack};

const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// A running API.
pub(super) struct StandaloneApi {
    pub(super) url: String,
    _process: Child,
    ledger: JoinHandle<()>,
}

impl StandaloneApi {
    /// Starts the deployed binary with the environment of the stack's functions.
    ///
    /// Its ledger is a stub that answers at once and has no closed job. The endpoint's ledger takes far longer than the
    /// API itself and would dominate the measurement.
    pub(super) async fn start(stack: &Stack, plan: &Plan, progress: &Lines) -> Result<Self> {
        let zip = zip(&zips(Build::Release, progress).await?, "api");
        let bootstrap = unpack(&stack.tools().join("python"), &zip, plan).await?;
        let environment = environment(&stack.write_environment().await?)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let ledger = format!("http://{}", listener.local_addr()?);
        // Another process may bind the port first. Then the API exits with an error.
        let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let mut process = Command::new(&bootstrap)
            .env_clear()
            .envs(environment)
            .env("LANDFALL_API_ADDRESS", address.to_string())
            .env("AWS_ENDPOINT_URL_DYNAMODB", ledger)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", bootstrap.display()))?;
        listening(&mut process, address).await?;
        Ok(Self {
            url: format!("http://{address}/"),
            _process: process,
            ledger: tokio::spawn(empty_ledger(listener)),
        })
    }
}

impl Drop for StandaloneApi {
    fn drop(&mut self) {
        self.ledger.abort();
    }
}

async fn listening(process: &mut Child, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + STARTED_WITHIN;
    while TcpStream::connect(address).await.is_err() {
        if let Some(status) = process.try_wait()? {
            bail!("the api ended at its start: {status}");
        }
        if Instant::now() > deadline {
            bail!("the api was not there after {} s", STARTED_WITHIN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Answers every request for an item with no item, and every request for permits with all of them.
async fn empty_ledger(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        // A client that disconnects is not an error.
        tokio::spawn(async move { answer(stream).await.ok() });
    }
}

async fn answer(stream: TcpStream) -> std::io::Result<()> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n\
        Content-Length: 34\r\n\r\n{\"Attributes\":{\"taken\":{\"N\":\"0\"}}}";
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    let mut length = 0;
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let header = line.trim_end().split_once(':');
        if let Some((name, value)) = header
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            body.resize(length, 0);
            stream.read_exact(&mut body).await?;
            stream.write_all(ANSWER).await?;
        }
    }
}
