//! How calls are signed.

use landfall_domain::{DefinitionText, InvalidDefinition};
use landfall_requests::{
    Algorithm, Encoding, SigningSettings, Template, TimeFormat, header_name, secret,
};
use serde::Deserialize;
use toml::Spanned;

use crate::signature::Signature;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSignature {
    kind: Spanned<RawKind>,
    secret: Spanned<String>,
    old_secret: Option<Spanned<String>>,
    header: Option<Spanned<String>>,
    value: Option<Spanned<String>>,
    content: Option<Spanned<String>>,
    secret_encoding: Option<Spanned<Encoding>>,
    algorithm: Option<Spanned<Algorithm>>,
    encoding: Option<Spanned<Encoding>>,
    timestamp_header: Option<Spanned<String>>,
    timestamp_format: Option<Spanned<TimeFormat>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    StandardWebhooks,
    Hmac,
}

pub(super) fn check(
    text: &DefinitionText<'_>,
    raw: &Spanned<RawSignature>,
) -> Result<Signature, InvalidDefinition> {
    let (span, raw) = (raw.span(), raw.get_ref());
    let new = text.check("signature.secret", &raw.secret, |raw| secret(raw))?;
    let old = text.check_optional("signature.old_secret", raw.old_secret.as_ref(), |raw| {
        secret(raw)
    })?;
    match raw.kind.get_ref() {
        RawKind::StandardWebhooks => {
            check_unused(text, raw)?;
            let secrets: Vec<Template> = [Some(new), old].into_iter().flatten().collect();
            Ok(Signature::StandardWebhooks(secrets))
        }
        RawKind::Hmac => {
            if let Some(old) = &raw.old_secret {
                let message = "is a setting of kind = \"standard_webhooks\": a signature by HMAC has one secret";
                return Err(text.error(&old.span(), "signature.old_secret", message));
            }
            let header = text
                .check_optional("signature.header", raw.header.as_ref(), |name| {
                    header_name(name)
                })?
                .ok_or_else(|| text.error(&span, "signature.header", "is missing"))?;
            let body = Spanned::new(span, "{body}".to_owned());
            let settings = SigningSettings {
                table: "signature",
                secret: new,
                secret_encoding: raw.secret_encoding.as_ref(),
                algorithm: raw.algorithm.as_ref(),
                content: Some(raw.content.as_ref().unwrap_or(&body)),
                header,
                value: raw.value.as_ref(),
                encoding: raw.encoding.as_ref(),
                timestamp_header: raw.timestamp_header.as_ref(),
                timestamp_format: raw.timestamp_format.as_ref(),
            };
            Ok(Signature::Hmac(settings.check(text)?))
        }
    }
}

/// Refuses the settings of HMAC, which Standard Webhooks prescribes.
fn check_unused(text: &DefinitionText<'_>, raw: &RawSignature) -> Result<(), InvalidDefinition> {
    let given = [
        ("header", raw.header.as_ref().map(Spanned::span)),
        ("value", raw.value.as_ref().map(Spanned::span)),
        ("content", raw.content.as_ref().map(Spanned::span)),
        (
            "secret_encoding",
            raw.secret_encoding.as_ref().map(Spanned::span),
        ),
        ("algorithm", raw.algorithm.as_ref().map(Spanned::span)),
        ("encoding", raw.encoding.as_ref().map(Spanned::span)),
        (
            "timestamp_header",
            raw.timestamp_header.as_ref().map(Spanned::span),
        ),
        (
            "timestamp_format",
            raw.timestamp_format.as_ref().map(Spanned::span),
        ),
    ];
    let first = given
        .into_iter()
        .find_map(|(name, span)| Some((name, span?)));
    match first {
        None => Ok(()),
        Some((name, span)) => Err(text.error(
            &span,
            &format!("signature.{name}"),
            "is a setting of kind = \"hmac\"; Standard Webhooks prescribes it",
        )),
    }
}
