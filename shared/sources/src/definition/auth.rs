//! How a source proves who it is.

use landfall_domain::{DefinitionText, InvalidDefinition};
use landfall_requests::{
    Algorithm, Encoding, SigningSettings, Template, TimeFormat, header_name, web_url,
};
use serde::Deserialize;
use toml::Spanned;

use crate::auth::{Auth, ClientCredentials};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuth {
    kind: Spanned<RawKind>,
    token: Option<Spanned<String>>,
    user: Option<Spanned<String>>,
    password: Option<Spanned<String>>,
    header: Option<Spanned<String>>,
    value: Option<Spanned<String>>,
    token_url: Option<Spanned<String>>,
    client_id: Option<Spanned<String>>,
    client_secret: Option<Spanned<String>>,
    scope: Option<Spanned<String>>,
    audience: Option<Spanned<String>>,
    credentials: Option<Spanned<RawCredentials>>,
    secret: Option<Spanned<String>>,
    secret_encoding: Option<Spanned<Encoding>>,
    algorithm: Option<Spanned<Algorithm>>,
    content: Option<Spanned<String>>,
    encoding: Option<Spanned<Encoding>>,
    timestamp_header: Option<Spanned<String>>,
    timestamp_format: Option<Spanned<TimeFormat>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    Bearer,
    Basic,
    Header,
    OAuth2,
    Hmac,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawCredentials {
    Header,
    Body,
}

impl RawKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Header => "header",
            Self::OAuth2 => "oauth2",
            Self::Hmac => "hmac",
        }
    }

    /// Returns the settings that this kind needs, and those that it can have.
    fn settings(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Bearer => (&["token"], &[]),
            Self::Basic => (&["user", "password"], &[]),
            Self::Header => (&["header", "value"], &[]),
            Self::OAuth2 => (
                &["token_url", "client_id", "client_secret"],
                &["scope", "audience", "credentials"],
            ),
            Self::Hmac => (
                &["secret", "content", "header"],
                &[
                    "secret_encoding",
                    "algorithm",
                    "value",
                    "encoding",
                    "timestamp_header",
                    "timestamp_format",
                ],
            ),
        }
    }
}

pub(super) fn check(
    text: &DefinitionText<'_>,
    raw: &Spanned<RawAuth>,
) -> Result<Auth, InvalidDefinition> {
    let (span, raw) = (raw.span(), raw.get_ref());
    let kind = *raw.kind.get_ref();
    check_settings(text, &span, raw, kind)?;
    let template = |setting: &str, raw: Option<&Spanned<String>>| {
        let template =
            text.check_optional(&format!("auth.{setting}"), raw, |raw| Template::parse(raw))?;
        Ok(template.unwrap_or_default())
    };
    let secret = |setting: &str, raw: Option<&Spanned<String>>| {
        let secret = text.check_optional(&format!("auth.{setting}"), raw, |raw| {
            landfall_requests::secret(raw)
        })?;
        Ok(secret.unwrap_or_default())
    };
    let header = || {
        let name =
            text.check_optional("auth.header", raw.header.as_ref(), |name| header_name(name))?;
        name.ok_or_else(|| text.error(&span, "auth.header", "is missing"))
    };
    Ok(match kind {
        RawKind::Bearer => Auth::Bearer(secret("token", raw.token.as_ref())?),
        RawKind::Basic => Auth::Basic(
            template("user", raw.user.as_ref())?,
            secret("password", raw.password.as_ref())?,
        ),
        RawKind::Header => Auth::Header(header()?, secret("value", raw.value.as_ref())?),
        RawKind::OAuth2 => Auth::ClientCredentials(ClientCredentials {
            token_url: text
                .check_optional("auth.token_url", raw.token_url.as_ref(), |url| web_url(url))?
                .ok_or_else(|| text.error(&span, "auth.token_url", "is missing"))?,
            client_id: template("client_id", raw.client_id.as_ref())?,
            client_secret: secret("client_secret", raw.client_secret.as_ref())?,
            scope: raw.scope.as_ref().map(|scope| scope.get_ref().clone()),
            audience: raw
                .audience
                .as_ref()
                .map(|audience| audience.get_ref().clone()),
            in_body: raw
                .credentials
                .as_ref()
                .is_some_and(|place| *place.get_ref() == RawCredentials::Body),
        }),
        RawKind::Hmac => {
            let settings = SigningSettings {
                table: "auth",
                secret: secret("secret", raw.secret.as_ref())?,
                secret_encoding: raw.secret_encoding.as_ref(),
                algorithm: raw.algorithm.as_ref(),
                content: raw.content.as_ref(),
                header: header()?,
                value: raw.value.as_ref(),
                encoding: raw.encoding.as_ref(),
                timestamp_header: raw.timestamp_header.as_ref(),
                timestamp_format: raw.timestamp_format.as_ref(),
            };
            Auth::Hmac(settings.check(text)?)
        }
    })
}

fn check_settings(
    text: &DefinitionText<'_>,
    span: &std::ops::Range<usize>,
    raw: &RawAuth,
    kind: RawKind,
) -> Result<(), InvalidDefinition> {
    fn span_of<T>(setting: Option<&Spanned<T>>) -> Option<std::ops::Range<usize>> {
        setting.map(Spanned::span)
    }
    let given = [
        ("token", span_of(raw.token.as_ref())),
        ("user", span_of(raw.user.as_ref())),
        ("password", span_of(raw.password.as_ref())),
        ("header", span_of(raw.header.as_ref())),
        ("value", span_of(raw.value.as_ref())),
        ("token_url", span_of(raw.token_url.as_ref())),
        ("client_id", span_of(raw.client_id.as_ref())),
        ("client_secret", span_of(raw.client_secret.as_ref())),
        ("scope", span_of(raw.scope.as_ref())),
        ("audience", span_of(raw.audience.as_ref())),
        ("credentials", span_of(raw.credentials.as_ref())),
        ("secret", span_of(raw.secret.as_ref())),
        ("secret_encoding", span_of(raw.secret_encoding.as_ref())),
        ("algorithm", span_of(raw.algorithm.as_ref())),
        ("content", span_of(raw.content.as_ref())),
        ("encoding", span_of(raw.encoding.as_ref())),
        ("timestamp_header", span_of(raw.timestamp_header.as_ref())),
        ("timestamp_format", span_of(raw.timestamp_format.as_ref())),
    ];
    let (needed, possible) = kind.settings();
    for (name, setting) in given {
        let message = match setting {
            None if needed.contains(&name) => {
                format!("is missing; kind = {:?} needs it", kind.as_str())
            }
            Some(_) if !needed.contains(&name) && !possible.contains(&name) => {
                let all = [needed, possible].concat().join(", ");
                format!("is no setting of kind = {:?}, only {all}", kind.as_str())
            }
            _ => continue,
        };
        let span = setting.unwrap_or_else(|| span.clone());
        return Err(text.error(&span, &format!("auth.{name}"), message));
    }
    Ok(())
}
