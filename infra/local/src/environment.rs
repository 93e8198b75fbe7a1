//! What deployed functions have in their environment.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use aws_sdk_lambda::Client;

use crate::endpoint::{ACCESS_KEY, REGION};

/// The environments of these functions together, and how the endpoint is reached, as lines of an env file.
pub(crate) async fn of_functions(
    config: &SdkConfig,
    endpoint: &str,
    functions: &[&String],
) -> Result<String> {
    let client = Client::new(config);
    let mut all = BTreeMap::new();
    for function in functions {
        let answer = client
            .get_function_configuration()
            .function_name(*function)
            .send()
            .await
            .with_context(|| format!("cannot ask for the configuration of {function}"))?;
        let variables = answer
            .environment
            .and_then(|environment| environment.variables);
        all.extend(variables.unwrap_or_default());
    }
    for (name, value) in [
        ("AWS_ENDPOINT_URL", endpoint),
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
