//! Whatever happens to the calls, the service ends with the last state of every row, and has no row twice.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use landfall_destinations::{Call, Destination, Due, Outcome, Plan, Reply};
use landfall_domain::Value;
use landfall_requests::Secrets;
use proptest::prelude::*;

use crate::definitions::parse;

const BASE: &str =
    "dataset = \"orders\"\nurl = \"http://shop.example\"\nwhen = \"status != draft\"\n";
/// Services of which each call can be repeated, in different ways.
const DEFINITIONS: [&str; 5] = [
    // Their keys are those of the rows.
    "update = { path = \"/o/{{ number }}\" }\ndelete = { path = \"/o/{{ number }}\" }\n",
    "create = { path = \"/o\" }\nupdate = { path = \"/o/{{ number }}\", not_found = \"create\" }\n\
     delete = { path = \"/o/{{ number }}\" }\n",
    "create = { path = \"/o\", conflict = \"update\" }\nupdate = { path = \"/o/{{ number }}\" }\n\
     delete = { path = \"/o/{{ number }}\" }\n",
    // They give ids.
    "id_from = \"id\"\nlookup = { path = \"/o?number={{ number }}\" }\ncreate = { path = \"/o\" }\n\
     update = { path = \"/o/{{ remote_id }}\" }\ndelete = { path = \"/o/{{ remote_id }}\" }\n",
    "id_from = \"id\"\nidempotency_header = \"Idempotency-Key\"\ncreate = { path = \"/o\" }\n\
     update = { path = \"/o/{{ remote_id }}\" }\ndelete = { path = \"/o/{{ number }}\" }\n",
];

/// A service with at most one row of a key, unless something is created twice.
#[derive(Default)]
struct Service {
    gives_ids: bool,
    refuses_twins: bool,
    /// The bodies by id.
    rows: BTreeMap<String, String>,
    answered: BTreeMap<String, (u16, String)>,
    ids: u32,
}

impl Service {
    fn process(&mut self, call: &Call, key: Option<&str>) -> (u16, String) {
        if let Some(answer) = key.and_then(|key| self.answered.get(key)) {
            return answer.clone();
        }
        let answer = self.act(call);
        if let Some(key) = key.filter(|_| answer.0 < 300) {
            self.answered.insert(key.to_owned(), answer.clone());
        }
        answer
    }

    fn act(&mut self, call: &Call) -> (u16, String) {
        let body = call
            .body
            .clone()
            .map(|body| String::from_utf8(body).unwrap());
        let id = call.url.path().strip_prefix("/o/").map(str::to_owned);
        match (&call.method, id) {
            (&Method::GET, _) => match self.rows.keys().next() {
                Some(id) => (200, format!("{{\"id\":\"{id}\"}}")),
                None => (404, String::new()),
            },
            (&Method::POST, _) => {
                if self.refuses_twins && !self.rows.is_empty() {
                    return (409, String::new());
                }
                self.ids += 1;
                let id = if self.gives_ids {
                    format!("id{}", self.ids)
                } else {
                    "n".to_owned()
                };
                assert!(self.rows.is_empty(), "{call:?} is created twice");
                self.rows.insert(id.clone(), body.unwrap());
                (201, format!("{{\"id\":\"{id}\"}}"))
            }
            (&Method::PUT, Some(id)) => {
                // The first service creates what it does not have.
                if !self.rows.contains_key(&id) && (self.gives_ids || self.answers_not_found()) {
                    return (404, String::new());
                }
                self.rows.insert(id, body.unwrap());
                (200, String::new())
            }
            (&Method::DELETE, Some(id)) => {
                // The last service deletes by the key of the row.
                let is_there = if id == "n" {
                    self.rows.pop_first().is_some()
                } else {
                    self.rows.remove(&id).is_some()
                };
                (if is_there { 204 } else { 404 }, String::new())
            }
            other => panic!("{other:?}"),
        }
    }

    fn answers_not_found(&self) -> bool {
        self.ids > 0 || self.refuses_twins
    }
}

/// What a store records about the key.
#[derive(Clone, Default)]
struct Key {
    row: Option<Vec<Value>>,
    version: u32,
    sent: Option<(u32, bool)>,
    id: Option<String>,
    is_uncertain: bool,
    attempts: u32,
    wanted_at: i64,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    NotSent,
    Busy,
    /// Processed, and the answer is lost.
    Lost,
    /// Processed, and then the relay dies: nothing is recorded.
    Died,
}

#[derive(Clone, Debug)]
enum Step {
    /// The row becomes this one, or is deleted.
    Change(Option<&'static str>),
    Send(Vec<Fate>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![
        3 => Just(Fate::Answered),
        1 => Just(Fate::NotSent),
        1 => Just(Fate::Busy),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Died),
    ];
    let status = prop_oneof![
        Just(None),
        Just(Some("open")),
        Just(Some("paid")),
        Just(Some("draft"))
    ];
    let step = prop_oneof![
        status.prop_map(Step::Change),
        prop::collection::vec(fate, 1..4).prop_map(Step::Send),
    ];
    prop::collection::vec(step, 1..30)
}

fn send(destination: &Destination, service: &mut Service, key: &mut Key, fates: &[Fate]) {
    let number = [Value::Text("n".into())];
    let leased = key.clone();
    let version = leased.version.to_be_bytes();
    let (mut exists, mut id) = (
        leased.sent.is_some_and(|(_, exists)| exists),
        leased.id.clone(),
    );
    let mut is_uncertain = leased.is_uncertain;
    let mut replays = 0;
    let mut fates = fates.iter().copied();
    for _ in 0..12 {
        let remote_id = id.clone();
        let due = Due {
            key: &number,
            row: leased.row.as_deref(),
            version: &version,
            exists,
            is_uncertain,
            replays,
            remote_id: remote_id.as_deref(),
            attempts: leased.attempts,
            wanted_at: Timestamp::from_second(leased.wanted_at).unwrap(),
        };
        let call = match destination.plan(&due) {
            Plan::Call(call) => call,
            Plan::Nothing { exists } => {
                record(key, &leased, exists, id);
                return;
            }
            other => panic!("{other:?} {due:?}"),
        };
        let request = call
            .reveal(destination, &Secrets::default(), Timestamp::UNIX_EPOCH)
            .unwrap();
        let idempotency = request
            .headers
            .get("idempotency-key")
            .map(|key| key.to_str().unwrap());
        let none = HeaderMap::new();
        let fate = fates.next().unwrap_or(Fate::Answered);
        let (status, body) = match fate {
            Fate::NotSent => (0, String::new()),
            Fate::Busy => (503, String::new()),
            Fate::Answered | Fate::Lost | Fate::Died => service.process(&call, idempotency),
        };
        let reply = match fate {
            Fate::NotSent => Reply::NotSent("down"),
            Fate::Lost => Reply::Lost("closed"),
            Fate::Died => {
                key.is_uncertain = true;
                return;
            }
            Fate::Answered | Fate::Busy => Reply::Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: &none,
                body: body.as_bytes(),
            },
        };
        match destination.judge(
            &due,
            &call,
            &reply,
            &Secrets::default(),
            Timestamp::UNIX_EPOCH,
            0.5,
        ) {
            Outcome::Sent { exists, id: new } => {
                record(key, &leased, exists, new.or(id));
                return;
            }
            Outcome::Again {
                exists: found,
                id: new,
                is_replay,
                is_certain,
            } => {
                replays += u32::from(is_replay);
                (exists, is_uncertain) = (found, !is_certain);
                id = new.or(id.filter(|_| found));
            }
            Outcome::Retry { uncertain, .. } => {
                key.is_uncertain |= uncertain;
                key.attempts += 1;
                return;
            }
            other => panic!("{other:?} {due:?} {call:?}"),
        }
    }
    key.attempts += 1;
}

fn record(key: &mut Key, leased: &Key, exists: bool, id: Option<String>) {
    key.sent = Some((leased.version, exists));
    key.id = id.filter(|_| exists);
    (key.is_uncertain, key.attempts) = (false, 0);
    key.wanted_at += 1;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_last_state_arrives_whatever_happens(which in 0..DEFINITIONS.len(), steps in steps()) {
        let destination = parse(&format!("{BASE}{}", DEFINITIONS[which])).unwrap();
        let mut service = Service { gives_ids: which >= 3, refuses_twins: which == 2, ..Service::default() };
        // A service whose keys are those of the rows has no row twice: it would be the same one.
        let mut key = Key::default();
        for step in steps {
            match step {
                Step::Change(status) => {
                    let row = |status: &str| vec![
                        Value::Text("n".into()), Value::Text(status.into()), Value::Null, Value::Null,
                    ];
                    key.row = status.map(row);
                    key.version += 1;
                }
                Step::Send(fates) => send(&destination, &mut service, &mut key, &fates),
            }
        }
        for _ in 0..3 {
            send(&destination, &mut service, &mut key, &[]);
        }
        let status = key.row.as_ref().map(|row| row[1].to_text().unwrap().into_owned());
        let expected = status.filter(|status| status != "draft");
        let found: Vec<&String> = service.rows.values().collect();
        prop_assert_eq!(found.len(), usize::from(expected.is_some()), "{:?}", found);
        if let Some(status) = expected {
            prop_assert!(found[0].contains(&format!("\"status\":\"{status}\"")), "{:?}", found);
        }
    }
}
