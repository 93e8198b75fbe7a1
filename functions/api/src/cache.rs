//! A cache of answers about rows and totals, 64 MiB per process, for 2 seconds.
//!
//! The cache key includes the *generation* of the dataset, a number in the ledger that is raised after the last row
//! of a job is applied and before the job closes. Each request first reads the generation with one consistent
//! `GetItem`. A client that has seen a job closed therefore never gets an answer from before, on any instance, and
//! nothing has to be invalidated.
//!
//! The age of an answer counts from before its read, in wall-clock time, because the monotonic clock may stand
//! still while a function is frozen. Concurrent requests for the same answer share one read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use landfall_domain::DatasetRef;
use landfall_ledger::JobIndex;
use landfall_stores::Reader;
use moka::future::Cache;

use crate::ApiError;
use crate::encoding::{Encoding, header_list};

/// The maximum age of data in a response, when its request arrives.
pub const FRESH: Duration = Duration::from_secs(2);
/// The approximate size of the cache in bytes.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// The approximate size of a cached response without its body and key.
const OVERHEAD: usize = 512;

/// The content of a response.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) body: Bytes,
    pub(crate) media_type: &'static str,
    /// The `Link` to the next page.
    pub(crate) next: Option<String>,
}

struct CachedResponse {
    content: Content,
    etag: HeaderValue,
    /// When the read started, in wall-clock time: the monotonic clock may stop while a function is frozen.
    read_at: SystemTime,
}

/// Everything that the content of a response depends on, except the data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QueryKey(String);

impl QueryKey {
    /// Creates the key of a query. `target` names what is read of the dataset.
    pub(crate) fn new(
        reader: &dyn Reader,
        reference: &DatasetRef,
        target: &str,
        encoding: Encoding,
        query: &dyn std::fmt::Debug,
    ) -> Self {
        let store = reader.kind();
        Self(format!(
            "{store} {reference:?} {target} {encoding:?} {query:?}"
        ))
    }
}

/// A query and the generation of its dataset. A response of an earlier generation may lack rows of a closed job, so
/// it is not found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    query: QueryKey,
    generation: u64,
}

/// The cache of one instance.
pub(crate) struct ResponseCache {
    jobs: Arc<dyn JobIndex>,
    cached: Cache<Key, Arc<CachedResponse>>,
}

impl ResponseCache {
    /// Creates a cache. `jobs` has the generations of the datasets.
    pub(crate) fn new(jobs: Arc<dyn JobIndex>) -> Self {
        let cached = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|key: &Key, response: &Arc<CachedResponse>| {
                let bytes = key.query.0.len() + response.content.body.len() + OVERHEAD;
                // A response is far smaller than 4 GiB; a greater weight would only evict it sooner.
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .time_to_live(FRESH)
            .build();
        Self { jobs, cached }
    }

    /// Responds to a query of a dataset, from the cache if the content is fresh, else with `read`. Concurrent requests
    /// with the same query share one read.
    pub(crate) async fn respond<F, R>(
        &self,
        dataset: &str,
        query: QueryKey,
        headers: &HeaderMap,
        read: F,
    ) -> Result<Response, ApiError>
    where
        F: Fn() -> R,
        R: Future<Output = Result<Content, ApiError>>,
    {
        let requested_at = SystemTime::now();
        // Before the rows are read, so that the close of a job in between outdates the response.
        let key = Key {
            query,
            generation: self.jobs.generation(dataset).await?,
        };
        let load = || async {
            let read_at = SystemTime::now();
            let content = read().await;
            content.map(|content| Arc::new(CachedResponse::new(content, read_at)))
        };
        if !bypasses_cache(headers) {
            let entry = self.cached.entry_by_ref(&key);
            let entry = entry.or_try_insert_with(load()).await;
            let entry = entry.map_err(Arc::unwrap_or_clone)?;
            let is_hit = !entry.is_fresh();
            let cached = entry.into_value();
            if cached.is_fresh_at(requested_at) {
                return Ok(cached.response(headers, is_hit));
            }
        }
        let response = load().await?;
        self.cached.insert(key, Arc::clone(&response)).await;
        Ok(response.response(headers, false))
    }
}

impl CachedResponse {
    fn new(content: Content, read_at: SystemTime) -> Self {
        // The `ETag` covers the link, which CSV and NDJSON do not have in the body.
        let next = content.next.as_deref().unwrap_or_default();
        Self {
            etag: etag(&[
                content.media_type.as_bytes(),
                next.as_bytes(),
                &content.body,
            ]),
            content,
            read_at,
        }
    }

    /// Reports whether it was fresh at this time.
    fn is_fresh_at(&self, requested_at: SystemTime) -> bool {
        // If the clock was set back, the age is unknown.
        let now = SystemTime::now();
        self.read_at <= now && self.read_at + FRESH >= requested_at
    }

    fn response(&self, headers: &HeaderMap, is_hit: bool) -> Response {
        let status = if is_hit {
            "landfall; hit"
        } else {
            "landfall; fwd=miss"
        };
        let headers_of_all = [
            // Private; clients must revalidate before reuse.
            (header::CACHE_CONTROL, "private, no-cache"),
            (header::VARY, "accept, authorization"),
            (HeaderName::from_static("cache-status"), status),
        ];
        let Content {
            body,
            media_type,
            next,
        } = &self.content;
        let link = next.clone().map(|next| [(header::LINK, next)]);
        let response = conditional_response(headers, &self.etag, media_type, body.clone());
        (headers_of_all, link, response).into_response()
    }
}

/// Returns the `ETag` of content that consists of these parts.
pub(crate) fn etag(parts: &[&[u8]]) -> HeaderValue {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let hex = hasher.finalize().to_hex();
    HeaderValue::try_from(format!("\"{}\"", &hex[..32])).expect("hexadecimal digits in quotes")
}

/// Returns a response with this body, or without it if the client has it already.
pub(crate) fn conditional_response(
    headers: &HeaderMap,
    etag: &HeaderValue,
    media_type: &str,
    body: Bytes,
) -> Response {
    let etag_header = [(header::ETAG, etag.clone())];
    if has_etag(headers, etag) {
        (StatusCode::NOT_MODIFIED, etag_header).into_response()
    } else {
        (etag_header, [(header::CONTENT_TYPE, media_type)], body).into_response()
    }
}

/// Reports whether `If-None-Match` has this `ETag`.
fn has_etag(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    header_list(headers, &header::IF_NONE_MATCH)
        .map(|value| value.trim_start_matches("W/"))
        .any(|value| value == "*" || value.as_bytes() == etag.as_bytes())
}

/// Reports whether a client requests current data. Browsers do so with `max-age=0`.
fn bypasses_cache(headers: &HeaderMap) -> bool {
    header_list(headers, &header::CACHE_CONTROL).any(|directive| {
        ["no-cache", "no-store", "max-age=0"]
            .iter()
            .any(|bypass| directive.eq_ignore_ascii_case(bypass))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use landfall_ledger::MemoryTable;

    use super::*;

    fn content(text: &str) -> Content {
        Content {
            body: Bytes::from(text.to_owned()),
            media_type: "text/plain",
            next: None,
        }
    }

    fn query() -> QueryKey {
        QueryKey("q".to_owned())
    }

    fn cache() -> ResponseCache {
        ResponseCache::new(Arc::new(MemoryTable::default()))
    }

    async fn get<R>(cache: &ResponseCache, read: impl Fn() -> R) -> Result<Response, ApiError>
    where
        R: Future<Output = Result<Content, ApiError>>,
    {
        let headers = HeaderMap::new();
        cache.respond("products", query(), &headers, read).await
    }

    #[tokio::test]
    async fn stale_content_is_read_again() {
        for (age, is_reused) in [
            (Duration::ZERO, true),
            (FRESH + Duration::from_millis(1), false),
        ] {
            let cache = cache();
            let cached = CachedResponse::new(content("old"), SystemTime::now() - age);
            let etag = cached.etag.clone();
            let key = Key {
                query: query(),
                generation: 0,
            };
            cache.cached.insert(key, Arc::new(cached)).await;
            let response = get(&cache, || async { Ok(content("new")) }).await.unwrap();
            let is_old = response.headers()[header::ETAG] == etag;
            assert_eq!(is_old, is_reused, "{age:?}");
        }
    }

    #[tokio::test]
    async fn concurrent_requests_with_the_same_query_share_a_read() {
        let cache = cache();
        let reads = AtomicU32::new(0);
        let read = || async {
            reads.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(content("x"))
        };
        for response in join_all((0..20).map(|_| get(&cache, read))).await {
            assert_eq!(response.unwrap().status(), StatusCode::OK);
        }
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_failed_read_fails_all_waiting_requests_and_is_not_cached() {
        let cache = cache();
        let fail = || async {
            tokio::task::yield_now().await;
            Err(ApiError::Costly)
        };
        for response in join_all((0..3).map(|_| get(&cache, fail))).await {
            let status = response.unwrap_err().status();
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        }
        let response = get(&cache, || async { Ok(content("x")) }).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}
