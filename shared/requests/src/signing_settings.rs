//! The settings of a signature.

use http::HeaderName;
use landfall_domain::{DefinitionText, InvalidDefinition};
use serde::Deserialize;
use toml::Spanned;

use crate::signing::placeholders;
use crate::{Algorithm, Signing, Template, TimeFormat, header_name};

/// How a secret or a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is.
    Text,
    /// As hexadecimal digits.
    Hex,
    /// As base64.
    Base64,
}

/// The settings of a signature as a definition has them.
pub struct SigningSettings<'a> {
    /// The table that has them, for errors.
    pub table: &'a str,
    /// The secret.
    pub secret: Template,
    /// How the secret is written.
    pub secret_encoding: Option<&'a Spanned<Encoding>>,
    /// The hash function.
    pub algorithm: Option<&'a Spanned<Algorithm>>,
    /// What is signed.
    pub content: Option<&'a Spanned<String>>,
    /// The header that has the signature.
    pub header: HeaderName,
    /// Its value.
    pub value: Option<&'a Spanned<String>>,
    /// How the signature is written.
    pub encoding: Option<&'a Spanned<Encoding>>,
    /// The header that has the time of the signature.
    pub timestamp_header: Option<&'a Spanned<String>>,
    /// How the time is written.
    pub timestamp_format: Option<&'a Spanned<TimeFormat>>,
}

impl SigningSettings<'_> {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn check(self, text: &DefinitionText<'_>) -> Result<Signing, InvalidDefinition> {
        let setting = |name: &str| format!("{}.{name}", self.table);
        let names = |name: &str, raw: Option<&Spanned<String>>, known: &[&str]| {
            text.check_optional(&setting(name), raw, |text| {
                match placeholders(text)
                    .into_iter()
                    .find(|name| !known.contains(name))
                {
                    Some(name) => Err(format!("{{{name}}} is none of {{{}}}", known.join("}, {"))),
                    None => Ok(text.clone()),
                }
            })
        };
        let is_base64 = |name: &str, raw: Option<&Spanned<Encoding>>, other: Encoding| {
            let encoding =
                text.check_optional(&setting(name), raw, |encoding| match *encoding {
                    Encoding::Base64 => Ok(true),
                    encoding if encoding == other => Ok(false),
                    _ => Err(match other {
                        Encoding::Text => "must be \"text\" or \"base64\"",
                        _ => "must be \"hex\" or \"base64\"",
                    }),
                })?;
            Ok(encoding.unwrap_or(false))
        };
        let content = ["timestamp", "method", "path", "query", "body"];
        let value = names("value", self.value, &["signature", "timestamp"])?;
        Ok(Signing {
            algorithm: self
                .algorithm
                .map_or_else(Algorithm::default, |algorithm| *algorithm.get_ref()),
            base64_secret: is_base64("secret_encoding", self.secret_encoding, Encoding::Text)?,
            content: names("content", self.content, &content)?.unwrap_or_default(),
            value: value.unwrap_or_else(|| "{signature}".to_owned()),
            timestamp_header: text.check_optional(
                &setting("timestamp_header"),
                self.timestamp_header,
                |name| header_name(name),
            )?,
            timestamp_format: self
                .timestamp_format
                .map_or(TimeFormat::Unix, |format| *format.get_ref()),
            base64: is_base64("encoding", self.encoding, Encoding::Hex)?,
            secret: self.secret,
            header: self.header,
        })
    }
}
