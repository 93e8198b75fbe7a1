//! Requests with their secrets.

use std::fmt;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use crate::{MissingSecret, Secrets, Template};

/// A request as it is sent. Its output for debugging is empty, because it contains secrets.
pub struct Revealed {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// All headers other than those of the connection.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Vec<u8>>,
}

/// Why a request cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum RevealError {
    /// A secret does not exist.
    #[error(transparent)]
    Missing(#[from] MissingSecret),
    /// A header would contain line breaks or other control characters.
    #[error("the value of the header {0} contains characters that headers cannot have")]
    Header(HeaderName),
    /// A secret is not written as the definition says.
    #[error("the secret of the signature is not base64")]
    Encoding,
}

impl Revealed {
    /// Prepares the request for the target of a redirect. At another server, it has neither headers with secrets nor
    /// those of the definition.
    pub fn redirect(&mut self, to: Url) {
        if to.origin() != self.url.origin() {
            let accept = self.headers.remove(ACCEPT);
            self.headers.clear();
            self.headers.extend(accept.map(|accept| (ACCEPT, accept)));
        }
        self.url = to;
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Revealed").finish_non_exhaustive()
    }
}

/// Returns the value of a header, which logs do not show if it contains a secret.
pub fn header(
    name: &HeaderName,
    value: &Template,
    secrets: &Secrets,
) -> Result<HeaderValue, RevealError> {
    let revealed = value.reveal(secrets)?;
    let mut revealed =
        HeaderValue::from_str(&revealed).map_err(|_| RevealError::Header(name.clone()))?;
    revealed.set_sensitive(value.has_secrets());
    Ok(revealed)
}

/// Adds a header that logs do not show.
pub fn insert_secret(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: &str,
) -> Result<(), RevealError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| RevealError::Header(name.clone()))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// Returns the start of an answer for people: on one line, and without secrets.
pub fn shown_answer(body: &[u8], secrets: &Secrets) -> String {
    const MAX_CHARS: usize = 300;
    // A secret that is cut at the end would not be recognized, so that they are removed first.
    let text = secrets.remove_from(&String::from_utf8_lossy(body));
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(MAX_CHARS) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
