use std::collections::BTreeSet;
use std::fmt;

use landfall_domain::is_name;
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::grant::{Access, Grant, Scope};
use crate::token::{Token, digest, is_token};

/// The maximum number of tokens in a list. Each request is compared with all of them.
pub const MAX_TOKENS: usize = 200;
/// The maximum number of datasets of a token that does not give access to all.
pub const MAX_DATASETS: usize = 100;

/// The list of valid tokens as stored in the secret: names, hashes and permissions.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenList {
    tokens: Vec<Entry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(with = "hex_digits")]
    sha256: [u8; 32],
    scopes: BTreeSet<Scope>,
    datasets: Access,
}

/// Why a list of tokens, or a token to add, is invalid. Contains neither tokens nor hashes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ListError {
    /// The text is not a list of tokens.
    #[error(
        "not a list of tokens like \
        {{\"tokens\":[{{\"name\":\"…\",\"sha256\":\"…\",\"scopes\":[\"read\"],\"datasets\":\"all\"}}]}}"
    )]
    Shape,
    /// The name of a token is invalid.
    #[error(
        "{0:?} cannot be the name of a token: it must start with a letter a-z and contain only a-z, 0-9 and _, at \
        most 48 characters"
    )]
    Name(String),
    /// Two tokens have the same name.
    #[error("a token named {0} already exists: remove it, or choose another name")]
    Taken(String),
    /// The token has no scope.
    #[error("the token {0} has no scope: add read, write or admin")]
    NoScope(String),
    /// A text cannot be the name of a dataset.
    #[error("{0:?} cannot be the name of a dataset: use names of definitions, or all")]
    Dataset(String),
    /// A limit is exceeded.
    #[error("there are more than {most} {what}: remove some")]
    Many {
        /// The limit.
        most: usize,
        /// What is limited.
        what: &'static str,
    },
}

impl TokenList {
    /// Parses the text of a secret. An empty text or an empty object is an empty list.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        if matches!(text.trim(), "" | "{}") {
            return Ok(Self::default());
        }
        let parsed: Self = serde_json::from_str(text).map_err(|_| ListError::Shape)?;
        let mut list = Self::default();
        for entry in parsed.tokens {
            list.push(entry)?;
        }
        Ok(list)
    }

    /// Returns the text for the secret.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Adds a token.
    pub fn add(
        &mut self,
        name: &str,
        token: &Token,
        scopes: BTreeSet<Scope>,
        datasets: Access,
    ) -> Result<(), ListError> {
        self.push(Entry {
            name: name.to_owned(),
            sha256: digest(token.reveal()),
            scopes,
            datasets,
        })
    }

    /// Removes the token with this name, and returns whether it existed.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.tokens.len();
        self.tokens.retain(|entry| entry.name != name);
        self.tokens.len() < before
    }

    /// Returns the permissions of all tokens, in the order of the list.
    pub fn grants(&self) -> impl Iterator<Item = Grant> {
        self.tokens.iter().map(Entry::grant)
    }

    /// Returns the permissions of the bearer of a token, or `None` if it is not on the list.
    pub fn check(&self, token: &str) -> Option<Grant> {
        if !is_token(token) {
            return None;
        }
        let digest = digest(token);
        // Compares with all of them, so that the time does not depend on the result.
        let mut found = u64::MAX;
        for (index, entry) in (0_u64..).zip(&self.tokens) {
            let is_equal: Choice = entry.sha256.ct_eq(&digest);
            found.conditional_assign(&index, is_equal);
        }
        let index = usize::try_from(found).ok()?;
        self.tokens.get(index).map(Entry::grant)
    }

    fn push(&mut self, entry: Entry) -> Result<(), ListError> {
        if !is_name(&entry.name) {
            return Err(ListError::Name(entry.name));
        }
        if entry.scopes.is_empty() {
            return Err(ListError::NoScope(entry.name));
        }
        if let Access::Only(names) = &entry.datasets {
            if let Some(invalid) = names.iter().find(|name| !is_name(name)) {
                return Err(ListError::Dataset(invalid.clone()));
            }
            if names.len() > MAX_DATASETS {
                return Err(ListError::Many {
                    most: MAX_DATASETS,
                    what: "datasets of a token",
                });
            }
        }
        if self.tokens.iter().any(|other| other.name == entry.name) {
            return Err(ListError::Taken(entry.name));
        }
        if self.tokens.len() >= MAX_TOKENS {
            return Err(ListError::Many {
                most: MAX_TOKENS,
                what: "tokens",
            });
        }
        self.tokens.push(entry);
        Ok(())
    }
}

impl Entry {
    fn grant(&self) -> Grant {
        Grant {
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            datasets: self.datasets.clone(),
        }
    }
}

impl fmt::Debug for TokenList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.grants()).finish()
    }
}

mod hex_digits {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        bytes: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let mut bytes = [0; 32];
        let text = String::deserialize(deserializer)?;
        hex::decode_to_slice(text, &mut bytes).map_err(D::Error::custom)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(names: &[&str]) -> Access {
        Access::Only(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// Returns a list with one token.
    fn list(scope: Scope, datasets: Access) -> (TokenList, Token) {
        let (mut list, token) = (TokenList::default(), Token::random());
        list.add("t", &token, [scope].into(), datasets).unwrap();
        (list, token)
    }

    #[test]
    fn a_token_has_its_own_permissions_only() {
        let (mut list, reader) = list(Scope::Read, only(&["orders"]));
        let writer = Token::random();
        list.add("writer", &writer, [Scope::Write].into(), Access::All)
            .unwrap();
        let list = TokenList::parse(&list.to_text().unwrap()).unwrap();

        let grant = list.check(reader.reveal()).unwrap();
        assert_eq!(grant.name, "t");
        assert!(grant.allows(Scope::Read, Some("orders")));
        assert!(!grant.allows(Scope::Read, Some("products")));
        assert!(!grant.allows(Scope::Read, None));
        assert!(!grant.allows(Scope::Write, Some("orders")));
        let grant = list.check(writer.reveal()).unwrap();
        assert!(grant.allows(Scope::Write, Some("products")));
        assert!(!grant.allows(Scope::Read, Some("products")));
    }

    #[test]
    fn admin_includes_the_other_scopes_for_its_datasets() {
        let (list, token) = list(Scope::Admin, only(&["orders"]));
        let grant = list.check(token.reveal()).unwrap();
        assert!(grant.allows(Scope::Write, Some("orders")));
        assert!(!grant.allows(Scope::Read, Some("products")));
    }

    #[test]
    fn a_token_that_is_not_on_the_list_is_refused() {
        let (mut list, token) = list(Scope::Read, Access::All);
        for wrong in [
            Token::random().reveal(),
            "",
            "lf_",
            &token.reveal()[3..],
            &token.reveal().to_uppercase(),
            &format!("{} ", token.reveal()),
        ] {
            assert_eq!(list.check(wrong), None, "{wrong}");
        }
        assert!(list.remove("t"));
        assert!(!list.remove("t"));
        assert_eq!(list.check(token.reveal()), None);
    }

    #[test]
    fn debug_output_contains_neither_tokens_nor_hashes() {
        let (list, token) = list(Scope::Read, Access::All);
        let text = list.to_text().unwrap();
        assert!(!text.contains(token.reveal()));
        let hash = text.split('"').find(|part| part.len() == 64).unwrap();
        let shown = format!("{list:?} {token:?}");
        assert!(shown.contains("\"t\""), "{shown}");
        assert!(!shown.contains(hash) && !shown.contains(token.reveal()));
    }

    #[test]
    fn an_invalid_list_is_refused() {
        let entry = |name: &str, hash: &str, scopes: &str, datasets: &str| {
            format!(
                r#"{{"tokens":[{{"name":"{name}","sha256":"{hash}","scopes":{scopes},"datasets":{datasets}}}]}}"#
            )
        };
        let hash = "0".repeat(64);
        assert!(TokenList::parse("").is_ok());
        assert!(TokenList::parse("{}").is_ok());
        assert!(TokenList::parse(&entry("a", &hash, r#"["read"]"#, r#"["b"]"#)).is_ok());
        for wrong in [
            "[]".to_owned(),
            entry("A", &hash, r#"["read"]"#, r#""all""#),
            entry("a", "00", r#"["read"]"#, r#""all""#),
            entry("a", &hash, "[]", r#""all""#),
            entry("a", &hash, r#"["root"]"#, r#""all""#),
            entry("a", &hash, r#"["read"]"#, r#""some""#),
            entry("a", &hash, r#"["read"]"#, r#"["a/b"]"#),
        ] {
            assert!(TokenList::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
