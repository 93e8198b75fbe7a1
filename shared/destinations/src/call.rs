//! Calls, first with the names of secrets, then with the secrets.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use landfall_requests::{RevealError, Revealed, Secrets, header, insert_secret};
use url::Url;

use crate::Destination;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creates the key at the service.
    Create,
    /// Replaces what the service has of the key.
    Update,
    /// Deletes the key at the service.
    Delete,
    /// Looks up whether the service has the key.
    Lookup,
}

impl Operation {
    /// Returns its name in definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Lookup => "lookup",
        }
    }
}

/// A call that contains no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it does.
    pub operation: Operation,
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// The body, which is JSON.
    pub body: Option<Vec<u8>>,
    /// The same whenever the call is repeated, and of no other call.
    pub id: String,
}

impl Call {
    /// Returns the request with its secrets, signed at `now`.
    ///
    /// # Errors
    /// A secret is missing or unusable.
    pub fn reveal(
        &self,
        destination: &Destination,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<Revealed, RevealError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in &destination.headers {
            headers.insert(name, header(name, value, secrets)?);
        }
        if let Some(name) = &destination.idempotency_header
            && self.operation != Operation::Lookup
        {
            insert_secret(&mut headers, name.clone(), &self.id)?;
        }
        let mut request = Revealed {
            method: self.method.clone(),
            url: self.url.clone(),
            headers,
            body: self.body.clone(),
        };
        if let Some(signature) = &destination.signature {
            signature.apply(&mut request, &self.id, secrets, now)?;
        }
        Ok(request)
    }
}
