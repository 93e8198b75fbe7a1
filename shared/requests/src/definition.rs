//! Settings that several kinds of definitions have.

use std::collections::BTreeMap;

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use landfall_domain::{DefinitionText, InvalidDefinition};
use toml::Spanned;
use url::Url;

use crate::Template;

/// A table of texts, such as `[headers]`.
pub type RawPairs = BTreeMap<String, Spanned<toml::Value>>;

/// Returns the URL of a definition: that of a web server, without secrets.
pub fn definition_url(text: &str) -> Result<Url, String> {
    if text.contains("{secret:") {
        return Err(
            "must not contain a secret, because URLs are logged; use [query], [headers] or [auth]"
                .to_owned(),
        );
    }
    web_url(text)
}

/// Returns the headers of a table. `refused` returns why a header cannot be in it.
pub fn headers(
    text: &DefinitionText<'_>,
    raw: &RawPairs,
    refused: impl Fn(&HeaderName) -> Option<&'static str>,
) -> Result<Vec<(HeaderName, Template)>, InvalidDefinition> {
    let headers = raw.iter().map(|(name, value)| {
        let setting = format!("headers.{name}");
        text.check(&setting, value, |value| {
            let name = header_name(name)?;
            match refused(&name) {
                Some(reason) => Err(reason.to_owned()),
                None => Ok((name, template(value)?)),
            }
        })
    });
    headers.collect()
}

/// Returns the name of a header that is not one of the connection's.
pub fn header_name(name: &str) -> Result<HeaderName, String> {
    let of_connection = [
        HOST,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        CONNECTION,
        UPGRADE,
        TE,
    ];
    let parsed: HeaderName = name
        .parse()
        .map_err(|_| format!("{name:?} is not the name of a header"))?;
    if of_connection.contains(&parsed) {
        return Err(format!("{name} is set by the connection"));
    }
    Ok(parsed)
}

/// Returns the text of a setting that may also be a number or a boolean.
pub fn template(value: &toml::Value) -> Result<Template, String> {
    match value {
        toml::Value::String(text) => Template::parse(text),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => Ok(Template::literal(value.to_string())),
        toml::Value::Array(_) | toml::Value::Table(_) => {
            Err("must be a text, a number or a boolean".to_owned())
        }
    }
}

/// Returns an absolute URL of a web server, without credentials and fragment.
pub fn web_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must start with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain credentials; use [auth] with {secret:NAME}".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not contain a fragment (#)".to_owned());
    }
    Ok(url)
}

/// Checks a number of requests per second.
pub fn per_second(rate: f64) -> Result<f64, &'static str> {
    let is_valid = (0.001..=10_000.0).contains(&rate);
    is_valid
        .then_some(rate)
        .ok_or("must be from 0.001 to 10000")
}

/// Returns the text of a setting that must contain a secret.
pub fn secret(text: &str) -> Result<Template, String> {
    let template = Template::parse(text)?;
    let message =
        "must be the name of a secret, {secret:NAME}: definitions are no place for secrets";
    template
        .has_secrets()
        .then_some(template)
        .ok_or_else(|| message.to_owned())
}
