//! The environment variables of the deployed functions.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::json;

use crate::aws::Aws;
use crate::endpoint::{ACCESS_KEY, REGION};

/// Returns the variables of these functions, and those that point the SDK at the endpoint, as an env file.
pub(crate) async fn env_file(aws: &Aws, functions: &[&String]) -> Result<String> {
    let mut all: BTreeMap<String, String> = aws
        .call("variables", &json!({ "functions": functions }))
        .await
        .context("cannot read the functions' environment")?;
    for (name, value) in [
        ("AWS_ENDPOINT_URL", aws.endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", ACCESS_KEY),
        ("AWS_REGION", REGION),
    ] {
        all.insert(name.to_owned(), value.to_owned());
    }
    let lines: Vec<_> = all
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\"\n"))
        .collect();
    Ok(lines.concat())
}
