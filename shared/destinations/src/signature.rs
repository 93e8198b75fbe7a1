//! Signatures of calls.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderName;
use jiff::Timestamp;
use landfall_requests::{
    RevealError, Revealed, Secrets, Signing, Template, TimeFormat, insert_secret,
};
use sha2::Sha256;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// The headers of a signature of Standard Webhooks.
pub(crate) const HEADERS: [HeaderName; 3] = [ID, TIMESTAMP, SIGNATURE];
/// What secrets of Standard Webhooks start with.
const PREFIX: &str = "whsec_";

/// How calls are signed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Signature {
    /// As Standard Webhooks 1.0 says, with one or, while they are rotated, two secrets.
    StandardWebhooks(Vec<Template>),
    /// By HMAC.
    Hmac(Signing),
}

impl Signature {
    pub(crate) fn secrets(&self) -> Vec<&Template> {
        match self {
            Self::StandardWebhooks(secrets) => secrets.iter().collect(),
            Self::Hmac(signing) => vec![&signing.secret],
        }
    }

    /// Adds the signature to a call. `id` is the same whenever the call is repeated.
    pub(crate) fn apply(
        &self,
        request: &mut Revealed,
        id: &str,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<(), RevealError> {
        let templates = match self {
            Self::Hmac(signing) => return signing.apply(request, secrets, now),
            Self::StandardWebhooks(templates) => templates,
        };
        let timestamp = TimeFormat::Unix.write(now);
        let mut signatures = Vec::new();
        for template in templates {
            let secret = template.reveal(secrets)?;
            let key = BASE64_STANDARD
                .decode(secret.strip_prefix(PREFIX).unwrap_or(&secret))
                .map_err(|_| RevealError::Encoding)?;
            // HMAC takes keys of any length.
            let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| RevealError::Encoding)?;
            let signed = mac
                .chain_update(id)
                .chain_update(".")
                .chain_update(&timestamp)
                .chain_update(".")
                .chain_update(request.body.as_deref().unwrap_or_default())
                .finalize();
            signatures.push(format!(
                "v1,{}",
                BASE64_STANDARD.encode(signed.into_bytes())
            ));
        }
        let headers = &mut request.headers;
        insert_secret(headers, ID, id)?;
        insert_secret(headers, TIMESTAMP, &timestamp)?;
        insert_secret(headers, SIGNATURE, &signatures.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use url::Url;

    use super::*;

    /// The example of the specification of Standard Webhooks.
    #[test]
    fn standard_webhooks_are_signed_with_every_secret() {
        let secret = |name: &str| Template::parse(&format!("{{secret:{name}}}")).unwrap();
        let signature = Signature::StandardWebhooks(vec![secret("new"), secret("old")]);
        let secrets = Secrets::from_iter([
            ("new", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            ("old", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ]);
        let mut request = Revealed {
            method: Method::POST,
            url: Url::parse("https://a.example/").unwrap(),
            headers: HeaderMap::new(),
            body: Some(br#"{"test": 2432232314}"#.to_vec()),
        };
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        signature.apply(&mut request, id, &secrets, now).unwrap();
        assert_eq!(request.headers["webhook-id"], id);
        assert_eq!(request.headers["webhook-timestamp"], "1614265330");
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(
            request.headers["webhook-signature"],
            format!("{expected} {expected}")
        );
        let bad = Secrets::from_iter([("new", "!"), ("old", "")]);
        let refused = signature.apply(&mut request, id, &bad, now);
        assert!(matches!(refused, Err(RevealError::Encoding)));
    }
}
