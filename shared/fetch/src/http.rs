use std::collections::HashMap;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use http::header::ACCEPT_ENCODING;
use landfall_sources::{Policy, Refused, Revealed};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;

use crate::unpack::unpacked;
use crate::{Chunks, Received, Transport, TransportError};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_mins(1);
const AGENT: &str = concat!("landfall/", env!("CARGO_PKG_VERSION"));

/// Sends requests over the network.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
}

impl HttpTransport {
    /// Returns a transport that reaches only addresses which the policy allows.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(policy: Policy) -> Result<Self, reqwest::Error> {
        let resolver = Resolver {
            policy,
            resolved: Arc::default(),
        };
        let client = reqwest::Client::builder()
            .user_agent(AGENT)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            // Redirects are followed by the session, which checks them.
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(resolver))
            .no_proxy()
            .build()?;
        Ok(Self { client })
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: &Revealed) -> Result<Received, TransportError> {
        let mut headers = request.headers.clone();
        // The only encoding that is read. A server that ignores this makes the request fail.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let mut builder = self
            .client
            .request(request.method.clone(), request.url.clone())
            .headers(headers);
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let response = builder.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Received {
            status,
            body: unpacked(&headers, Box::new(Body(response)))?,
            headers,
        })
    }
}

struct Body(reqwest::Response);

#[async_trait]
impl Chunks for Body {
    async fn next(&mut self) -> Result<Option<Bytes>, TransportError> {
        self.0.chunk().await.map_err(failed)
    }
}

/// Returns the error with all its causes, and without the URL, which can contain secrets.
fn failed(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let is_unreached = error.is_connect();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return refused.clone().into();
        }
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if is_unreached {
        TransportError::Unreached(text)
    } else {
        TransportError::Failed(text)
    }
}

/// Resolves the names of hosts, checks the addresses, and keeps them: what a name resolves to later is not checked.
#[derive(Debug)]
struct Resolver {
    policy: Policy,
    resolved: Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let kept = |host: &str| {
            let resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
            resolved.get(host).cloned()
        };
        if let Some(addresses) = kept(&host) {
            return Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) });
        }
        let (policy, resolved) = (self.policy.clone(), Arc::clone(&self.resolved));
        Box::pin(async move {
            // The port of the URL replaces this one.
            let addresses: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            check(&policy, &host, addresses.iter().map(SocketAddr::ip))?;
            let mut resolved = resolved.lock().unwrap_or_else(PoisonError::into_inner);
            resolved.insert(host, addresses.clone());
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn check(
    policy: &Policy,
    host: &str,
    mut addresses: impl Iterator<Item = IpAddr>,
) -> Result<(), Refused> {
    addresses.try_for_each(|address| policy.check_address(host, address))
}
