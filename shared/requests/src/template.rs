//! Texts with the names of secrets in them, and the secrets.

use std::collections::BTreeMap;
use std::fmt;

use landfall_domain::is_name;
use serde::{Deserialize, Serialize};

const START: &str = "{secret:";

/// A text in which `{secret:NAME}` stands for a secret. It is shown with the names, never with the secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Text(String),
    Secret(String),
}

impl Template {
    /// Parses the text of a setting.
    ///
    /// # Errors
    /// What is wrong with the name of a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once(START) {
            let (name, after) = from
                .split_once('}')
                .ok_or("a secret is not closed; write {secret:NAME}")?;
            if !is_name(name) {
                return Err(format!(
                    "{name:?} cannot be the name of a secret, which {}",
                    landfall_domain::NAME_RULE
                ));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Secret(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// Returns a text without secrets, whatever is in it. Values from outside must never be parsed: an API could
    /// otherwise have a secret sent back to it.
    pub fn literal(text: impl Into<String>) -> Self {
        Self(vec![Part::Text(text.into())])
    }

    /// Returns the names of the secrets in the text.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Secret(name) => Some(name.as_str()),
        })
    }

    /// Returns whether the text contains a secret.
    pub fn has_secrets(&self) -> bool {
        self.secrets().next().is_some()
    }

    /// Returns the text with the secrets.
    pub fn reveal(&self, secrets: &Secrets) -> Result<String, MissingSecret> {
        let mut text = String::new();
        for part in &self.0 {
            text += match part {
                Part::Text(part) => part,
                Part::Secret(name) => secrets.get(name)?,
            };
        }
        Ok(text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Text(text) => formatter.write_str(text)?,
                Part::Secret(name) => write!(formatter, "{START}{name}}}")?,
            }
        }
        Ok(())
    }
}

/// A definition names a secret that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no secret {0:?}")]
pub struct MissingSecret(pub String);

/// The secrets of all sources, by name.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    fn get(&self, name: &str) -> Result<&str, MissingSecret> {
        let secret = self.0.get(name).map(String::as_str);
        secret.ok_or_else(|| MissingSecret(name.to_owned()))
    }

    /// Returns a text in which names stand for the secrets, as they are and as they are written in URLs.
    pub fn remove_from(&self, text: &str) -> String {
        let mut forms: Vec<(String, &str)> = Vec::new();
        for (name, secret) in self.0.iter().filter(|(_, secret)| !secret.is_empty()) {
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            forms.extend([(secret.clone(), name.as_str()), (encoded, name.as_str())]);
        }
        // A secret can be a part of another one, but names are no longer looked at.
        forms.sort_by_key(|(form, _)| std::cmp::Reverse(form.len()));
        let (mut removed, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(next) = rest.chars().next() {
            let form = forms.iter().find(|(form, _)| rest.starts_with(form));
            if let Some((form, name)) = form {
                removed.extend([START, name, "}"]);
                rest = &rest[form.len()..];
            } else {
                removed.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        removed
    }
}

impl<N: Into<String>, S: Into<String>> FromIterator<(N, S)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (N, S)>>(secrets: I) -> Self {
        let secrets = secrets.into_iter();
        Self(
            secrets
                .map(|(name, secret)| (name.into(), secret.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_named_until_they_are_revealed() {
        let text = "Token {secret:shop_token}, {user} {secret:b}";
        let template = Template::parse(text).unwrap();
        assert_eq!(template.to_string(), text);
        assert_eq!(template.secrets().collect::<Vec<_>>(), ["shop_token", "b"]);
        let secrets = Secrets::from_iter([("shop_token", "s3"), ("b", "x")]);
        assert_eq!(template.reveal(&secrets).unwrap(), "Token s3, {user} x");
        let one = Secrets::from_iter([("b", "x")]);
        assert_eq!(
            template.reveal(&one),
            Err(MissingSecret("shop_token".into()))
        );
        assert_eq!(format!("{secrets:?}"), r#"{"b", "shop_token"}"#);
    }

    #[test]
    fn a_value_of_an_api_reveals_nothing() {
        let template = Template::literal("{secret:b}");
        assert!(!template.has_secrets());
        let secrets = Secrets::from_iter([("b", "x")]);
        assert_eq!(template.reveal(&secrets).unwrap(), "{secret:b}");
    }

    #[test]
    fn a_bad_name_of_a_secret_is_refused() {
        for text in ["{secret:}", "{secret:A}", "{secret:a", "x {secret:a b}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_are_removed_from_answers_in_both_forms() {
        let secrets = Secrets::from_iter([
            ("long", "ab cd"),
            ("short", "ab"),
            ("none", ""),
            ("part_of_names", "sh"),
        ]);
        let removed = secrets.remove_from("no ab cd, no ab+cd, no ab, but a");
        assert_eq!(
            removed,
            "no {secret:long}, no {secret:long}, no {secret:short}, but a"
        );
    }
}
