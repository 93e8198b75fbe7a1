//! Clients that send more than their token may.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use landfall_auth::Tokens;
use landfall_runtime::Deadline;
use serde_json::{Value, json};

use super::clients::Credentials;
use super::fakes::{Clients, Clock, ConnectionMap, Network, Pushes};
use super::jobs::Ledger;
use super::limiter;
use crate::fakes::locked;

const PER_SECOND: u32 = 1;
/// More than the permits of two windows of five seconds, which the messages may touch.
const MESSAGES: u32 = 11;

struct Socket {
    context: socket::Context,
    clients: Arc<Clients>,
}

impl Socket {
    fn new() -> (Self, Vec<Credentials>) {
        let network = || Arc::new(Network::new(0, 0.0, 0));
        let clock = Arc::new(Clock::new(1));
        let clients = Arc::new(Clients::new(network(), Arc::clone(&clock)));
        let (credentials, tokens) = Credentials::all();
        let context = socket::Context {
            tokens: Tokens::fixed(tokens),
            limiter: limiter(PER_SECOND),
            connections: socket::Connections::new(Arc::new(ConnectionMap::new(network()))),
            ledger: Ledger::new(Arc::clone(&clock)).table,
            gateway: Arc::clone(&clients) as Arc<dyn socket::Gateway>,
            queue: Arc::new(Pushes::new(network(), clock)),
            token_in_query: false,
        };
        (Self { context, clients }, credentials)
    }

    async fn handle(&self, event: Value) -> Value {
        let deadline = Deadline::new(SystemTime::now() + Duration::from_hours(1));
        socket::handle(&self.context, event, deadline)
            .await
            .unwrap()
    }

    async fn connect(&self, id: &str, token: &str) -> Value {
        let sample = include_str!("../../../events/socket-connect.json");
        let mut event: Value = serde_json::from_str(sample).unwrap();
        let protocols = json!(format!("landfall, bearer.{token}"));
        event["multiValueHeaders"]["Sec-WebSocket-Protocol"] = json!([protocols]);
        event["headers"]["Sec-WebSocket-Protocol"] = protocols;
        event["requestContext"]["connectionId"] = json!(id);
        locked(&self.clients.open).insert(id.to_owned(), Vec::new());
        self.handle(event).await["statusCode"].take()
    }

    /// Sends a ping, and returns the reply.
    async fn ping(&self, id: &str) -> Value {
        let sample = include_str!("../../../events/socket-subscribe.json");
        let mut event: Value = serde_json::from_str(sample).unwrap();
        event["body"] = json!(r#"{"action":"ping"}"#);
        event["requestContext"]["connectionId"] = json!(id);
        assert_eq!(self.handle(event).await["statusCode"], 200);
        let mut open = locked(&self.clients.open);
        open.get_mut(id).unwrap().pop().unwrap().1
    }
}

#[tokio::test]
async fn messages_over_the_limit_of_their_token_are_refused_with_the_time_to_wait() {
    let (socket, credentials) = Socket::new();
    assert_eq!(socket.connect("one", credentials[0].token()).await, 200);
    assert_eq!(socket.connect("other", credentials[1].token()).await, 200);
    let mut admitted = 0;
    let mut refused = None;
    for _ in 0..MESSAGES {
        let reply = socket.ping("one").await;
        match reply["type"].as_str().unwrap() {
            "pong" => admitted += 1,
            _ => refused = Some(reply),
        }
    }
    let refused = refused.expect("the limit applies");
    assert_eq!(refused["type"], "error");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.starts_with("too many messages: wait "), "{detail}");
    assert!(admitted >= 4, "{admitted}");
    // Other tokens are not affected.
    assert_eq!(socket.ping("other").await["type"], "pong");
}
