//! Clients of the WebSocket API. They repeat what failed, and connect again when a connection was refused.

use std::collections::{BTreeMap, VecDeque};

use landfall_auth::{Access, Grant, Scope, Token, TokenList};
use landfall_domain::JobId;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::Cause;
use super::fakes::Clients;

/// A token, and what it allows.
#[derive(Clone)]
pub struct Credentials {
    token: String,
    grant: Grant,
}

impl Credentials {
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns one token for all datasets and one for each, with the list that the socket checks them against.
    pub fn all() -> (Vec<Self>, TokenList) {
        let only = |name: &str| Access::Only([name.to_owned()].into());
        let accesses = [Access::All, only("products"), only("orders")];
        let mut list = TokenList::default();
        let credentials = accesses.into_iter().enumerate().map(|(index, access)| {
            let token = Token::random();
            let name = format!("token{index}");
            list.add(&name, &token, [Scope::Read].into(), access)
                .unwrap();
            Self {
                token: token.reveal().to_owned(),
                grant: list.check(token.reveal()).unwrap(),
            }
        });
        (credentials.collect(), list)
    }
}

/// What a client can subscribe to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Job(JobId),
    Dataset(&'static str),
}

/// What a client does next.
#[derive(Clone)]
pub enum Action {
    Connect,
    Subscribe(Subject),
    Unsubscribe(Subject),
    /// The client is gone without a word.
    Vanish,
}

/// A client with one connection at a time.
pub struct Client {
    /// Id of its connection.
    pub id: String,
    pub grant: Grant,
    /// What it is subscribed to, and since when.
    pub subscriptions: BTreeMap<Subject, u64>,
    pub has_vanished: bool,
    token: String,
    script: VecDeque<Action>,
    is_busy: bool,
}

impl Client {
    /// Makes up a client that subscribes to some of these jobs and to datasets.
    pub fn random(rng: &mut StdRng, credentials: &[Credentials], jobs: &[JobId]) -> Self {
        let mut script = VecDeque::from([Action::Connect]);
        for _ in 0..rng.random_range(1..5) {
            let subject = match rng.random_range(0..4) {
                0 => Subject::Dataset("products"),
                1 => Subject::Dataset("orders"),
                _ => Subject::Job(*jobs.choose(rng).unwrap()),
            };
            script.push_back(Action::Subscribe(subject.clone()));
            if rng.random_bool(0.3) {
                script.push_back(Action::Unsubscribe(subject.clone()));
                if rng.random_bool(0.5) {
                    script.push_back(Action::Subscribe(subject));
                }
            }
        }
        if rng.random_bool(0.2) {
            script.push_back(Action::Vanish);
        }
        let Credentials { token, grant } = credentials.choose(rng).unwrap().clone();
        Self {
            id: format!("connection{:08x}", rng.random::<u32>()),
            grant,
            subscriptions: BTreeMap::new(),
            has_vanished: false,
            token,
            script,
            is_busy: false,
        }
    }

    pub fn is_done(&self) -> bool {
        !self.is_busy && self.script.is_empty()
    }

    /// Begins an action, and returns the event that the gateway sends to the socket.
    pub fn start(&mut self, action: &Action, gateway: &Clients) -> Value {
        self.is_busy = true;
        let message = |action: &str, subject: &Subject| {
            let body = match subject {
                Subject::Job(job) => json!({ "action": action, "job": job }),
                Subject::Dataset(name) => json!({ "action": action, "dataset": name }),
            };
            let sample = include_str!("../../../events/socket-subscribe.json");
            let mut event: Value = serde_json::from_str(sample).unwrap();
            event["body"] = json!(body.to_string());
            event
        };
        let mut event = match action {
            Action::Connect => {
                let sample = include_str!("../../../events/socket-connect.json");
                let mut event: Value = serde_json::from_str(sample).unwrap();
                let protocols = format!("landfall, bearer.{}", self.token);
                event["headers"]["Sec-WebSocket-Protocol"] = json!(protocols);
                event["multiValueHeaders"]["Sec-WebSocket-Protocol"] = json!([protocols]);
                event
            }
            Action::Subscribe(subject) => message("subscribe", subject),
            Action::Unsubscribe(subject) => {
                self.subscriptions.remove(subject);
                message("unsubscribe", subject)
            }
            Action::Vanish => {
                self.has_vanished = true;
                gateway.open.lock().unwrap().remove(&self.id);
                let mut event = message("ping", &Subject::Dataset(""));
                event["requestContext"]["eventType"] = json!("DISCONNECT");
                event
            }
        };
        event["requestContext"]["connectionId"] = json!(self.id);
        event
    }

    /// Ends an action.
    pub fn end(&mut self, action: Action, succeeded: bool, now: u64, gateway: &Clients) {
        self.is_busy = false;
        match (action, succeeded) {
            (Action::Connect, true) => {
                let mut open = gateway.open.lock().unwrap();
                open.insert(self.id.clone(), Vec::new());
            }
            (Action::Connect, false) => {
                // The gateway gives each attempt another id.
                self.id.push('+');
                self.script.push_front(Action::Connect);
            }
            (Action::Subscribe(subject), true) => {
                self.subscriptions.insert(subject, now);
            }
            // The gateway does not repeat a disconnect.
            (Action::Unsubscribe(_), true) | (Action::Vanish, _) => {}
            (action, false) => self.script.push_front(action),
        }
    }
}

/// Lets an idle client do the next thing, if there is one.
pub fn next(clients: &mut [Client], rng: &mut StdRng) -> Option<Cause> {
    let idle: Vec<usize> = (0..clients.len())
        .filter(|index| !clients[*index].is_busy && !clients[*index].script.is_empty())
        .collect();
    let client = *idle.choose(rng)?;
    let action = clients[client].script.pop_front()?;
    Some(Cause::Route { client, action })
}
