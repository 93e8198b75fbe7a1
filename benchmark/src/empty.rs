//! The same chain of services with empty functions: the endpoint's own share of the time from a put to an event.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use aws_sdk_eventbridge::types::Target;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, Runtime};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Event, LambdaFunctionConfiguration, NotificationConfiguration};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use landfall_local::{Stack, sent_at};
use tokio::process::Command;

use crate::landfall::seconds_between;

const BUCKET: &str = "landfall-empty-inbox";
const NAME: &str = "landfall-empty";
const ROLE: &str = "arn:aws:iam::000000000000:role/landfall-empty";
const SOURCE: &str = include_str!("empty.py");
const WITHIN: Duration = Duration::from_secs(30);

/// The deployed chain.
pub(crate) struct EmptyPipeline<'a> {
    stack: &'a Stack,
    sqs: aws_sdk_sqs::Client,
    /// Queue that receives the event.
    events: String,
}

impl<'a> EmptyPipeline<'a> {
    /// Deploys the chain next to Landfall, on the same endpoint and event bus.
    pub(crate) async fn deploy(stack: &'a Stack, directory: &Path) -> Result<Self> {
        let config = stack.sdk_config();
        let sqs = aws_sdk_sqs::Client::new(config);
        let lambda = aws_sdk_lambda::Client::new(config);
        let bus = &stack.outputs().event_bus_name;
        let (chunks, chunks_arn) = queue(&sqs, "landfall-empty-chunks").await?;
        let (events, events_arn) = queue(&sqs, "landfall-empty-events").await?;

        let zip = zip(&stack.tools().join("python"), directory).await?;
        let mut arns = Vec::new();
        for name in ["splitter", "worker"] {
            let created = lambda
                .create_function()
                .function_name(format!("{NAME}-{name}"))
                .runtime(Runtime::Python311)
                .handler(format!("empty.{name}"))
                .role(ROLE)
                .code(
                    FunctionCode::builder()
                        .zip_file(Blob::new(zip.clone()))
                        .build(),
                )
                .environment(
                    Environment::builder()
                        .variables("QUEUE_URL", &chunks)
                        .variables("EVENT_BUS", bus)
                        .build(),
                )
                .send()
                .await
                .context("cannot create an empty function")?;
            arns.push(created.function_arn.context("a function has no ARN")?);
        }
        lambda
            .create_event_source_mapping()
            .function_name(format!("{NAME}-worker"))
            .event_source_arn(chunks_arn)
            .batch_size(2)
            .send()
            .await
            .context("cannot map the queue to the empty worker")?;
        listen(stack, &arns[0]).await?;
        let eventbridge = aws_sdk_eventbridge::Client::new(config);
        eventbridge
            .put_rule()
            .name(NAME)
            .event_bus_name(bus)
            .event_pattern(r#"{"source":["empty"]}"#)
            .send()
            .await
            .context("cannot make the rule")?;
        let targets = eventbridge
            .put_targets()
            .event_bus_name(bus)
            .rule(NAME)
            .targets(Target::builder().id(NAME).arn(events_arn).build()?)
            .send()
            .await
            .context("cannot set the rule's target")?;
        ensure!(
            targets.failed_entry_count() == 0,
            "the rule refused its target"
        );
        Ok(Self { stack, sqs, events })
    }

    /// Returns the seconds from the start of a put to its event.
    pub(crate) async fn put(&self) -> Result<f64> {
        let (start, put_at) = (Instant::now(), SystemTime::now());
        self.stack
            .s3()
            .put_object()
            .bucket(BUCKET)
            .key("empty")
            .body(ByteStream::from_static(b"sku,name,description\n"))
            .send()
            .await
            .context("cannot put the empty object")?;
        while start.elapsed() < WITHIN {
            let answer = self
                .sqs
                .receive_message()
                .queue_url(&self.events)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .wait_time_seconds(1)
                .send()
                .await
                .context("cannot receive the empty event")?;
            if let Some(message) = answer.messages.unwrap_or_default().pop() {
                let took = seconds_between(put_at, sent_at(&message)?)?;
                self.sqs
                    .delete_message()
                    .queue_url(&self.events)
                    .set_receipt_handle(message.receipt_handle)
                    .send()
                    .await?;
                return Ok(took);
            }
        }
        anyhow::bail!(
            "no event came through empty functions in {} s",
            WITHIN.as_secs()
        )
    }
}

/// Creates a queue and returns its URL and ARN.
async fn queue(sqs: &aws_sdk_sqs::Client, name: &str) -> Result<(String, String)> {
    let url = sqs
        .create_queue()
        .queue_name(name)
        .send()
        .await
        .with_context(|| format!("cannot make the queue {name}"))?
        .queue_url
        .context("the queue has no URL")?;
    let attributes = sqs
        .get_queue_attributes()
        .queue_url(&url)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await?;
    let arn = attributes
        .attributes()
        .and_then(|all| all.get(&QueueAttributeName::QueueArn))
        .context("the queue has no ARN")?
        .clone();
    Ok((url, arn))
}

/// Creates a bucket that notifies the function of new objects.
async fn listen(stack: &Stack, function: &str) -> Result<()> {
    stack
        .s3()
        .create_bucket()
        .bucket(BUCKET)
        .send()
        .await
        .context("cannot make the empty inbox")?;
    let notification = LambdaFunctionConfiguration::builder()
        .lambda_function_arn(function)
        .events(Event::from("s3:ObjectCreated:*"))
        .build()?;
    stack
        .s3()
        .put_bucket_notification_configuration()
        .bucket(BUCKET)
        .notification_configuration(
            NotificationConfiguration::builder()
                .lambda_function_configurations(notification)
                .build(),
        )
        .send()
        .await
        .context("cannot set the notification of the empty inbox")?;
    Ok(())
}

async fn zip(python: &Path, directory: &Path) -> Result<Vec<u8>> {
    std::fs::write(directory.join("empty.py"), SOURCE)?;
    let status = Command::new(python)
        .args(["-m", "zipfile", "-c", "empty.zip", "empty.py"])
        .current_dir(directory)
        .status()
        .await
        .context("cannot run python")?;
    ensure!(status.success(), "cannot pack the empty functions");
    Ok(std::fs::read(directory.join("empty.zip"))?)
}
