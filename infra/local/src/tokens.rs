//! The token that a local stack starts with.

use anyhow::{Context, Result, ensure};
use aws_config::SdkConfig;
use landfall_auth::{Access, Scope, Token, TokenList};
use landfall_aws::Secret;

/// Name of the token in the list.
const NAME: &str = "local";

/// Creates a token with all permissions, which replaces that of an earlier run on the same data. Other tokens stay.
pub(crate) async fn create(config: &SdkConfig, secret: &str) -> Result<Token> {
    let secret = Secret::new(config, secret);
    let read = secret.read_version().await;
    let (text, version) = read.context("cannot read the tokens")?;
    let mut list = TokenList::parse(&text)?;
    list.remove(NAME);
    let token = Token::random();
    list.add(NAME, &token, [Scope::Admin].into(), Access::All)?;
    let replaced = secret.replace(&version, &list.to_text()?).await;
    let replaced = replaced.context("cannot write the tokens")?;
    ensure!(replaced, "another program has changed the tokens");
    Ok(token)
}
