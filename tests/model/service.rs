//! The service, and what becomes of calls to it.

use http::{HeaderMap, Method, StatusCode};
use landfall_destinations::{Call, Operation};
use serde_json::{Value as Json, json};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is processed and answered.
    Accepted,
    /// It is processed, and the answer is lost.
    Lost,
    /// It is answered with 503.
    Failed,
    /// It is refused for good.
    Refused,
}

/// What the service has of the key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Service {
    /// Its own id, and the version.
    pub row: Option<(u8, u8)>,
    /// The number of ids that it has given.
    ids: u8,
    /// The greatest version that has arrived.
    seen: u8,
    /// Whether an older version has arrived after a newer one.
    pub is_overtaken: bool,
}

impl Service {
    /// Notes the version of a call that is processed.
    fn arrives(&mut self, version: u8) {
        self.is_overtaken |= version < self.seen;
        self.seen = self.seen.max(version);
    }

    /// Processes a call. Returns its answer.
    pub fn process(&mut self, call: &Call, version: u8) -> (u16, Json) {
        if call.operation != Operation::Lookup {
            self.arrives(version);
        }
        let id = self.row.map(|(id, _)| id);
        let named = call.url.path().strip_prefix("/o/").map(str::to_owned);
        // A key names its row, and an id only the row that has it.
        let is_named = |id: u8| named.as_deref() == Some("7") || named == Some(format!("id{id}"));
        match (&call.method, id) {
            (&Method::GET, Some(id)) => (200, json!({ "id": format!("id{id}") })),
            (&Method::POST, _) => {
                assert_eq!(id, None, "the service gets the row twice");
                self.put(version)
            }
            (&Method::PUT, Some(id)) if is_named(id) => {
                self.row = Some((id, version));
                (200, json!({ "id": format!("id{id}") }))
            }
            (&Method::PUT, None) if named.as_deref() == Some("7") => self.put(version),
            (&Method::DELETE, Some(id)) if is_named(id) => {
                self.row = None;
                (204, Json::Null)
            }
            (&Method::GET | &Method::PUT | &Method::DELETE, _) => (404, Json::Null),
            (method, _) => panic!("{method}"),
        }
    }

    fn put(&mut self, version: u8) -> (u16, Json) {
        self.ids += 1;
        self.row = Some((self.ids, version));
        (201, json!({ "id": format!("id{}", self.ids) }))
    }
}

/// An answer as the relay gets it; `None` if it is lost.
pub fn answer(
    fate: Fate,
    processed: Option<(u16, Json)>,
) -> Option<(StatusCode, HeaderMap, Vec<u8>)> {
    let (status, body) = match (fate, processed) {
        (Fate::Lost, _) => return None,
        (Fate::Failed, _) => (503, Json::Null),
        (Fate::Refused, _) => (422, Json::Null),
        (Fate::Accepted, processed) => processed.unwrap(),
    };
    let status = StatusCode::from_u16(status).unwrap();
    Some((status, HeaderMap::new(), body.to_string().into_bytes()))
}
