//! The clients: what they write, how they repeat requests, and what they were answered.

use landfall_domain::WriteId;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use crate::files::Kind;

/// A write that a client wants, and what it knows of it.
pub(super) struct Wish {
    pub(super) key: &'static str,
    pub(super) method: &'static str,
    pub(super) query: String,
    pub(super) body: Option<Value>,
    /// Whether the client repeats the request until it is answered, with an idempotency key.
    pub(super) is_repeated: bool,
    /// The step in which the first request began.
    pub(super) began: Option<usize>,
    /// The step in which the write was acknowledged, and its id.
    pub(super) acknowledged: Option<(usize, WriteId)>,
}

impl Wish {
    /// Returns the writes of some clients to a few keys.
    pub(super) fn some(kind: Kind, rng: &mut StdRng) -> Vec<Self> {
        (0..rng.random_range(2..30))
            .map(|number| Self::random(kind, number, rng))
            .collect()
    }

    fn random(kind: Kind, number: usize, rng: &mut StdRng) -> Self {
        let is_other = rng.random_bool(0.3);
        let method = match kind {
            Kind::Merged if is_other => "PATCH",
            Kind::Merged => "PUT",
            _ if is_other => "DELETE",
            _ => "PUT",
        };
        let is_refused = kind == Kind::Plain && rng.random_bool(0.05);
        let name = if is_refused {
            "refused".to_owned()
        } else {
            format!("name {number}")
        };
        let description = format!("description {number}");
        let mut body = match (method, rng.random_range(0..3)) {
            ("PATCH", 0) => json!({ "description": description }),
            ("PATCH", 1) | (_, 2) => json!({ "name": name }),
            _ => json!({ "name": name, "description": description }),
        };
        let mut query = String::new();
        if kind == Kind::Ordered {
            let changed = rng.random_range(0..3);
            body["changed"] = changed.into();
            if method == "DELETE" {
                query = format!("?order={changed}");
            }
        }
        Self {
            key: ["a", "b", "c"].choose(rng).unwrap(),
            method,
            query,
            body: (method != "DELETE").then_some(body),
            is_repeated: rng.random_bool(0.7),
            began: None,
            acknowledged: None,
        }
    }

    /// Returns whether a store refuses the row.
    pub(super) fn is_refused(&self) -> bool {
        self.body
            .as_ref()
            .is_some_and(|body| body["name"] == "refused")
    }
}
