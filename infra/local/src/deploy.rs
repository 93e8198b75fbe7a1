//! Deployment of `infra/template.yaml` through CloudFormation.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use landfall_setup::functions::{FUNCTIONS, zip};
use serde::Deserialize;
use serde_json::json;

use crate::aws::Aws;
use crate::endpoint;

const STACK: &str = "landfall";
const DEPLOYMENT_BUCKET: &str = "landfall-code";
const TEMPLATE: &str = "template.yaml";

/// The outputs of `infra/template.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Outputs {
    /// The page and the HTTP API; ends with a slash.
    pub api_url: String,
    /// The WebSocket API.
    pub socket_url: String,
    /// Secret that holds the hashes of the tokens.
    pub tokens_secret: String,
    /// Bucket for files, with keys of the form `<dataset>/<anything>`.
    pub inbox_bucket: String,
    /// Bucket of the dataset definitions, `datasets/<name>.toml`.
    pub config_bucket: String,
    /// Secret with what the definitions of sources and destinations name.
    pub sources_secret: String,
    /// Bucket of the rejects.
    pub rejects_bucket: String,
    /// Table of the ledger.
    pub ledger_table: String,
    /// Table of the WebSocket connections.
    pub connections_table: String,
    /// Queue of the chunks.
    pub chunk_queue_url: String,
    /// Queue of the chunks that every retry failed to process.
    pub chunk_dead_letter_queue_url: String,
    /// Queue of the jobs whose objects are not read to their end.
    pub split_queue_url: String,
    /// Queue of the notifications that every retry failed to process.
    pub splitter_dead_letter_queue_url: String,
    /// Queue of the pushes that every retry failed to send.
    pub push_dead_letter_queue_url: String,
    /// Event bus of the completion events.
    pub event_bus_name: String,
    /// Name of the splitter's function.
    pub splitter_function: String,
    /// Name of the worker's function.
    pub worker_function: String,
    /// Name of the HTTP API's function.
    pub api_function: String,
    /// Name of the WebSocket API's function.
    pub socket_function: String,
    /// Name of the janitor's function.
    pub janitor_function: String,
    /// Log group of the splitter.
    pub splitter_log_group: String,
    /// Log group of the worker.
    pub worker_log_group: String,
    /// Name of the maintenance's function.
    pub maintenance_function: String,
    /// Log group of the maintenance.
    pub maintenance_log_group: String,
    /// Log group of the HTTP API's function.
    pub api_log_group: String,
    /// Log group of the WebSocket API's function.
    pub socket_log_group: String,
    /// Name of the puller's function.
    pub puller_function: String,
    /// Log group of the janitor.
    pub janitor_log_group: String,
    /// Log group of the puller.
    pub puller_log_group: String,
    /// Name of the relay's function.
    pub relay_function: String,
    /// Log group of the relay.
    pub relay_log_group: String,
}

/// Uploads the zips, and returns the template with their URIs.
pub(crate) async fn package(config: &SdkConfig, workspace: &Path, zips: &Path) -> Result<String> {
    let mut template = std::fs::read_to_string(workspace.join("infra/template.yaml"))
        .context("cannot read infra/template.yaml")?;
    let client = Client::from_conf(endpoint::s3_config(config));
    client
        .create_bucket()
        .bucket(DEPLOYMENT_BUCKET)
        .send()
        .await
        .context("cannot create the bucket for the zips and the template")?;
    for function in FUNCTIONS {
        let uri = upload_zip(&client, zips, function).await?;
        template = with_code(&template, function, &uri)?;
    }
    Ok(template)
}

/// Creates or updates the stack from a packaged template.
pub(crate) async fn deploy(
    aws: &Aws,
    config: &SdkConfig,
    template: &str,
    parameters: &[(String, String)],
) -> Result<Outputs> {
    let template = with_number(template, "WorkerConcurrency", parameters)?;
    // CloudFormation accepts larger templates from S3 than in a request.
    let client = Client::from_conf(endpoint::s3_config(config));
    upload(&client, TEMPLATE, template.into_bytes()).await?;
    let url = format!("{}/{DEPLOYMENT_BUCKET}/{TEMPLATE}", aws.endpoint);
    let arguments = json!({ "stack": STACK, "template_url": url, "parameters": parameters });
    aws.call("deploy", &arguments)
        .await
        .context("cannot deploy infra/template.yaml")
}

/// Uploads a zip, with a key that changes with its content, and returns its URI.
async fn upload_zip(client: &Client, zips: &Path, function: &str) -> Result<String> {
    let path = zip(zips, function);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hash = blake3::hash(&bytes).to_hex();
    let key = format!("{function}-{}.zip", &hash.as_str()[..16]);
    upload(client, &key, bytes).await?;
    Ok(format!("s3://{DEPLOYMENT_BUCKET}/{key}"))
}

async fn upload(client: &Client, key: &str, bytes: Vec<u8>) -> Result<()> {
    client
        .put_object()
        .bucket(DEPLOYMENT_BUCKET)
        .key(key)
        .body(ByteStream::from(bytes))
        .customize()
        .config_override(endpoint::without_checksums())
        .disable_payload_signing()
        .send()
        .await
        .map(drop)
        .with_context(|| format!("cannot upload {key}"))
}

/// Returns the template with the URI of the zip in place of the function's directory, as `sam package` does.
fn with_code(template: &str, function: &str, uri: &str) -> Result<String> {
    let directory = format!("CodeUri: ../functions/{function}\n");
    let found = template.matches(&directory).count();
    ensure!(
        found == 1,
        "the template contains the CodeUri of {function} {found} times; it must contain it once"
    );
    Ok(template.replace(&directory, &format!("CodeUri: {uri}\n")))
}

/// Returns the template with a number in place of each reference to a parameter. `MiniStack` treats the value of a
/// parameter as text, even where it then compares numbers.
fn with_number(template: &str, name: &str, parameters: &[(String, String)]) -> Result<String> {
    let passed = parameters
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str());
    let default = || {
        let (_, definition) = template.split_once(&format!("\n  {name}:\n"))?;
        let (_, default) = definition.split_once("Default:")?;
        default.lines().next().map(str::trim)
    };
    let number: u32 = passed
        .or_else(default)
        .with_context(|| format!("{name} has no value and no default"))?
        .parse()
        .with_context(|| format!("{name} is not a number"))?;
    let reference = format!("!Ref {name}");
    ensure!(
        template.contains(&reference),
        "the template does not use {name}"
    );
    Ok(template.replace(&reference, &number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{with_code, with_number};

    const PART: &str = "Resources:\n  A:\n    CodeUri: ../functions/worker\n  B:\n    CodeUri: ../functions/worker2\n";

    #[test]
    fn a_zip_replaces_the_directory_of_its_function() {
        let packaged = with_code(PART, "worker", "s3://b/k.zip").unwrap();
        assert_eq!(
            packaged,
            PART.replace("../functions/worker\n", "s3://b/k.zip\n")
        );
    }

    #[test]
    fn a_function_missing_from_the_template_is_an_error() {
        assert!(with_code(PART, "janitor", "s3://b/k.zip").is_err());
    }

    #[test]
    fn a_number_is_the_parameter_or_its_default() {
        let template = "Parameters:\n  N:\n    Type: Number\n    Default: 8\nResources:\n  A: { Most: !Ref N }\n";
        let with =
            |parameters: &[(String, String)]| with_number(template, "N", parameters).unwrap();
        assert!(with(&[]).contains("{ Most: 8 }"));
        assert!(with(&[("N".to_owned(), "3".to_owned())]).contains("{ Most: 3 }"));
        assert!(with_number(template, "M", &[]).is_err());
    }
}
