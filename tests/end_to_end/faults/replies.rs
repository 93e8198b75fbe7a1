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

/// Enough for several chunks.
const ROWS: u32 = 20_000;
/// How often a worker sends a request, with the retries of its client.
const ATTEMPTS: u32 = 5;
/// In the environment of a function: the address of DynamoDB, in place of the endpoint's.
const VARIABLE: &str = "AWS_ENDPOINT_URL_DYNAMODB";

/// The replies lost so far, by the ordinals of the chunks whose marks they confirm.
type Lost = Arc<Mutex<BTreeMap<String, u32>>>;

/// A proxy of the ledger that loses replies to marks: of the first chunk so many that its worker gives up, and of the
/// others one, so that the retry finds the chunk marked.
struct Proxy {
    address: SocketAddr,
    lost: Lost,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy of an endpoint, given by its URL.
    async fn start(endpoint: &str) -> Self {
        let endpoint: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let lost = Lost::default();
        let counted = Arc::clone(&lost);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let lost = Arc::clone(&counted);
                // A connection that fails is one more that the client has to repeat.
                tokio::spawn(async move { forward(client, endpoint, &lost).await });
            }
        });
        Self {
            address,
            lost,
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
async fn forward(mut client: TcpStream, endpoint: SocketAddr, lost: &Lost) -> io::Result<()> {
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
                // The endpoint replies once it has applied the whole request.
                let read = read?;
                if read == 0 || is_to_be_lost(&request, lost) {
                    return Ok(());
                }
                request.clear();
                forwarded = 0;
                client.write_all(&reply[..read]).await?;
            }
        }
    }
}

/// Returns whether to lose the reply to a request, and counts it then.
fn is_to_be_lost(request: &[u8], lost: &Lost) -> bool {
    let request = String::from_utf8_lossy(request);
    let Some((_, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let update = body["UpdateExpression"].as_str().unwrap_or_default();
    let ordinal = body["ExpressionAttributeValues"][":set"]["NS"][0].as_str();
    let Some(ordinal) = ordinal.filter(|_| update.contains("ADD #done")) else {
        return false;
    };
    let limit = if ordinal == "0" { ATTEMPTS } else { 1 };
    let mut lost = lost.lock().unwrap();
    let times = lost.entry(ordinal.to_owned()).or_default();
    let is_to_be_lost = *times < limit;
    *times += u32::from(is_to_be_lost);
    is_to_be_lost
}

/// Loads a file while replies are lost: every chunk counts once, and the job completes once.
pub(super) async fn check(faults: &Faults, expected: &mut Products) {
    let stack = &faults.stack;
    let proxy = Proxy::start(stack.endpoint()).await;
    let worker = &stack.outputs().worker_function;
    let address = format!("http://{}", proxy.address);
    set_variable(stack, worker, VARIABLE, Some(&address)).await;
    let file = products("reply", ROWS);
    let job = upload(stack, "products/replies.csv", file.clone()).await;
    let event = faults.close(&[job]).await.remove(&job).unwrap();
    set_variable(stack, worker, VARIABLE, None).await;

    let lost = std::mem::take(&mut *proxy.lost.lock().unwrap());
    assert!(event.chunks > 2);
    for ordinal in 0..event.chunks {
        let times = if ordinal == 0 { ATTEMPTS } else { 1 };
        assert_eq!(lost.get(&ordinal.to_string()), Some(&times), "{lost:?}");
    }
    let outcome = (event.state, event.dead);
    assert_eq!(outcome, (JobState::Succeeded, 0), "{event:?}");
    assert_eq!(event.counts.rows, u64::from(ROWS));
    for (store, counts) in &event.counts.stores {
        assert_eq!(counts.inserted, u64::from(ROWS), "{store}");
        assert_eq!(counts.total(), u64::from(ROWS), "{store}");
    }
    expected.read(&file);
    assert_products(stack, &expected.rows).await;
    faults.assert_no_other_completion(&[&event], SILENCE).await;
}
