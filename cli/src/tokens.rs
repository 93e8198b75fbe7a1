//! Tokens of the HTTP API and the WebSocket API, stored as hashes in a secret.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use landfall_auth::{Access, Grant, Scope, Token, TokenList};
use landfall_aws::Secret;
use tokio::runtime::Runtime;

/// The secret that contains the tokens. Concurrent changes by two commands can overwrite each other.
pub struct Store {
    secret: Secret,
    runtime: Runtime,
}

impl Store {
    /// Opens the secret with this name or ARN.
    pub fn open(id: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the async runtime")?;
        let config = runtime.block_on(landfall_aws::connect());
        Ok(Self {
            secret: Secret::new(&config, id),
            runtime,
        })
    }

    /// Creates a token. `datasets` contains names, or only the word `all`.
    pub fn add(&self, name: &str, scopes: BTreeSet<Scope>, datasets: &[String]) -> Result<Token> {
        let datasets = access(datasets)?;
        let mut list = self.read()?;
        let token = Token::random();
        list.add(name, &token, scopes, datasets)?;
        self.write(&list)?;
        Ok(token)
    }

    /// Returns the permissions of all tokens.
    pub fn grants(&self) -> Result<Vec<Grant>> {
        Ok(self.read()?.grants().collect())
    }

    /// Removes the token with this name.
    pub fn remove(&self, name: &str) -> Result<()> {
        let mut list = self.read()?;
        if !list.remove(name) {
            bail!("no token is named {name:?}: run tokens list");
        }
        self.write(&list)
    }

    fn read(&self) -> Result<TokenList> {
        let text = self.runtime.block_on(self.secret.read())?;
        TokenList::parse(&text).context("the secret of the tokens is invalid")
    }

    fn write(&self, list: &TokenList) -> Result<()> {
        let text = list.to_text().context("cannot serialize the tokens")?;
        Ok(self.runtime.block_on(self.secret.write(&text))?)
    }
}

fn access(datasets: &[String]) -> Result<Access> {
    match datasets {
        [all] if all == "all" => Ok(Access::All),
        names if names.iter().any(|name| name == "all") => {
            bail!("--datasets must be either all or names of datasets")
        }
        names => Ok(Access::Only(names.iter().cloned().collect())),
    }
}
