//! Tokens of the HTTP API and the socket, kept as hashes in a secret.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use landfall_auth::{Access, Grant, Scope, Token, TokenList};
use landfall_aws::Secret;
use tokio::runtime::Runtime;

/// The secret with the tokens. Two commands that change it at the same time can undo each other.
pub struct Store {
    secret: Secret,
    runtime: Runtime,
}

impl Store {
    /// The secret of this name or ARN.
    pub fn open(id: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        let config = runtime.block_on(landfall_aws::connect());
        Ok(Self {
            secret: Secret::new(&config, id),
            runtime,
        })
    }

    /// Makes a token. `datasets` are names, or the one word `all`.
    pub fn add(&self, name: &str, scopes: BTreeSet<Scope>, datasets: &[String]) -> Result<Token> {
        let datasets = access(datasets)?;
        let mut list = self.read()?;
        let token = Token::random();
        list.add(name, &token, scopes, datasets)?;
        self.write(&list)?;
        Ok(token)
    }

    /// What the tokens may do.
    pub fn grants(&self) -> Result<Vec<Grant>> {
        Ok(self.read()?.grants().collect())
    }

    /// Removes the token of this name.
    pub fn remove(&self, name: &str) -> Result<()> {
        let mut list = self.read()?;
        if !list.remove(name) {
            bail!("there is no token named {name:?}");
        }
        self.write(&list)
    }

    fn read(&self) -> Result<TokenList> {
        let text = self.runtime.block_on(self.secret.read())?;
        TokenList::parse(&text).context("the secret with the tokens")
    }

    fn write(&self, list: &TokenList) -> Result<()> {
        let text = list.to_text().context("cannot write the list")?;
        Ok(self.runtime.block_on(self.secret.write(&text))?)
    }
}

fn access(datasets: &[String]) -> Result<Access> {
    match datasets {
        [all] if all == "all" => Ok(Access::All),
        names if names.iter().any(|name| name == "all") => {
            bail!("give either all or names of datasets")
        }
        names => Ok(Access::Only(names.iter().cloned().collect())),
    }
}
