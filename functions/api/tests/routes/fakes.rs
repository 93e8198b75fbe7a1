//! An API over fakes in memory, and requests to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use api::{Context, Settings, app};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use jiff::Timestamp;
use landfall_auth::{Access, Scope, Token, TokenList, Tokens};
use landfall_aws::{AwsError, ChunkQueue, Datasets, Destinations, Sources, Work, WorkMessage};
use landfall_domain::{DatasetRef, JobId, JobState, ObjectOrder, ObjectRef};
use landfall_ledger::{JobHead, Ledger, LedgerTable, MemoryTable, Seal, Sums};
use serde_json::Value as Json;
use tower::ServiceExt;

use crate::buckets::Buckets;
use crate::changes::FakeChanges;
use crate::reader::FakeReader;

pub(crate) const PRODUCTS: &str = r#"
name = "products"
key = ["sku"]
[[fields]]
name = "sku"
type = "text"
[[fields]]
name = "name"
type = "text"
index = true
[[fields]]
name = "price"
type = "decimal"
[[totals]]
name = "products_by_name"
by = ["name"]
columns = { number = "count" }
"#;

const READINGS: &str = r#"
name = "readings"
format = "tsv"
key = ["sensor", "at"]
order = "revision"
[[fields]]
name = "sensor"
type = "text"
[[fields]]
name = "at"
type = "timestamp"
[[fields]]
name = "revision"
type = "integer"
required = true
"#;

/// A response.
pub(crate) struct ApiResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl ApiResponse {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the problem without the request id.
    pub(crate) fn problem(&self) -> Json {
        let mut problem = self.json();
        problem["request_id"].take();
        problem
    }

    /// Returns what the problem says to do.
    pub(crate) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// A chunk queue that only keeps what is sent, and says whether it is down.
#[derive(Default)]
pub(crate) struct SentMessages(pub(crate) Mutex<Vec<WorkMessage>>, pub(crate) Mutex<bool>);

#[async_trait]
impl ChunkQueue for SentMessages {
    async fn send(&self, messages: &[WorkMessage]) -> Result<(), AwsError> {
        if *self.1.lock().unwrap() {
            return Err(AwsError::unavailable("SendMessage", "chunks", "down"));
        }
        self.0.lock().unwrap().extend_from_slice(messages);
        Ok(())
    }

    async fn send_later(&self, work: &Work, _: u32) -> Result<(), AwsError> {
        self.0.lock().unwrap().push(work.message.clone());
        Ok(())
    }
}

/// An API with its fakes and tokens.
pub(crate) struct Api {
    pub(crate) app: Router,
    pub(crate) buckets: Arc<Buckets>,
    pub(crate) rows: Arc<FakeReader>,
    pub(crate) changes: Arc<FakeChanges>,
    pub(crate) table: Arc<MemoryTable>,
    pub(crate) ledger: Ledger,
    pub(crate) queue: Arc<SentMessages>,
    pub(crate) token: Token,
    /// Tokens by name: `reader`, `writer`, `operator`, `stranger` (for dataset `orders` only).
    pub(crate) others: BTreeMap<&'static str, Token>,
}

impl Api {
    /// Checks that a call about a job of `products` needs a token with the scope `write`.
    pub(crate) async fn assert_needs_write(&self, method: Method, path: &str) {
        for (token, status) in [
            ("reader", StatusCode::FORBIDDEN),
            ("stranger", StatusCode::NOT_FOUND),
            ("writer", StatusCode::ACCEPTED),
        ] {
            let bearer = format!("Bearer {}", self.others[token].reveal());
            let request = Request::builder()
                .method(method.clone())
                .uri(path)
                .header("authorization", bearer);
            let response = self.send(request.body(Body::empty()).unwrap());
            assert_eq!(response.await.status, status, "{token}");
        }
    }

    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(set: impl FnOnce(&mut Settings)) -> Self {
        let buckets = Arc::new(Buckets::default());
        buckets.put_text("config", "datasets/products.toml", PRODUCTS);
        buckets.put_text("config", "datasets/readings.toml", READINGS);
        buckets.put_text("config", "datasets/broken.toml", "name = 1");
        let rows = Arc::new(FakeReader::default());
        let table = Arc::new(MemoryTable::default());
        let queue = Arc::new(SentMessages::default());
        let changes = Arc::new(FakeChanges::default());
        let mut list = TokenList::default();
        let mut add = |name: &str, scopes: &[Scope], datasets: Access| {
            let token = Token::random();
            let scopes = scopes.iter().copied().collect();
            list.add(name, &token, scopes, datasets).unwrap();
            token
        };
        let all = [Scope::Read, Scope::Write];
        let token = add("everything", &all, Access::All);
        let others = BTreeMap::from([
            ("reader", add("reader", &[Scope::Read], Access::All)),
            ("writer", add("writer", &[Scope::Write], Access::All)),
            ("operator", add("operator", &[Scope::Admin], Access::All)),
            (
                "stranger",
                add("stranger", &all, Access::Only(["orders".to_owned()].into())),
            ),
        ]);
        let mut settings = Settings {
            inbox_bucket: "inbox".to_owned(),
            rejects_bucket: "rejects".to_owned(),
            work_bucket: "work".to_owned(),
            cors_origins: Vec::new(),
            socket_url: Some("wss://socket.example/live".to_owned()),
            upload_origin: Some("https://inbox.example".to_owned()),
            requests_per_second: 10_000.try_into().unwrap(),
            void_seconds: 3600,
        };
        set(&mut settings);
        let context = Context::new(
            settings,
            Tokens::fixed(list),
            table.clone(),
            queue.clone(),
            buckets.clone(),
            buckets.clone(),
            Datasets::new(buckets.clone(), "config"),
            Sources::new(buckets.clone(), "config"),
            Destinations::new(buckets.clone(), "config"),
            vec![rows.clone()],
            changes.clone(),
            Arc::new(Timestamp::now),
        );
        Self {
            app: app(&Arc::new(context)),
            ledger: Ledger::new(table.clone()),
            buckets,
            rows,
            changes,
            table,
            queue,
            token,
            others,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> ApiResponse {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        ApiResponse {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let bearer = format!("Bearer {}", self.token.reveal());
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, bearer)
    }

    pub(crate) async fn get(&self, path: &str) -> ApiResponse {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> ApiResponse {
        let mut request = self.request(Method::GET, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get_without_token(&self, path: &str) -> ApiResponse {
        let request = Request::get(path).body(Body::empty());
        self.send(request.unwrap()).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        media_type: &str,
        body: impl Into<Body>,
    ) -> ApiResponse {
        let request = self
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, media_type);
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Json) -> ApiResponse {
        self.post(path, "application/json", body.to_string()).await
    }

    /// Creates an open job of an object.
    pub(crate) async fn start_job(&self, key: &str) -> JobHead {
        let job = JobId::for_object("inbox", key, "1");
        let object = ObjectRef {
            bucket: "inbox".to_owned(),
            key: key.to_owned(),
            version: Some("1".to_owned()),
            etag: String::new(),
            size: 10,
        };
        let dataset = DatasetRef {
            name: object.dataset_name().unwrap().to_owned(),
            version: None,
        };
        let mut head = JobHead::new(job, object, ObjectOrder::new(1, "", job).unwrap());
        head.dataset = Some(dataset);
        head.chunk_bytes = 10;
        self.table.create(&head).await.unwrap()
    }

    /// Closes a job without chunks.
    pub(crate) async fn close_job(&self, job: JobId) {
        let seal = Seal {
            chunks: 0,
            problem: None,
            warnings: Vec::new(),
        };
        let head = self.ledger.seal(job, &seal).await.unwrap();
        let closed = self
            .ledger
            .record_close(&head, JobState::Succeeded, None, Sums::default());
        let head = closed.await.unwrap();
        self.ledger.record_published(&head).await.unwrap();
    }
}
