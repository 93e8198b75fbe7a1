//! Answers about rows and totals, kept for those who ask the same again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use landfall_ledger::JobIndex;
use moka::future::Cache;

use crate::ApiError;

/// How long before a request the moment may lie that its answer shows.
pub const FRESH: Duration = Duration::from_secs(2);
/// Bytes of all kept answers together, about.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes that an answer takes beside its body, about.
const OVERHEAD: usize = 512;

/// What was read of a dataset, as it is sent.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) body: Bytes,
    pub(crate) media_type: &'static str,
    /// Where to go on, as a `Link`.
    pub(crate) next: Option<HeaderValue>,
}

struct Answer {
    content: Content,
    etag: HeaderValue,
    /// From before the read. Wall-clock time: the other one may stand still while a function is frozen.
    read_at: SystemTime,
}

/// A question, and the generation of its dataset that it is asked under. What was read under an earlier one
/// may lack rows of a job that is closed, so it is not found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    question: String,
    generation: u64,
}

pub(crate) struct Answers {
    kept: Cache<Key, Arc<Answer>>,
}

impl Default for Answers {
    fn default() -> Self {
        let kept = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|key: &Key, answer: &Arc<Answer>| {
                let bytes = key.question.len() + answer.content.body.len() + OVERHEAD;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .time_to_live(FRESH)
            .build();
        Self { kept }
    }
}

impl Answers {
    /// Answers a question about a dataset: with what is kept where that is fresh, else by `read`, which those
    /// who ask the same at the same time share. `question` must say all that the answer depends on.
    pub(crate) async fn answer<F, R>(
        &self,
        index: &dyn JobIndex,
        dataset: &str,
        question: String,
        headers: &HeaderMap,
        read: F,
    ) -> Result<Response, ApiError>
    where
        F: Fn() -> R,
        R: Future<Output = Result<Content, ApiError>>,
    {
        let asked_at = SystemTime::now();
        // Before the rows are read: a job that closes in between makes the answer one of an earlier generation.
        let key = Key {
            question,
            generation: index.generation(dataset).await?,
        };
        if !wants_new(headers) {
            let entry = self
                .kept
                .entry_by_ref(&key)
                .or_try_insert_with(load(&read))
                .await?;
            let is_hit = !entry.is_fresh();
            let answer = entry.into_value();
            if answer.is_fresh_at(asked_at) {
                return Ok(answer.response(headers, is_hit));
            }
        }
        let answer = load(&read).await?;
        self.kept.insert(key, Arc::clone(&answer)).await;
        Ok(answer.response(headers, false))
    }
}

async fn load<F, R>(read: &F) -> Result<Arc<Answer>, ApiError>
where
    F: Fn() -> R,
    R: Future<Output = Result<Content, ApiError>>,
{
    let read_at = SystemTime::now();
    let content = read().await?;
    let etag = etag(&content)?;
    Ok(Arc::new(Answer {
        content,
        etag,
        read_at,
    }))
}

impl Answer {
    /// Whether it shows a moment that does not lie too long before this one.
    fn is_fresh_at(&self, asked_at: SystemTime) -> bool {
        // A clock that was set back makes it unknown.
        let now = SystemTime::now();
        self.read_at <= now && self.read_at + FRESH >= asked_at
    }

    fn response(&self, headers: &HeaderMap, is_hit: bool) -> Response {
        let mut response = if has_etag(headers, &self.etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = self.content.body.clone().into_response();
            let media_type = HeaderValue::from_static(self.content.media_type);
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, media_type);
            response
        };
        let told = response.headers_mut();
        told.insert(header::ETAG, self.etag.clone());
        // Kept by nobody but whoever asked, and by them only to ask whether it still holds.
        told.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        );
        told.insert(
            header::VARY,
            HeaderValue::from_static("accept, authorization"),
        );
        let status = if is_hit {
            "landfall; hit"
        } else {
            "landfall; fwd=miss"
        };
        told.insert("cache-status", HeaderValue::from_static(status));
        if let Some(next) = &self.content.next {
            told.insert(header::LINK, next.clone());
        }
        response
    }
}

/// The name of exactly this content, and of where it goes on: as CSV or NDJSON, only the header tells that.
fn etag(content: &Content) -> Result<HeaderValue, ApiError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(content.media_type.as_bytes());
    if let Some(next) = &content.next {
        hasher.update(next.as_bytes());
    }
    hasher.update(&content.body);
    let hex = hasher.finalize().to_hex();
    HeaderValue::try_from(format!("\"{}\"", &hex[..32]))
        .map_err(|error| ApiError::Internal(error.to_string()))
}

/// Whether a client has what is named so.
pub(crate) fn has_etag(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == "*" || one.as_bytes() == etag.as_bytes())
}

/// Whether a client asks for what is in the store now, as browsers do by `max-age=0`.
fn wants_new(headers: &HeaderMap) -> bool {
    headers
        .get(header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value.split(',').any(|directive| {
                let directive = directive.trim();
                ["no-cache", "no-store", "max-age=0"]
                    .iter()
                    .any(|one| directive.eq_ignore_ascii_case(one))
            })
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

    async fn ask<R>(answers: &Answers, read: impl Fn() -> R) -> Response
    where
        R: Future<Output = Result<Content, ApiError>>,
    {
        let (table, question) = (MemoryTable::default(), "q".to_owned());
        let headers = HeaderMap::new();
        let answer = answers.answer(&table, "products", question, &headers, read);
        answer.await.unwrap()
    }

    #[tokio::test]
    async fn what_is_older_than_promised_is_read_again() {
        let new = content("new");
        for (age, is_told) in [
            (Duration::ZERO, true),
            (FRESH + Duration::from_millis(1), false),
        ] {
            let answers = Answers::default();
            let kept = Answer {
                etag: etag(&content("old")).unwrap(),
                content: content("old"),
                read_at: SystemTime::now() - age,
            };
            let key = Key {
                question: "q".to_owned(),
                generation: 0,
            };
            answers.kept.insert(key, Arc::new(kept)).await;
            let answer = ask(&answers, || async { Ok(new.clone()) }).await;
            let is_old = answer.headers()[header::ETAG] == etag(&content("old")).unwrap();
            assert_eq!(is_old, is_told, "{age:?}");
        }
    }

    #[tokio::test]
    async fn those_who_ask_the_same_at_once_share_a_read() {
        let answers = Answers::default();
        let reads = AtomicU32::new(0);
        let read = || async {
            reads.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(content("x"))
        };
        let asked = join_all((0..20).map(|_| ask(&answers, read))).await;
        assert!(asked.iter().all(|answer| answer.status() == StatusCode::OK));
        assert_eq!(reads.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_failed_read_is_told_to_all_who_wait_and_is_not_kept() {
        let answers = Answers::default();
        let (table, headers) = (MemoryTable::default(), HeaderMap::new());
        let fail = || async {
            tokio::task::yield_now().await;
            Err(ApiError::Costly("timeout".to_owned()))
        };
        let asked =
            (0..3).map(|_| answers.answer(&table, "products", "q".to_owned(), &headers, fail));
        for answer in join_all(asked).await {
            assert_eq!(
                answer.unwrap_err().status(),
                StatusCode::UNPROCESSABLE_ENTITY
            );
        }
        let answer = ask(&answers, || async { Ok(content("x")) }).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
}
