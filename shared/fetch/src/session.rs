use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use landfall_domain::excerpt;
use landfall_requests::shown_answer;
use landfall_sources::{
    Auth, ClientCredentials, MAX_RETRY_AFTER, Policy, Request, Revealed, Secrets, Source, Token,
    Verdict, verdict, wait,
};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use crate::{FetchError, Pace, Received, Transport, TransportError};

/// The maximum number of attempts for one request.
const ATTEMPTS: u32 = 5;
/// How much of a refused answer is read for the error.
const START_BYTES: usize = 1024;
/// How much of the answer to a request for a token is read.
const TOKEN_BYTES: u64 = 256 * 1024;

/// An answer that has been read as a whole.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// Sends the requests of one run of a source.
pub struct Session<'a> {
    source: &'a Source,
    policy: &'a Policy,
    secrets: &'a Secrets,
    transport: &'a dyn Transport,
    pace: &'a dyn Pace,
    stop_at: Instant,
    token: Option<Token>,
    requests: u64,
}

impl<'a> Session<'a> {
    /// Starts a session that sends nothing after `stop_at`.
    pub fn new(
        source: &'a Source,
        policy: &'a Policy,
        secrets: &'a Secrets,
        transport: &'a dyn Transport,
        pace: &'a dyn Pace,
        stop_at: Instant,
    ) -> Self {
        Self {
            source,
            policy,
            secrets,
            transport,
            pace,
            stop_at,
            token: None,
            requests: 0,
        }
    }

    /// Returns the number of requests that were sent, with those for tokens, redirects and retries.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Sends a request and reads the answer as a whole.
    pub async fn fetch(&mut self, request: &Request) -> Result<Response, FetchError> {
        let limit = self.source.limits.response_bytes;
        let mut attempt = 1;
        loop {
            let received = self.open(request, &mut attempt).await?;
            let (status, headers) = (received.status, received.headers.clone());
            match self.read(received, limit).await? {
                Ok(body) => {
                    return Ok(Response {
                        status,
                        headers,
                        body,
                    });
                }
                Err(reason) => self.retry(&mut attempt, None, &reason).await?,
            }
        }
    }

    /// Sends a request until it has an answer that is a page, whose body is still to be read. `attempt` counts from 1,
    /// over all attempts for this request.
    pub async fn open(
        &mut self,
        request: &Request,
        attempt: &mut u32,
    ) -> Result<Received, FetchError> {
        let mut is_new_token = false;
        loop {
            let mut revealed = request.reveal(self.secrets)?;
            if let Some(auth) = &self.source.auth {
                if let Auth::ClientCredentials(client) = auth {
                    is_new_token |= self.renew_token(client, attempt).await?;
                }
                auth.apply(
                    &mut revealed,
                    self.token.as_ref(),
                    self.secrets,
                    Timestamp::now(),
                )?;
            }
            let received = match self.follow(revealed).await? {
                Ok(received) => received,
                Err(reason) => {
                    self.retry(attempt, None, &reason).await?;
                    continue;
                }
            };
            match verdict(received.status, &received.headers, Timestamp::now()) {
                Verdict::Page => return Ok(received),
                Verdict::Unauthorized if self.token.is_some() && !is_new_token => self.token = None,
                Verdict::Retry(asked) => {
                    let reason = format!("the server answered with status {}", received.status);
                    self.retry(attempt, asked, &reason).await?;
                }
                Verdict::Unauthorized | Verdict::Refused | Verdict::Redirect => {
                    return Err(self.refused(received).await);
                }
            }
        }
    }

    /// Gets a token unless there is one. Returns whether it did.
    async fn renew_token(
        &mut self,
        client: &ClientCredentials,
        attempt: &mut u32,
    ) -> Result<bool, FetchError> {
        if self
            .token
            .as_ref()
            .is_some_and(|token| token.is_fresh(Timestamp::now()))
        {
            return Ok(false);
        }
        loop {
            let reason = match self.follow(client.request(self.secrets)?).await? {
                Err(reason) => (None, reason),
                Ok(received) => match verdict(received.status, &received.headers, Timestamp::now())
                {
                    Verdict::Page => match self.read(received, TOKEN_BYTES).await? {
                        Ok(body) => {
                            self.token = Some(Token::parse(&body, Timestamp::now())?);
                            return Ok(true);
                        }
                        Err(reason) => (None, reason),
                    },
                    Verdict::Retry(asked) => (
                        asked,
                        format!(
                            "the server of tokens answered with status {}",
                            received.status
                        ),
                    ),
                    _ => return Err(self.refused(received).await),
                },
            };
            self.retry(attempt, reason.0, &reason.1).await?;
        }
    }

    /// Sends a request and follows redirects. Returns why it failed, if it may be repeated.
    async fn follow(
        &mut self,
        mut request: Revealed,
    ) -> Result<Result<Received, String>, FetchError> {
        let mut redirects = 0;
        self.policy.check_url(&request.url)?;
        loop {
            let host = request.url.host_str().unwrap_or_default();
            let paced = self.pace.wait(host, &self.source.limits);
            timeout_at(self.stop_at, paced)
                .await
                .map_err(|_| FetchError::Time)??;
            self.requests += 1;
            let received = match timeout_at(self.stop_at, self.transport.send(&request)).await {
                Err(_) => return Err(FetchError::Time),
                Ok(Err(TransportError::Refused(refused))) => return Err(refused.into()),
                Ok(Err(TransportError::Unreached(reason) | TransportError::Failed(reason))) => {
                    return Ok(Err(self.secrets.remove_from(&reason)));
                }
                Ok(Ok(received)) => received,
            };
            let verdict = verdict(received.status, &received.headers, Timestamp::now());
            if let Verdict::Retry(Some(asked)) = verdict {
                self.pause(host, asked).await;
            }
            let is_redirect = verdict == Verdict::Redirect;
            // What a request with a body does at another place is not known.
            if !is_redirect || request.method != Method::GET {
                return Ok(Ok(received));
            }
            let location = received
                .headers
                .get(LOCATION)
                .and_then(|location| location.to_str().ok());
            let location = location.unwrap_or_default();
            let target = request.url.join(location);
            let target = target
                .map_err(|_| FetchError::Redirect(self.secrets.remove_from(&excerpt(location))))?;
            redirects += 1;
            self.policy
                .check_redirect(&request.url, &target, redirects)?;
            request.redirect(target);
        }
    }

    /// Holds back the requests of all sources to a host. This request is repeated later in any case.
    async fn pause(&self, host: &str, asked: Duration) {
        if let Err(error) = self.pace.pause(host, asked.min(MAX_RETRY_AFTER)).await {
            warn!(source = self.source.name, host, %error, "other requests to the host are not held back");
        }
    }

    /// Waits before the next attempt, unless there is none.
    async fn retry(
        &self,
        attempt: &mut u32,
        asked: Option<Duration>,
        reason: &str,
    ) -> Result<(), FetchError> {
        if *attempt >= ATTEMPTS {
            return Err(FetchError::Failed {
                attempts: *attempt,
                reason: reason.to_owned(),
            });
        }
        let delay = wait(*attempt, asked, rand::random());
        let is_asked_for_too_long = asked.is_some_and(|asked| asked > MAX_RETRY_AFTER);
        if is_asked_for_too_long || Instant::now() + delay >= self.stop_at {
            return Err(asked.map_or(FetchError::Time, FetchError::Wait));
        }
        warn!(
            source = self.source.name,
            attempt,
            ?delay,
            reason,
            "a request is repeated"
        );
        sleep(delay).await;
        *attempt += 1;
        Ok(())
    }

    /// Reads a body as a whole. Returns why it failed, if the request may be repeated.
    async fn read(
        &self,
        received: Received,
        limit: u64,
    ) -> Result<Result<Vec<u8>, String>, FetchError> {
        let mut body = Vec::new();
        let mut chunks = received.body;
        loop {
            match timeout_at(self.stop_at, chunks.next()).await {
                Err(_) => return Err(FetchError::Time),
                Ok(Err(TransportError::Refused(refused))) => return Err(refused.into()),
                Ok(Err(TransportError::Unreached(reason) | TransportError::Failed(reason))) => {
                    return Ok(Err(self.secrets.remove_from(&reason)));
                }
                Ok(Ok(None)) => return Ok(Ok(body)),
                Ok(Ok(Some(chunk))) if (body.len() + chunk.len()) as u64 > limit => {
                    return Err(FetchError::TooLong(limit));
                }
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            }
        }
    }

    /// Returns the error of an answer that no retry helps against, with its start.
    async fn refused(&self, received: Received) -> FetchError {
        let mut start = Vec::new();
        let mut chunks = received.body;
        while start.len() < START_BYTES {
            match timeout_at(self.stop_at, chunks.next()).await {
                Ok(Ok(Some(chunk))) => start.extend_from_slice(&chunk),
                _ => break,
            }
        }
        FetchError::Answer {
            status: received.status,
            start: shown_answer(&start, self.secrets),
        }
    }
}
