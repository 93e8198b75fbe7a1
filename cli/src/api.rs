//! A client of the HTTP API of a stack.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longer than the API takes for any request.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The longest wait that an answer can ask for.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// The maximum number of repetitions of a request, which take a few minutes.
const MAX_RETRIES: usize = 30;

/// The HTTP API of a stack, and a token for it.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    url: String,
    token: String,
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is no answer.
    #[error("the API does not respond")]
    Silent(#[from] reqwest::Error),
    /// The answer is an error.
    #[error("{status}: {detail}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// What to do about it.
        detail: String,
        /// After which time the request may succeed.
        retry_after: Option<Duration>,
    },
    /// The answer is not that of this release's API.
    #[error("the API is of another release, or this is not Landfall's")]
    Unexpected(#[source] serde_json::Error),
}

impl ApiError {
    /// Returns whether the same request may succeed later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Silent(error) => !error.is_builder(),
            Self::Refused {
                status,
                retry_after,
                ..
            } => {
                let is_passing =
                    matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error();
                is_passing || retry_after.is_some()
            }
            Self::Unexpected(_) => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What is sent with a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The media type and the body.
    pub body: Option<(&'static str, &'a [u8])>,
    /// Identifies the request, which then does the same if it is repeated.
    pub idempotency_key: Option<&'a str>,
}

impl Api {
    /// Returns a client for the API at an address.
    pub fn new(url: &str, token: &str) -> Result<Self, ApiError> {
        Ok(Self {
            client: Client::builder().timeout(TIMEOUT).build()?,
            url: url.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        })
    }

    /// Returns the answer to a `GET` request.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.call(Method::GET, path, Request::default()).await
    }

    /// Sends a request, and returns the answer. While it may succeed later, it is repeated for a few minutes: after as
    /// long as the answer says in `Retry-After`, at most a minute.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        request: Request<'_>,
    ) -> Result<T, ApiError> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(10))
            .with_max_times(MAX_RETRIES)
            .with_jitter();
        let send = || self.send(&method, path, request);
        let text = send
            .retry(backoff)
            .when(ApiError::may_pass)
            .adjust(|error, wait| {
                let asked = error.retry_after().map(|asked| asked.min(MAX_WAIT));
                wait.map(|wait| asked.unwrap_or(wait))
            })
            .await?;
        serde_json::from_str(&text).map_err(ApiError::Unexpected)
    }

    /// Sends a request once, and returns the text of the answer.
    pub async fn send(
        &self,
        method: &Method,
        path: &str,
        request: Request<'_>,
    ) -> Result<String, ApiError> {
        let url = format!("{}/{path}", self.url);
        let mut sent = self.client.request(method.clone(), url);
        sent = sent.bearer_auth(&self.token);
        if let Some((media_type, body)) = request.body {
            sent = sent.header(CONTENT_TYPE, media_type).body(body.to_vec());
        }
        if let Some(key) = request.idempotency_key {
            sent = sent.header("idempotency-key", key);
        }
        // A URL could be secret.
        let answer = sent.send().await.map_err(reqwest::Error::without_url)?;
        let status = answer.status();
        let seconds = answer.headers().get(RETRY_AFTER).cloned();
        let text = answer.text().await.map_err(reqwest::Error::without_url)?;
        if status.is_success() {
            return Ok(text);
        }
        let seconds = seconds.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        // An RFC 9457 problem, unless something else answers at this address.
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let detail = problem["detail"].as_str();
        Err(ApiError::Refused {
            status,
            detail: detail.unwrap_or("this is not Landfall's API").to_owned(),
            retry_after: seconds.map(Duration::from_secs),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread::{JoinHandle, spawn};

    use super::*;

    /// Answers one request after the other with these statuses, headers and bodies. Returns the requests.
    fn serve(answers: &'static [&'static str]) -> (Api, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = spawn(move || {
            let answer = |answer: &&str| {
                let (mut connection, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(connection.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    reader.read_line(&mut head).unwrap();
                }
                let length = head.split("content-length: ").nth(1);
                let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let answer =
                    format!("HTTP/1.1 {answer}").replace('|', "\r\nconnection: close\r\n\r\n");
                connection.write_all(answer.as_bytes()).unwrap();
                head + std::str::from_utf8(&body).unwrap()
            };
            answers.iter().map(answer).collect()
        });
        (Api::new(&url, "secret").unwrap(), server)
    }

    #[tokio::test]
    async fn a_request_is_repeated_until_it_succeeds() {
        let (api, server) = serve(&[
            "429 Too Many Requests\r\nretry-after: 0|",
            "503 Service Unavailable|",
            "404 Not Found\r\nretry-after: 0|",
            "200 OK|{\"state\":\"stored\"}",
        ]);
        let request = Request {
            body: Some(("application/json", b"{}")),
            idempotency_key: Some("one"),
        };
        let answer: Value = api.call(Method::PUT, "rows/1", request).await.unwrap();
        assert_eq!(answer["state"], "stored");
        let requests = server.join().unwrap();
        assert_eq!(requests.len(), 4);
        for request in requests {
            assert!(request.starts_with("PUT /rows/1 HTTP/1.1\r\n"), "{request}");
            for part in [
                "idempotency-key: one",
                "authorization: Bearer secret",
                "\r\n\r\n{}",
            ] {
                assert!(request.contains(part), "{part} is not in {request}");
            }
        }
    }

    #[tokio::test]
    async fn a_request_that_is_wrong_is_not_repeated() {
        let (api, server) = serve(&["400 Bad Request|{\"detail\":\"no field x\"}"]);
        let error = api.get::<Value>("rows").await.unwrap_err();
        assert_eq!(error.to_string(), "400 Bad Request: no field x");
        assert_eq!(server.join().unwrap().len(), 1);
    }
}
