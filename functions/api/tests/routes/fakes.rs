//! An api over fakes in memory, and requests to it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Context, Settings, app};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use landfall_auth::{Access, Scope, Token, TokenList, Tokens};
use landfall_aws::{AwsError, Datasets, Inbox, Listed, Objects, PostForm, Stored};
use landfall_domain::{
    ByteRange, CompletionEvent, Dataset, DatasetRef, JobId, ObjectOrder, ObjectRef, RowQuery,
    Start, StoreKind, Test, Total, Value,
};
use landfall_ledger::{JobHead, Ledger, LedgerTable, MemoryTable, Pinned, Publisher, Seal};
use landfall_stores::{Reader, RowPage, StoreError, StoredRow, TotalsPage};
use serde_json::Value as Json;
use tower::ServiceExt;

pub const PRODUCTS: &str = r#"
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
[[fields]]
name = "sensor"
type = "text"
[[fields]]
name = "at"
type = "timestamp"
"#;

/// Buckets, and all versions of what was put into the inbox.
#[derive(Default)]
pub struct Buckets {
    pub objects: Mutex<BTreeMap<(String, String), Bytes>>,
    versions: AtomicUsize,
}

impl Buckets {
    pub fn put_text(&self, bucket: &str, key: &str, text: &str) {
        let place = (bucket.to_owned(), key.to_owned());
        let bytes = Bytes::from(text.to_owned());
        self.objects.lock().unwrap().insert(place, bytes);
    }

    pub fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let place = (bucket.to_owned(), key.to_owned());
        self.objects.lock().unwrap().get(&place).cloned()
    }

    fn stored(&self, key: &str) -> Option<Stored> {
        self.get("inbox", key).map(|bytes| Stored {
            version: "v1".to_owned(),
            size: bytes.len() as u64,
        })
    }
}

#[async_trait]
impl Objects for Buckets {
    async fn read(&self, object: &ObjectRef, range: ByteRange) -> Result<Bytes, AwsError> {
        let bytes = self.get(&object.bucket, &object.key);
        let bytes = bytes.ok_or_else(|| AwsError::Gone(object.key.clone()))?;
        let at = |place: u64| usize::try_from(place).unwrap();
        Ok(bytes.slice(at(range.start)..at(range.end)))
    }

    async fn read_text(
        &self,
        bucket: &str,
        key: &str,
        _: Option<&str>,
        _: usize,
    ) -> Result<Option<(String, Option<String>)>, AwsError> {
        let found = self.get(bucket, key);
        Ok(found.map(|bytes| (String::from_utf8(bytes.to_vec()).unwrap(), None)))
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<Listed>, AwsError> {
        let objects = self.objects.lock().unwrap();
        let listed = objects.iter().filter(|((of, key), _)| {
            of == bucket && key.starts_with(prefix) && after.is_none_or(|after| &**key > after)
        });
        Ok(listed
            .map(|((_, key), bytes)| Listed {
                key: key.clone(),
                etag: String::new(),
                size: bytes.len() as u64,
            })
            .collect())
    }

    async fn write(&self, bucket: &str, key: &str, _: &str, body: Bytes) -> Result<(), AwsError> {
        let place = (bucket.to_owned(), key.to_owned());
        self.objects.lock().unwrap().insert(place, body);
        Ok(())
    }
}

#[async_trait]
impl Inbox for Buckets {
    async fn put(&self, key: &str, _: &str, body: Bytes) -> Result<Stored, AwsError> {
        let size = body.len() as u64;
        self.write("inbox", key, "", body).await?;
        let version = self.versions.fetch_add(1, Ordering::Relaxed);
        Ok(Stored {
            version: format!("v{version}"),
            size,
        })
    }

    async fn post_form(&self, key: &str, size: u64, _: Duration) -> Result<PostForm, AwsError> {
        let fields = [
            ("key".to_owned(), key.to_owned()),
            ("size".to_owned(), size.to_string()),
        ];
        Ok(PostForm {
            url: "http://inbox".to_owned(),
            fields: fields.into(),
        })
    }

    async fn begin(&self, key: &str) -> Result<String, AwsError> {
        Ok(format!("upload of {key}"))
    }

    async fn part_url(
        &self,
        key: &str,
        _: &str,
        number: i32,
        bytes: u64,
        _: Duration,
    ) -> Result<String, AwsError> {
        Ok(format!("http://inbox/{key}?number={number}&bytes={bytes}"))
    }

    async fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[(i32, String)],
    ) -> Result<(), AwsError> {
        if upload_id != format!("upload of {key}") || self.get("inbox", key).is_some() {
            return Err(AwsError::Refused {
                operation: "CompleteMultipartUpload",
                subject: key.to_owned(),
                reason: "NoSuchUpload".to_owned(),
            });
        }
        let etags: Vec<&str> = parts.iter().map(|(_, etag)| etag.as_str()).collect();
        self.put_text("inbox", key, &etags.join("+"));
        Ok(())
    }

    async fn latest(&self, key: &str) -> Result<Option<Stored>, AwsError> {
        Ok(self.stored(key))
    }
}

/// A store: rows in the order of their keys, which are their first values.
#[derive(Default)]
pub struct Rows {
    pub rows: Mutex<Vec<StoredRow>>,
    pub reads: AtomicUsize,
    pub is_down: Mutex<bool>,
}

impl Rows {
    pub fn put(&self, sku: &str, name: &str, price: &str, extra: Option<&str>) {
        let row = StoredRow {
            values: vec![
                Value::Text(sku.to_owned()),
                Value::Text(name.to_owned()),
                Value::Decimal(price.parse().unwrap()),
            ],
            extra: extra.map(ToOwned::to_owned),
        };
        let mut rows = self.rows.lock().unwrap();
        rows.push(row);
        rows.sort_by(|a, b| a.values[0].cmp_key(&b.values[0]));
    }

    fn read(&self) -> Result<Vec<StoredRow>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if *self.is_down.lock().unwrap() {
            return Err(StoreError::Unavailable {
                store: StoreKind::Postgres,
                reason: "connection refused by db.internal".to_owned(),
            });
        }
        Ok(self.rows.lock().unwrap().clone())
    }
}

#[async_trait]
impl Reader for Rows {
    fn kind(&self) -> StoreKind {
        StoreKind::Postgres
    }

    async fn rows(&self, _: &Dataset, query: &RowQuery) -> Result<RowPage, StoreError> {
        let mut rows = self.read()?;
        for filter in &query.filters {
            let Test::Equals(value) = &filter.test else {
                panic!("the fake knows no such condition");
            };
            rows.retain(|row| row.values[filter.field] == *value);
        }
        match &query.start {
            Start::First => {}
            Start::After(place) => rows.retain(|row| row.values[0].cmp_key(&place[0]).is_gt()),
            Start::Skip(skipped) => {
                drop(rows.drain(..rows.len().min(usize::try_from(*skipped).unwrap())))
            }
        }
        let limit = query.limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more);
        let next = last.map(|row| vec![row.values[0].clone()]);
        Ok(RowPage { rows, next })
    }

    async fn row(&self, _: &Dataset, key: &[Value]) -> Result<Option<StoredRow>, StoreError> {
        Ok(self.read()?.into_iter().find(|row| row.values[0] == key[0]))
    }

    async fn totals(
        &self,
        _: &Dataset,
        _: &Total,
        _: &Start,
        _: u32,
    ) -> Result<TotalsPage, StoreError> {
        let number = i64::try_from(self.read()?.len()).unwrap();
        Ok(TotalsPage {
            groups: vec![vec![Value::Null, Value::Integer(number)]],
            next: None,
        })
    }
}

struct Bus;

#[async_trait]
impl Publisher for Bus {
    async fn publish(&self, _: &CompletionEvent) -> Result<(), String> {
        Ok(())
    }
}

/// What an answer has.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// An api, what is behind it, and a token for everything.
pub struct Api {
    pub app: Router,
    pub buckets: Arc<Buckets>,
    pub rows: Arc<Rows>,
    pub table: Arc<MemoryTable>,
    pub ledger: Ledger,
    pub token: Token,
    /// Tokens by what they are for: `reader`, `writer`, `stranger` (for dataset `orders` alone).
    pub others: BTreeMap<&'static str, Token>,
}

impl Api {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(set: impl FnOnce(&mut Settings)) -> Self {
        let buckets = Arc::new(Buckets::default());
        buckets.put_text("config", "datasets/products.toml", PRODUCTS);
        buckets.put_text("config", "datasets/readings.toml", READINGS);
        buckets.put_text("config", "datasets/broken.toml", "name = 1");
        let rows = Arc::new(Rows::default());
        let table = Arc::new(MemoryTable::default());
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
            (
                "stranger",
                add("stranger", &all, Access::Only(["orders".to_owned()].into())),
            ),
        ]);
        let mut settings = Settings {
            inbox_bucket: "inbox".to_owned(),
            rejects_bucket: "rejects".to_owned(),
            cors_origins: Vec::new(),
            socket_url: Some("wss://socket.example/live".to_owned()),
            upload_origin: Some("https://inbox.example".to_owned()),
            requests_per_second: 10_000.try_into().unwrap(),
        };
        set(&mut settings);
        let context = Context::new(
            settings,
            Tokens::fixed(list),
            table.clone(),
            buckets.clone(),
            buckets.clone(),
            Datasets::new(buckets.clone(), "config"),
            vec![rows.clone()],
        );
        Self {
            app: app(&Arc::new(context)),
            ledger: Ledger::new(table.clone(), Arc::new(Bus), "rejects"),
            buckets,
            rows,
            table,
            token,
            others,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let bearer = format!("Bearer {}", self.token.reveal());
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, bearer)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.request(Method::GET, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, media_type: &str, body: impl Into<Body>) -> Answer {
        let request = self
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, media_type);
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn post_json(&self, path: &str, body: &Json) -> Answer {
        self.post(path, "application/json", body.to_string()).await
    }

    /// An open job of an object.
    pub async fn start_job(&self, key: &str) -> JobHead {
        let job = JobId::of("inbox", key, "1");
        let object = ObjectRef {
            bucket: "inbox".to_owned(),
            key: key.to_owned(),
            version: Some("1".to_owned()),
            etag: String::new(),
            size: 10,
        };
        let pinned = Pinned {
            dataset: Some(DatasetRef {
                name: object.dataset_name().unwrap().to_owned(),
                version: None,
            }),
            chunk_bytes: 10,
            ..Pinned::default()
        };
        let head = JobHead::new(job, object, ObjectOrder::new(1, "", job).unwrap(), pinned);
        self.table.create(&head).await.unwrap()
    }

    /// Closes a job without chunks.
    pub async fn close_job(&self, job: JobId) {
        let seal = Seal {
            chunks: 0,
            problem: None,
        };
        self.ledger.seal(job, &seal).await.unwrap();
    }
}
