//! What the functions logged, from the endpoint's `CloudWatch` Logs.

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::OrderBy;

/// Invocations of a function that are looked at.
const STREAMS: i32 = 20;

/// The last lines of log groups, in the order of time, each after the name of its group.
pub(crate) async fn tail(config: &SdkConfig, groups: &[&String], lines: usize) -> Result<String> {
    let client = Client::new(config);
    let mut events = Vec::new();
    for group in groups {
        let name = group.rsplit('/').next().unwrap_or_default();
        let cannot = || format!("cannot read the log of {name}");
        let streams = client
            .describe_log_streams()
            .log_group_name(*group)
            .order_by(OrderBy::LastEventTime)
            .descending(true)
            .limit(STREAMS)
            .send()
            .await
            .with_context(cannot)?;
        for stream in streams.log_streams() {
            let answer = client
                .get_log_events()
                .log_group_name(*group)
                .set_log_stream_name(stream.log_stream_name.clone())
                .send()
                .await
                .with_context(cannot)?;
            for event in answer.events() {
                let message = event.message().unwrap_or_default().trim_end();
                let told_by_lambda = ["START ", "END ", "REPORT "]
                    .iter()
                    .any(|prefix| message.starts_with(prefix));
                if !told_by_lambda {
                    events.push((event.timestamp(), format!("{name}: {message}")));
                }
            }
        }
    }
    // Stable: the lines of an invocation have one time, and keep their order.
    events.sort_by_key(|(time, _)| *time);
    let last = &events[events.len().saturating_sub(lines)..];
    let last: Vec<_> = last.iter().map(|(_, line)| line.as_str()).collect();
    Ok(last.join("\n"))
}
