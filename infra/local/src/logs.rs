//! The functions' logs, from the endpoint's `CloudWatch` Logs.

use anyhow::{Context, Result};
use serde_json::json;

use crate::aws::Aws;

/// The most recent log streams of each function that are read.
const STREAMS: u32 = 20;

/// Returns the last lines of log groups in order of time, each prefixed with the name of its group.
pub(crate) async fn tail(aws: &Aws, groups: &[&String], lines: usize) -> Result<String> {
    let arguments = json!({ "groups": groups, "streams": STREAMS });
    let mut events: Vec<(i64, String, String)> = aws
        .call("logs", &arguments)
        .await
        .context("cannot read the functions' logs")?;
    let by_lambda = ["START ", "END ", "REPORT "];
    events.retain(|(.., message)| !by_lambda.iter().any(|start| message.starts_with(start)));
    // The sort is stable: lines with the same time keep their order.
    events.sort_by_key(|(time, ..)| *time);
    let last = events.iter().skip(events.len().saturating_sub(lines));
    let last: Vec<_> = last
        .map(|(_, group, message)| {
            let name = group.rsplit('/').next().unwrap_or_default();
            format!("{name}: {}", message.trim_end())
        })
        .collect();
    Ok(last.join("\n"))
}
