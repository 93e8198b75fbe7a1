//! Tokens of the HTTP API and the WebSocket API, stored as hashes in a secret.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use landfall_auth::{Access, Scope, Token, TokenList};
use landfall_aws::Secret;

/// The secret that contains the tokens. Concurrent changes by two commands can overwrite each other.
pub(crate) struct Store(Secret);

impl Store {
    /// Opens the secret with this name or ARN.
    pub(crate) async fn open(id: &str) -> Self {
        Self(Secret::new(&landfall_aws::connect().await, id))
    }

    /// Creates a token. `datasets` contains names, or only the word `all`.
    pub(crate) async fn add(
        &self,
        name: &str,
        scopes: BTreeSet<Scope>,
        datasets: &[String],
    ) -> Result<Token> {
        let datasets = access(datasets)?;
        let mut list = self.read().await?;
        let token = Token::random();
        list.add(name, &token, scopes, datasets)?;
        self.write(&list).await?;
        Ok(token)
    }

    /// Removes the token with this name.
    pub(crate) async fn remove(&self, name: &str) -> Result<()> {
        let mut list = self.read().await?;
        ensure!(
            list.remove(name),
            "no token is named {name:?}: run tokens list"
        );
        self.write(&list).await
    }

    /// Returns all tokens.
    pub(crate) async fn read(&self) -> Result<TokenList> {
        TokenList::parse(&self.0.read().await?).context("the secret of the tokens is invalid")
    }

    async fn write(&self, list: &TokenList) -> Result<()> {
        let text = list.to_text().context("cannot serialize the tokens")?;
        Ok(self.0.write(&text).await?)
    }
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
