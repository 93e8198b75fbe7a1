//! Tokens of the HTTP API and the WebSocket API, stored as hashes in a secret.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use landfall_auth::{Access, Scope, Token, TokenList};
use landfall_aws::{AwsError, Secret};

/// How often a change is attempted while other commands change the tokens.
const ATTEMPTS: usize = 20;

/// A text that is replaced only by a change of its latest version.
pub(crate) trait Versioned {
    /// Reads the text and its version.
    async fn read(&self) -> Result<(String, String), AwsError>;
    /// Replaces the text if this is still its version. Returns whether it was.
    async fn replace(&self, version: &str, text: &str) -> Result<bool, AwsError>;
}

impl Versioned for Secret {
    async fn read(&self) -> Result<(String, String), AwsError> {
        self.read_version().await
    }

    async fn replace(&self, version: &str, text: &str) -> Result<bool, AwsError> {
        Self::replace(self, version, text).await
    }
}

/// The secret that contains the tokens.
pub(crate) struct Store<S>(S);

impl Store<Secret> {
    /// Opens the secret with this name or ARN.
    pub(crate) async fn open(id: &str) -> Self {
        Self(Secret::new(&landfall_aws::connect().await, id))
    }
}

impl<S: Versioned> Store<S> {
    /// Creates a token. `datasets` contains names, or only the word `all`.
    pub(crate) async fn add(
        &self,
        name: &str,
        scopes: BTreeSet<Scope>,
        datasets: &[String],
    ) -> Result<Token> {
        let datasets = access(datasets)?;
        let token = Token::random();
        self.change(|list| Ok(list.add(name, &token, scopes.clone(), datasets.clone())?))
            .await?;
        Ok(token)
    }

    /// Removes the token with this name.
    pub(crate) async fn remove(&self, name: &str) -> Result<()> {
        self.change(|list| {
            ensure!(
                list.remove(name),
                "no token is named {name:?}: run tokens list"
            );
            Ok(())
        })
        .await
    }

    /// Returns all tokens.
    pub(crate) async fn read(&self) -> Result<TokenList> {
        parse(&self.0.read().await?.0)
    }

    /// Changes the list. Repeats the change if another command has changed the list meanwhile.
    async fn change(&self, change: impl Fn(&mut TokenList) -> Result<()>) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let (text, version) = self.0.read().await?;
            let mut list = parse(&text)?;
            change(&mut list)?;
            let text = list.to_text().context("cannot serialize the tokens")?;
            if self.0.replace(&version, &text).await? {
                return Ok(());
            }
        }
        bail!("other commands keep changing the tokens: try again")
    }
}

fn parse(text: &str) -> Result<TokenList> {
    TokenList::parse(text).context("the secret of the tokens is invalid")
}

fn access(datasets: &[String]) -> Result<Access> {
    if datasets == ["all"] {
        return Ok(Access::All);
    }
    ensure!(
        !datasets.iter().any(|name| name == "all"),
        "--datasets must be either all or names of datasets"
    );
    Ok(Access::Only(datasets.iter().cloned().collect()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use landfall_auth::{Scope, TokenList};
    use landfall_aws::AwsError;

    use super::{Store, Versioned};

    /// A secret in memory. All commands read it before the first of them replaces it.
    struct Memory(Mutex<(u32, String)>);

    impl Versioned for Memory {
        async fn read(&self) -> Result<(String, String), AwsError> {
            let (version, text) = self.0.lock().unwrap().clone();
            tokio::task::yield_now().await;
            Ok((text, version.to_string()))
        }

        async fn replace(&self, version: &str, text: &str) -> Result<bool, AwsError> {
            let mut current = self.0.lock().unwrap();
            let is_current = current.0.to_string() == version;
            if is_current {
                *current = (current.0 + 1, text.to_owned());
            }
            Ok(is_current)
        }
    }

    fn names(list: &TokenList) -> Vec<String> {
        list.grants().map(|grant| grant.name).collect()
    }

    #[tokio::test]
    async fn concurrent_commands_lose_no_change() {
        let empty = TokenList::default().to_text().unwrap();
        let store = Store(Memory(Mutex::new((1, empty))));
        let all = ["all".to_owned()];
        let add = |name: &'static str| store.add(name, [Scope::Read].into(), &all);
        let (a, b, c) = tokio::join!(add("a"), add("b"), add("c"));
        let tokens = [a.unwrap(), b.unwrap(), c.unwrap()];
        let (d, removed, twice) = tokio::join!(add("d"), store.remove("a"), add("b"));
        d.unwrap();
        removed.unwrap();
        assert!(twice.is_err(), "the name is taken");
        let list = store.read().await.unwrap();
        assert_eq!(names(&list), ["b", "c", "d"]);
        let is_valid = |at: usize| list.check(tokens[at].reveal()).is_some();
        assert_eq!([0, 1, 2].map(is_valid), [false, true, true]);
    }
}
