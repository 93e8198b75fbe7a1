//! Signatures of requests by HMAC.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderName;
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Sha256, Sha512};

use crate::{RevealError, Revealed, Secrets, Template, TimeFormat, insert_secret};

/// A signature by HMAC.
#[derive(Clone, Debug, PartialEq)]
pub struct Signing {
    /// The hash function.
    pub algorithm: Algorithm,
    /// The secret.
    pub secret: Template,
    /// Whether the secret is written as base64.
    pub base64_secret: bool,
    /// What is signed, with `{timestamp}`, `{method}`, `{path}`, `{query}` and `{body}`.
    pub content: String,
    /// The header that has the signature.
    pub header: HeaderName,
    /// Its value, with `{signature}` and `{timestamp}`.
    pub value: String,
    /// The header that has the time of the signature.
    pub timestamp_header: Option<HeaderName>,
    /// How the time is written.
    pub timestamp_format: TimeFormat,
    /// Whether the signature is written as base64 instead of hexadecimal digits.
    pub base64: bool,
}

/// The hash function of a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Signing {
    /// Adds the signature to a request.
    pub fn apply(
        &self,
        request: &mut Revealed,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<(), RevealError> {
        let timestamp = self.timestamp_format.write(now);
        let body = request.body.clone().unwrap_or_default();
        let content = expand(&self.content, |name| {
            Some(match name {
                "timestamp" => timestamp.as_bytes(),
                "method" => request.method.as_str().as_bytes(),
                "path" => request.url.path().as_bytes(),
                "query" => request.url.query().unwrap_or_default().as_bytes(),
                "body" => &body,
                _ => return None,
            })
        });
        let signature = self.sign(&content, secrets)?;
        let value = expand(&self.value, |name| match name {
            "signature" => Some(signature.as_bytes()),
            "timestamp" => Some(timestamp.as_bytes()),
            _ => None,
        });
        let value = String::from_utf8_lossy(&value);
        insert_secret(&mut request.headers, self.header.clone(), &value)?;
        match &self.timestamp_header {
            Some(name) => insert_secret(&mut request.headers, name.clone(), &timestamp),
            None => Ok(()),
        }
    }

    fn sign(&self, content: &[u8], secrets: &Secrets) -> Result<String, RevealError> {
        let secret = self.secret.reveal(secrets)?;
        let secret = if self.base64_secret {
            BASE64_STANDARD
                .decode(secret)
                .map_err(|_| RevealError::Encoding)?
        } else {
            secret.into_bytes()
        };
        let signature = match self.algorithm {
            Algorithm::Sha256 => digest::<Hmac<Sha256>>(&secret, content),
            Algorithm::Sha512 => digest::<Hmac<Sha512>>(&secret, content),
        };
        Ok(if self.base64 {
            BASE64_STANDARD.encode(signature)
        } else {
            hex::encode(signature)
        })
    }
}

/// Returns the names in braces in a text.
pub(crate) fn placeholders(text: &str) -> Vec<&str> {
    let parts = text.split('{').skip(1);
    parts
        .filter_map(|part| Some(part.split_once('}')?.0))
        .collect()
}

/// Replaces each name in braces that has a value. Values are not searched for further names.
fn expand<'v>(text: &str, value: impl Fn(&str) -> Option<&'v [u8]>) -> Vec<u8> {
    let mut expanded = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        expanded.extend_from_slice(&rest.as_bytes()[..start]);
        rest = &rest[start..];
        let found = rest[1..].split_once('}');
        if let Some((value, after)) = found.and_then(|(name, after)| Some((value(name)?, after))) {
            expanded.extend_from_slice(value);
            rest = after;
        } else {
            expanded.push(b'{');
            rest = &rest[1..];
        }
    }
    expanded.extend_from_slice(rest.as_bytes());
    expanded
}

fn digest<M: Mac + KeyInit>(secret: &[u8], content: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mac) = <M as KeyInit>::new_from_slice(secret) else {
        return Vec::new();
    };
    mac.chain_update(content).finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};
    use url::Url;

    use super::*;

    fn secrets() -> Secrets {
        Secrets::from_iter([("id", "client 1"), ("key", "Jefe"), ("base64", "SmVmZQ==")])
    }

    fn secret(name: &str) -> Template {
        Template::parse(&format!("{{secret:{name}}}")).unwrap()
    }

    fn signed(signing: &Signing) -> Result<HeaderMap, RevealError> {
        let mut request = Revealed {
            method: Method::POST,
            url: Url::parse("https://api.example.com/v1/orders?page=2").unwrap(),
            headers: HeaderMap::new(),
            body: Some(b"{timestamp}".to_vec()),
        };
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        signing.apply(&mut request, &secrets(), now)?;
        assert!(request.headers.values().all(HeaderValue::is_sensitive));
        Ok(request.headers)
    }

    #[test]
    fn requests_are_signed() {
        let mut signing = Signing {
            algorithm: Algorithm::Sha256,
            secret: secret("key"),
            base64_secret: false,
            content: "what do ya want for nothing?".into(),
            header: HeaderName::from_static("x-signature"),
            value: "t={timestamp},v1={signature}".into(),
            timestamp_header: Some(HeaderName::from_static("x-time")),
            timestamp_format: TimeFormat::Unix,
            base64: false,
        };
        // RFC 4231, test case 2.
        let of_text = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let first = signed(&signing).unwrap();
        assert_eq!(first["x-signature"], format!("t=1700000000,v1={of_text}"));
        assert_eq!(first["x-time"], "1700000000");
        (signing.secret, signing.base64_secret) = (secret("base64"), true);
        let same = signed(&signing).unwrap();
        assert_eq!(same["x-signature"], first["x-signature"]);
        signing.secret = secret("id");
        let refused = signed(&signing);
        assert!(matches!(refused, Err(RevealError::Encoding)));
    }

    #[test]
    fn what_is_signed_is_not_searched_again() {
        let body = b"{timestamp}{";
        let expanded = expand("{a}{b}{body}{", |name| {
            (name == "body").then_some(body.as_slice())
        });
        assert_eq!(expanded, b"{a}{b}{timestamp}{{");
        assert_eq!(placeholders("{a} {b c} {"), ["a", "b c"]);
    }
}
