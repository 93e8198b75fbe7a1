//! What must hold of the writes.

use std::collections::{BTreeMap, HashMap};

use axum::http::StatusCode;
use landfall_domain::{
    RowVersion, StoreKind, Value, WriteId, WriteMessage, WriteOperation, WrittenRow,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value as Json;

use super::{Clients, Outcome};
use crate::fakes::locked;
use crate::files::Kind;
use crate::stores::Map;
use crate::world::World;

/// Checks that a write is stored if the api says so.
pub(super) fn is_true(world: &World, sent: &WriteMessage, view: &Json) {
    assert_eq!(view["write"], sent.write.to_string());
    if view["state"] != "stored" {
        return;
    }
    let version = version_of(view);
    for store in &world.stores {
        let rows = locked(&store.rows);
        let newest = rows.get(&sent.key[0]).map(|(version, _)| *version);
        assert!(newest >= Some(version), "{} is not stored", sent.write);
    }
}

fn version_of(view: &Json) -> RowVersion {
    let text = view["version"].as_str().unwrap();
    let digits = (0..text.len()).step_by(2);
    let bytes: Vec<u8> = digits
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect();
    RowVersion::from_bytes(&bytes).unwrap()
}

pub(super) async fn check(world: &World, clients: &Clients, kind: Kind) {
    check_order(clients);
    check_repeated(clients);
    for store in &world.stores {
        check_rows(store, clients, kind);
    }
    let mut rng = StdRng::seed_from_u64(0);
    for wish in &clients.wishes {
        let Some((_, write)) = wish.acknowledged else {
            assert!(!wish.is_repeated, "a request was never answered");
            continue;
        };
        let Outcome::Answer(status, view) = clients.look(write, &mut rng).await else {
            unreachable!("a request has an answer");
        };
        assert_eq!(status, StatusCode::OK, "{view}");
        let expected = if wish.is_refused() {
            "failed"
        } else {
            "stored"
        };
        assert_eq!(view["state"], expected, "{view}");
        let problem = view["problem"]["code"].as_str();
        assert_eq!(
            problem,
            wish.is_refused().then_some("store_refused"),
            "{view}"
        );
        for store in &world.stores {
            let is_refused = wish.is_refused() && store.kind == StoreKind::Postgres;
            let rows = locked(&store.rows);
            let stored = rows.get(wish.key).map(|(version, _)| *version);
            assert!(is_refused || stored >= Some(version_of(&view)), "{view}");
        }
    }
}

/// Checks that a write which began after another one of its key was acknowledged is greater.
fn check_order(clients: &Clients) {
    for earlier in &clients.wishes {
        let Some((acknowledged, write)) = earlier.acknowledged else {
            continue;
        };
        for later in &clients.wishes {
            let (Some(began), Some((_, other))) = (later.began, later.acknowledged) else {
                continue;
            };
            if later.key == earlier.key && acknowledged < began {
                assert!(write < other, "{other} is not after {write}");
            }
        }
    }
}

/// Checks that a repeated request is one write.
fn check_repeated(clients: &Clients) {
    let mut writes: HashMap<String, WriteId> = HashMap::new();
    for wish in clients.wishes.iter().filter(|wish| wish.is_repeated) {
        let Some(body) = &wish.body else { continue };
        let row = WrittenRow::Json(body.to_string());
        let sent = clients
            .sent
            .values()
            .filter(|sent| sent.row.as_ref() == Some(&row) && sent.key == [wish.key]);
        // A name occurs once, except the one that is refused.
        for sent in sent.filter(|_| !wish.is_refused()) {
            let known = writes.entry(body.to_string()).or_insert(sent.write);
            assert_eq!(*known, sent.write, "{body} was written twice");
        }
    }
}

/// Checks that each key has the row that follows from all writes in their order.
fn check_rows(store: &Map, clients: &Clients, kind: Kind) {
    let mut writes: Vec<(i64, &WriteMessage, Json)> = Vec::new();
    for sent in clients.sent.values() {
        let row: Json = match &sent.row {
            Some(WrittenRow::Json(json)) => serde_json::from_str(json).unwrap(),
            Some(WrittenRow::ObjectBytes(_)) => unreachable!("no row is large"),
            None => Json::Null,
        };
        if row["name"] == "refused" && store.kind == StoreKind::Postgres {
            continue;
        }
        let order = sent.order_value.as_ref().map(|text| text.parse().unwrap());
        let order = order.or(row["changed"].as_i64()).unwrap_or(0);
        writes.push((order, sent, row));
    }
    writes.sort_by_key(|(order, sent, _)| (*order, sent.write));
    let mut expected: BTreeMap<String, Option<[Option<String>; 2]>> = BTreeMap::new();
    for (_, sent, row) in writes {
        let text = |name: &str| row[name].as_str().map(str::to_owned);
        let values = expected.entry(sent.key[0].clone()).or_default();
        match sent.operation {
            WriteOperation::Delete => *values = None,
            WriteOperation::Put => *values = Some([text("name"), text("description")]),
            WriteOperation::Patch => {
                let [name, description] = values.get_or_insert_default();
                *name = text("name").or(name.take());
                *description = text("description").or(description.take());
            }
        }
    }
    let rows = locked(&store.rows);
    let found: BTreeMap<_, _> = rows
        .iter()
        .map(|(key, (_, values))| {
            let text = |value: &Value| value.to_text().map(std::borrow::Cow::into_owned);
            let values = values
                .as_ref()
                .map(|values| [text(&values[1]), text(&values[2])]);
            (key.clone(), values)
        })
        .collect();
    assert_eq!(found, expected, "{} of {}", store.kind, kind.definition());
}
