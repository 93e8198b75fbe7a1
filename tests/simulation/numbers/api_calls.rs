//! Requests to instances of the api that create rows.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use jiff::SignedDuration;
use landfall_auth::Token;
use landfall_domain::ParentRow;
use landfall_ledger::ParentTable;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{DATASET, Outcome};
use crate::fakes::{Table, locked};
use crate::instances::api_of;
use crate::queue::SimulatedTime;
use crate::schedule::Task;
use crate::world::World;

const DEFINITIONS: [(&str, &str); 3] = [
    (
        "applications",
        include_str!("../../../infra/examples/chats/applications.toml"),
    ),
    (
        "chats",
        include_str!("../../../infra/examples/chats/chats.toml"),
    ),
    (
        "messages",
        include_str!("../../../infra/examples/chats/messages.toml"),
    ),
];

/// The api, with an application and its chats.
pub(super) struct Api {
    router: Router,
    token: Token,
    table: Arc<Table>,
    time: SimulatedTime,
}

impl Api {
    /// Returns the api of a world in which these chats exist.
    pub(super) async fn new(world: &World, chats: &[ParentRow]) -> Self {
        for (name, text) in DEFINITIONS {
            let place = ("config".to_owned(), format!("datasets/{name}.toml"));
            // The simulated stores cannot delete rows that are merged by column.
            let text = text.replace("mode = \"merge\"\n", "");
            locked(&world.buckets.latest).insert(place, text.into());
        }
        let application = ParentRow {
            dataset: "applications".to_owned(),
            key: chats[0].key[..1].to_vec(),
        };
        let table = Arc::clone(&world.table);
        table.0.create_parent(&application).await.unwrap();
        let time = world.queue.time.clone();
        for chat in chats {
            let now = time.millis();
            let number = table.0.allocate(&application, "chats", false, now).await;
            assert_eq!(number.unwrap().unwrap().to_string(), chat.key[1]);
            for store in &world.stores {
                store.put(&chat.key.join("@"));
            }
        }
        let token = Token::random();
        Self {
            router: api_of(world, &token, SignedDuration::ZERO),
            token,
            table,
            time,
        }
    }

    /// Creates a row. Every other request has an idempotency key. If a reply is lost, the client of the ledger repeats
    /// the allocation, and a number has no request.
    pub(super) fn create(
        &self,
        parent: ParentRow,
        (request, key): (usize, u32),
        is_lost: bool,
    ) -> Task<Outcome> {
        let path = format!(
            "/applications/{}/chats/{}/messages",
            parent.key[0], parent.key[1]
        );
        let bearer = format!("Bearer {}", self.token.reveal());
        let mut post = Request::post(path)
            .header("authorization", bearer)
            .header("content-type", "application/json");
        if request % 2 == 0 {
            post = post.header("idempotency-key", format!("{request}/{key}"));
        }
        let body = json!({ "body": request.to_string() }).to_string();
        let post = post.body(Body::from(body)).unwrap();
        let (router, table, time) = (
            self.router.clone(),
            Arc::clone(&self.table),
            self.time.clone(),
        );
        Box::pin(async move {
            if is_lost {
                let burnt = table.allocate(&parent, DATASET, true, time.millis()).await;
                assert!(burnt.unwrap().is_some());
            }
            let response = router.oneshot(post).await.unwrap();
            let status = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            match status {
                StatusCode::CREATED => Outcome::Answered(body["message"].as_u64().unwrap()),
                StatusCode::CONFLICT if body.to_string().contains("is void") => Outcome::Void,
                StatusCode::CONFLICT => Outcome::InFlight,
                status => panic!("{status}: {body}"),
            }
        })
    }
}
