//! The token that a local stack starts with.

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use landfall_auth::{Access, Scope, Token, TokenList};
use landfall_aws::Secret;

/// Name of the token in the list.
const NAME: &str = "local";

/// Creates a token with all permissions, which replaces that of an earlier run on the same data. Other tokens stay.
pub(crate) async fn create(config: &SdkConfig, secret: &str) -> Result<Token> {
    let secret = Secret::new(config, secret);
    let text = secret.read().await.context("cannot read the tokens")?;
    let mut list = TokenList::parse(&text)?;
    list.remove(NAME);
    let token = Token::random();
    list.add(NAME, &token, [Scope::Admin].into(), Access::All)?;
    secret
        .write(&list.to_text()?)
        .await
        .context("cannot write the tokens")?;
    Ok(token)
}
