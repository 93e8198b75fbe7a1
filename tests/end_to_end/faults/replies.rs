//! Marks that the ledger applies although no worker receives the reply.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use landfall_domain::JobState;
use landfall_tests::Products;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Faults, SILENCE, products};
use crate::support::{assert_products, set_variable, upload};

/// How often a worker sends a request, with the retries of its client.
const ATTEMPTS: u32 = 5;
/// In the environment of a function: the address of DynamoDB, in place of the endpoint's.
const VARIABLE: &str = "AWS_ENDPOINT_URL_DYNAMODB";

/// The replies to lose.
#[derive(Default)]
struct Losses {
    /// How many to each mark.
    limit: u32,
    /// How many were lost so far, by the item and the chunk of the mark.
    lost: BTreeMap<(String, String), u32>,
}

/// A proxy of the ledger that loses the first replies to each mark.
struct Proxy {
    address: SocketAddr,
    losses: Arc<Mutex<Losses>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy of an endpoint, given by its URL.
    async fn start(endpoint: &str) -> Self {
        let endpoint: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let losses = Arc::<Mutex<Losses>>::default();
        let counted = Arc::clone(&losses);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let losses = Arc::clone(&counted);
                // To the client, a connection that fails is like a reply that is lost.
                tokio::spawn(async move { forward(client, endpoint, &losses).await });
            }
        });
        Self {
            address,
            losses,
            accepting,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Forwards the requests of one connection, and closes it in place of a reply that is to be lost.
async fn forward(
    mut client: TcpStream,
    endpoint: SocketAddr,
    losses: &Mutex<Losses>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(endpoint).await?;
    let (mut request, mut reply) = (Vec::new(), vec![0; 16 * 1024]);
    let mut forwarded = 0;
    loop {
        tokio::select! {
            read = client.read_buf(&mut request) => {
                if read? == 0 {
                    return Ok(());
                }
                server.write_all(&request[forwarded..]).await?;
                forwarded = request.len();
            }
            read = server.read(&mut reply) => {
                // The endpoint replies once it has applied the request.
                let read = read?;
                if read == 0 || lose(&request, &mut losses.lock().unwrap()) {
                    return Ok(());
                }
                request.clear();
                forwarded = 0;
                client.write_all(&reply[..read]).await?;
            }
        }
    }
}

/// Counts a reply as lost, if its request marks a chunk as done and is one of the first that do. Returns whether it is.
fn lose(request: &[u8], losses: &mut Losses) -> bool {
    let request = String::from_utf8_lossy(request);
    let Some((_, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let update = body["UpdateExpression"].as_str().unwrap_or_default();
    if !update.contains("ADD #done") {
        return false;
    }
    let item = &body["Key"]["pk"]["S"];
    let chunk = &body["ExpressionAttributeValues"][":set"]["NS"][0];
    let mark = [item, chunk].map(|text| text.as_str().unwrap().to_owned());
    let times = losses.lost.entry(mark.into()).or_default();
    let is_lost = *times < losses.limit;
    *times += u32::from(is_lost);
    is_lost
}

/// Loads files while replies are lost: every chunk counts once, and every job completes once.
pub(super) async fn check(faults: &Faults, expected: &mut Products) {
    let stack = &faults.stack;
    let proxy = Proxy::start(stack.endpoint()).await;
    let worker = &stack.outputs().worker_function;
    let address = format!("http://{}", proxy.address);
    set_variable(stack, worker, VARIABLE, Some(&address)).await;
    let mut events = Vec::new();
    // The worker of the only chunk gives up, so the job stays open until the message is delivered again. The workers of
    // many chunks find them marked when they retry.
    for (name, rows, is_one_chunk, limit) in
        [("lost", 500, true, ATTEMPTS), ("retried", 20_000, false, 1)]
    {
        *proxy.losses.lock().unwrap() = Losses {
            limit,
            ..Losses::default()
        };
        let file = products(name, rows);
        let job = upload(stack, &format!("products/{name}.csv"), file.clone()).await;
        let event = faults.close(&[job]).await.remove(&job).unwrap();
        let lost = std::mem::take(&mut proxy.losses.lock().unwrap().lost);
        assert_eq!(event.chunks == 1, is_one_chunk);
        assert_eq!(lost.len(), event.chunks as usize, "{lost:?}");
        assert!(lost.values().all(|times| *times == limit), "{lost:?}");

        let outcome = (event.state, event.dead);
        assert_eq!(outcome, (JobState::Succeeded, 0), "{event:?}");
        let rows = u64::from(rows);
        assert_eq!((event.counts.rows, event.counts.rejected), (rows, 0));
        for (store, counts) in &event.counts.stores {
            assert_eq!((counts.inserted, counts.total()), (rows, rows), "{store}");
        }
        expected.read(&file);
        events.push(event);
    }
    set_variable(stack, worker, VARIABLE, None).await;
    assert_products(stack, &expected.rows).await;
    let known: Vec<_> = events.iter().collect();
    faults.assert_no_other_completion(&known, SILENCE).await;
}
