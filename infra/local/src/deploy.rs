//! The template, as CloudFormation gets it, and what it makes of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_config::SdkConfig;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types::{Capability, Parameter, Stack, StackStatus};
use aws_sdk_s3::primitives::ByteStream;

use crate::endpoint;
use crate::progress::Progress;
use crate::zips;

const STACK: &str = "landfall";
const CODE_BUCKET: &str = "landfall-code";
const WITHIN: Duration = Duration::from_mins(2);

/// The outputs of `infra/template.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// The page and the HTTP API; ends with a slash.
    pub api_url: String,
    /// The WebSocket API.
    pub socket_url: String,
    /// Secret with the hashes of the tokens.
    pub tokens_secret: String,
    /// Bucket that files are dropped into, as `<dataset>/<anything>`.
    pub inbox_bucket: String,
    /// Bucket of the dataset definitions, as `datasets/<name>.toml`.
    pub config_bucket: String,
    /// Bucket of the rows that could not be taken.
    pub rejects_bucket: String,
    /// Table of the ledger.
    pub ledger_table: String,
    /// Table of the WebSocket connections.
    pub connections_table: String,
    /// Queue of the chunks.
    pub chunk_queue_url: String,
    /// Queue of the chunks that no worker could take.
    pub chunk_dead_letter_queue_url: String,
    /// Queue of the objects that could not be split.
    pub splitter_dead_letter_queue_url: String,
    /// Queue of the pushes that could not be made.
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
    /// Log group of the splitter.
    pub splitter_log_group: String,
    /// Log group of the worker.
    pub worker_log_group: String,
    /// Log group of the HTTP API's function.
    pub api_log_group: String,
    /// Log group of the WebSocket API's function.
    pub socket_log_group: String,
}

impl Outputs {
    fn of(stack: &Stack) -> Result<Self> {
        let output = |key: &str| {
            stack
                .outputs()
                .iter()
                .find(|output| output.output_key() == Some(key))
                .and_then(|output| output.output_value())
                .map(str::to_owned)
                .with_context(|| format!("the stack has no output {key}"))
        };
        Ok(Self {
            api_url: output("ApiUrl")?,
            socket_url: output("SocketUrl")?,
            tokens_secret: output("TokensSecret")?,
            inbox_bucket: output("InboxBucket")?,
            config_bucket: output("ConfigBucket")?,
            rejects_bucket: output("RejectsBucket")?,
            ledger_table: output("LedgerTable")?,
            connections_table: output("ConnectionsTable")?,
            chunk_queue_url: output("ChunkQueueUrl")?,
            chunk_dead_letter_queue_url: output("ChunkDeadLetterQueueUrl")?,
            splitter_dead_letter_queue_url: output("SplitterDeadLetterQueueUrl")?,
            push_dead_letter_queue_url: output("PushDeadLetterQueueUrl")?,
            event_bus_name: output("EventBusName")?,
            splitter_function: output("SplitterFunction")?,
            worker_function: output("WorkerFunction")?,
            api_function: output("ApiFunction")?,
            socket_function: output("SocketFunction")?,
            splitter_log_group: output("SplitterLogGroup")?,
            worker_log_group: output("WorkerLogGroup")?,
            api_log_group: output("ApiLogGroup")?,
            socket_log_group: output("SocketLogGroup")?,
        })
    }
}

/// Uploads the zips and creates the stack, or updates the one that is there.
pub(crate) async fn deploy(
    config: &SdkConfig,
    workspace: &Path,
    zips: &Path,
    parameters: &[(String, String)],
    progress: &dyn Progress,
) -> Result<Outputs> {
    progress.doing("deploying infra/template.yaml");
    let mut template = std::fs::read_to_string(workspace.join("infra/template.yaml"))
        .context("cannot read infra/template.yaml")?;
    for function in zips::FUNCTIONS {
        let uri = upload(config, zips, function).await?;
        template = with_code(&template, function, &uri)?;
    }
    template = with_number(&template, "WorkerConcurrency", parameters)?;
    let parameters: Vec<Parameter> = parameters
        .iter()
        .map(|(key, value)| {
            Parameter::builder()
                .parameter_key(key)
                .parameter_value(value)
                .build()
        })
        .collect();

    let client = Client::new(config);
    if describe(&client).await?.is_some() {
        update(&client, template, parameters).await?;
    } else {
        client
            .create_stack()
            .stack_name(STACK)
            .template_body(template)
            .set_parameters(Some(parameters))
            .capabilities(Capability::CapabilityIam)
            .capabilities(Capability::CapabilityAutoExpand)
            .send()
            .await
            .context("CloudFormation refused the template")?;
    }
    Outputs::of(&settled(&client).await?)
}

async fn upload(config: &SdkConfig, zips: &Path, function: &str) -> Result<String> {
    let client = aws_sdk_s3::Client::from_conf(endpoint::s3_config(config));
    let (name, bytes) = zips::read(zips, function)?;
    client
        .create_bucket()
        .bucket(CODE_BUCKET)
        .send()
        .await
        .context("cannot make the bucket of the zips")?;
    client
        .put_object()
        .bucket(CODE_BUCKET)
        .key(&name)
        .body(ByteStream::from(bytes))
        .send()
        .await
        .with_context(|| format!("cannot upload the zip of {function}"))?;
    Ok(format!("s3://{CODE_BUCKET}/{name}"))
}

/// The template with the zip in place of a function's directory, as `sam package` leaves it.
fn with_code(template: &str, function: &str, uri: &str) -> Result<String> {
    let mut found = 0;
    let mut packaged = String::with_capacity(template.len() + uri.len());
    for line in template.split_inclusive('\n') {
        let text = line.trim();
        if text.strip_prefix("CodeUri:").map(str::trim) == Some(&format!("../functions/{function}"))
        {
            found += 1;
            let indent = &line[..line.len() - line.trim_start().len()];
            packaged.extend([indent, "CodeUri: ", uri, "\n"]);
        } else {
            packaged.push_str(line);
        }
    }
    ensure!(
        found == 1,
        "the template names the code of {function} {found} times, not once"
    );
    Ok(packaged)
}

/// The template with a number in place of each reference to a parameter. `MiniStack` takes what a parameter
/// gives for text, also where it then compares numbers.
fn with_number(template: &str, name: &str, parameters: &[(String, String)]) -> Result<String> {
    let given = parameters
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str());
    let default = || {
        let (_, definition) = template.split_once(&format!("\n  {name}:\n"))?;
        let (_, default) = definition.split_once("Default:")?;
        default.lines().next().map(str::trim)
    };
    let number: u32 = given
        .or_else(default)
        .with_context(|| format!("the template gives no value for {name}"))?
        .parse()
        .with_context(|| format!("{name} is not a number"))?;
    let reference = format!("!Ref {name}");
    ensure!(
        template.contains(&reference),
        "the template does not use {name}"
    );
    Ok(template.replace(&reference, &number.to_string()))
}

async fn describe(client: &Client) -> Result<Option<Stack>> {
    match client.describe_stacks().stack_name(STACK).send().await {
        Ok(answer) => Ok(answer.stacks().first().cloned()),
        // What CloudFormation says of a stack that is not there.
        Err(error) if error.code() == Some("ValidationError") => Ok(None),
        Err(error) => Err(error).context("cannot ask for the stack"),
    }
}

async fn update(client: &Client, template: String, parameters: Vec<Parameter>) -> Result<()> {
    let answer = client
        .update_stack()
        .stack_name(STACK)
        .template_body(template)
        .set_parameters(Some(parameters))
        .capabilities(Capability::CapabilityIam)
        .capabilities(Capability::CapabilityAutoExpand)
        .send()
        .await;
    match answer {
        Err(error)
            if !error
                .message()
                .is_some_and(|text| text.contains("No updates")) =>
        {
            Err(error).context("CloudFormation refused the update")
        }
        _ => Ok(()),
    }
}

async fn settled(client: &Client) -> Result<Stack> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let stack = describe(client).await?.context("the stack is gone")?;
        match stack.stack_status() {
            Some(StackStatus::CreateComplete | StackStatus::UpdateComplete) => return Ok(stack),
            Some(
                StackStatus::CreateInProgress
                | StackStatus::UpdateInProgress
                | StackStatus::UpdateCompleteCleanupInProgress,
            ) if Instant::now() < deadline => {}
            status => {
                let status = status.map_or("no status", StackStatus::as_str);
                bail!("the stack ended as {status}:\n{}", failures(client).await?);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What CloudFormation says of the resources that failed; of all, if none did.
async fn failures(client: &Client) -> Result<String> {
    let answer = client
        .describe_stack_events()
        .stack_name(STACK)
        .send()
        .await
        .context("cannot ask for the stack's events")?;
    let lines = |failed: bool| -> Vec<String> {
        answer
            .stack_events()
            .iter()
            .rev()
            .filter_map(|event| {
                let status = event.resource_status()?.as_str();
                (!failed || status.ends_with("FAILED")).then(|| {
                    format!(
                        "{} {status} {}",
                        event.logical_resource_id().unwrap_or_default(),
                        event.resource_status_reason().unwrap_or_default()
                    )
                })
            })
            .collect()
    };
    let failed = lines(true);
    Ok(if failed.is_empty() {
        lines(false)
    } else {
        failed
    }
    .join("\n"))
}

#[cfg(test)]
mod tests {
    use super::{with_code, with_number};

    const TEMPLATE: &str = "Resources:\n  A:\n    CodeUri: ../functions/worker\n  B:\n    CodeUri: ../functions/worker2\n";

    #[test]
    fn puts_the_zip_in_place_of_one_functions_directory() {
        let packaged = with_code(TEMPLATE, "worker", "s3://b/k.zip").unwrap();
        assert_eq!(
            packaged,
            TEMPLATE.replace("../functions/worker\n", "s3://b/k.zip\n")
        );
    }

    #[test]
    fn fails_for_a_function_that_the_template_does_not_have() {
        assert!(with_code(TEMPLATE, "janitor", "s3://b/k.zip").is_err());
    }

    #[test]
    fn a_number_is_the_given_one_or_the_default() {
        let template = "Parameters:\n  N:\n    Type: Number\n    Default: 8\nResources:\n  A: { Most: !Ref N }\n";
        let with =
            |parameters: &[(String, String)]| with_number(template, "N", parameters).unwrap();
        assert!(with(&[]).contains("{ Most: 8 }"));
        assert!(with(&[("N".to_owned(), "3".to_owned())]).contains("{ Most: 3 }"));
        assert!(with_number(template, "M", &[]).is_err());
    }
}
