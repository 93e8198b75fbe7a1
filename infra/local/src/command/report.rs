//! Reports on closed jobs: for people on standard error, for programs on standard output.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use landfall_aws::{Objects, S3Objects};
use landfall_domain::{CompletionEvent, Counts, Reject, RejectsLocation, StoreKind};
use landfall_local::Stack;
use serde_json::{Value, json};

use super::jobs::Job;
use super::rows::{sql_kind, sqlite_path};

/// Number of rejects of a job that are shown.
const REJECTS: usize = 5;

/// A closed job with its first rejects.
#[derive(Debug)]
pub(crate) struct JobReport<'a> {
    job: &'a Job,
    rejects: Vec<Reject>,
}

impl<'a> JobReport<'a> {
    pub(crate) async fn read(stack: &Stack, job: &'a Job) -> Result<Self> {
        let rejects = match &job.event.detail.rejects {
            None => Vec::new(),
            Some(location) => first_rejects(stack, location).await?,
        };
        Ok(Self { job, rejects })
    }
}

async fn first_rejects(stack: &Stack, place: &RejectsLocation) -> Result<Vec<Reject>> {
    let context = || {
        format!(
            "cannot read the rejects in {}/{}",
            place.bucket, place.prefix
        )
    };
    let objects = S3Objects::new(stack.s3().clone());
    let listed = objects.list(&place.bucket, &place.prefix, None).await;
    let mut found = Vec::new();
    for object in listed.with_context(context)? {
        let text = objects.read_text(&place.bucket, &object.key, None, usize::MAX);
        let (text, _) = text.await.with_context(context)?.with_context(context)?;
        for line in text.lines() {
            found.push(serde_json::from_str(line).with_context(context)?);
            if found.len() == REJECTS {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Prints a definition that was inferred.
pub(crate) fn inferred(name: &str, toml: &str) {
    eprintln!("\nThe dataset {name} has no definition, so this one was inferred:\n");
    for line in toml.lines() {
        eprintln!("  {line}");
    }
    eprintln!("\nTo change it, save it as DIR/{name}.toml and pass --datasets DIR.");
}

/// Prints everything about a job.
pub(crate) fn job(report: &JobReport<'_>) {
    let completed = &report.job.event.detail;
    let seconds = report.job.duration.as_secs_f64();
    eprintln!("\n{}, {seconds:.1} s after the upload", summary(completed));
    remarks(completed);
    eprintln!("The completion event, as a subscriber received it:");
    let event = serde_json::to_string_pretty(&report.job.event.envelope).unwrap_or_default();
    eprintln!("{event}");
    if !completed.counts.stores.is_empty() {
        eprintln!("{}", counts(&completed.counts));
    }
    if let Some(place) = &completed.rejects {
        eprintln!(
            "Rejects: {}, in s3://{}/{}. The first ones:",
            completed.counts.rejected, place.bucket, place.prefix
        );
        for reject in &report.rejects {
            eprintln!(
                "  line {}, byte {}: {}",
                reject.line, reject.offset, reject.message
            );
        }
    }
}

/// Prints a job in one line.
pub(crate) fn line(completed: &CompletionEvent) {
    eprintln!("{}", summary(completed));
    remarks(completed);
}

fn remarks(completed: &CompletionEvent) {
    if let Some(problem) = &completed.problem {
        eprintln!("  {}", problem.message);
    }
    for warning in &completed.warnings {
        eprintln!("  warning: {}", warning.message);
    }
}

fn summary(completed: &CompletionEvent) -> String {
    let codec = completed.codec.map(|codec| format!(" ({codec})"));
    format!(
        "{}{} {}: rows {}, rejected {}, chunks {}",
        completed.object.key,
        codec.unwrap_or_default(),
        completed.state.as_str(),
        completed.counts.rows,
        completed.counts.rejected,
        completed.chunks
    )
}

fn counts(counts: &Counts) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header([
        "store",
        "inserted",
        "updated",
        "unchanged",
        "stale",
        "deleted",
        "pruned",
    ]);
    for (store, counts) in &counts.stores {
        table.add_row([
            store.to_string(),
            counts.inserted.to_string(),
            counts.updated.to_string(),
            counts.unchanged.to_string(),
            counts.stale.to_string(),
            counts.deleted.to_string(),
            counts.pruned.to_string(),
        ]);
    }
    table
}

/// Writes the JSON document about all jobs to standard output.
pub(crate) fn json(stack: &Stack, jobs: &[JobReport<'_>]) -> Result<()> {
    let jobs: Vec<Value> = jobs.iter().map(job_json).collect();
    let document = json!({
        "endpoint": stack.endpoint(),
        "api_url": stack.outputs().api_url,
        "socket_url": stack.outputs().socket_url,
        "token": stack.token(),
        "tokens_secret": stack.outputs().tokens_secret,
        "mongodb_uri": stack.mongodb_uri(),
        "sql_url": stack.sql_url(),
        "jobs": jobs,
    });
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &document)?;
    writeln!(out)?;
    out.flush().context("cannot write to standard output")
}

fn job_json(report: &JobReport<'_>) -> Value {
    let completed = &report.job.event.detail;
    json!({
        "id": completed.job,
        "object": completed.object,
        "state": completed.state,
        "problem": completed.problem,
        "warnings": completed.warnings,
        "counts": completed.counts,
        "seconds": report.job.duration.as_secs_f64(),
        "event": report.job.event.envelope,
        "rejects": completed.rejects.as_ref().map(|place| json!({
            "bucket": place.bucket,
            "prefix": place.prefix,
            "first": report.rejects,
        })),
    })
}

/// Prints the addresses of everything that runs.
pub(crate) fn addresses(stack: &Stack) {
    let outputs = stack.outputs();
    let token = stack.token();
    eprintln!("The stack is running.");
    eprintln!("Page:     {}#token={token}", outputs.api_url);
    eprintln!("API:      {}", outputs.api_url);
    eprintln!("Token:    {token} (all permissions on this stack)");
    eprintln!("Socket:   {}", outputs.socket_url);
    eprintln!("AWS:      {}", stack.endpoint());
    eprintln!("Inbox:    s3://{}", outputs.inbox_bucket);
    eprintln!("MongoDB:  {}", stack.mongodb_uri());
    eprintln!("SQL:      {}", stack.sql_url());
    eprintln!("Logs:     {}", stack.logs().display());
}

/// Prints how to go on with the demo of sources.
pub(crate) fn sources_demo(variables: &Path) {
    eprintln!(
        "
In another terminal, as in docs/sources.md:
  . {variables}
  landfall sources list
  landfall sources runs shop_orders",
        variables = variables.display()
    );
}

/// Prints how to go on with the demo of orders.
pub(crate) fn orders_demo(service: &str, variables: &Path) {
    eprintln!(
        "
The service that follows the orders: {service}
In another terminal, as in docs/orders.md:
  . {variables}
  landfall destinations show erp
  landfall seed orders --count 200 --changes 400 --clean --as both",
        variables = variables.display()
    );
}

/// Prints commands to try while the stack is running.
pub(crate) fn next_steps(stack: &Stack, environment: &Path) {
    let outputs = stack.outputs();
    let endpoint = stack.endpoint();
    let sql = match sql_kind(stack.sql_url()) {
        Ok(StoreKind::Sqlite) => format!("sqlite3 {}", sqlite_path(stack.sql_url())),
        Ok(StoreKind::Postgres) => format!("psql '{}'", stack.sql_url()),
        _ => format!("# any MySQL client: {}", stack.sql_url()),
    };
    eprintln!(
        "
The page: {page}#token={token}

In another terminal:
  export AWS_ENDPOINT_URL={endpoint} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
  curl -T FILE {endpoint}/{inbox}/products/      # ingest another file; or aws s3 cp
  curl -H 'Authorization: Bearer {token}' {page}jobs      # jobs, from the API
  cargo run --bin landfall -- tokens list --secret {tokens}      # also: add, remove
  aws s3 ls --recursive s3://{rejects}         # rejects
  aws logs tail --follow {logs}                # the workers' log; also /api, /socket and /splitter
  aws dynamodb scan --table-name {ledger}      # the ledger
One function on its own, rebuilt whenever you save, with the events in events/:
  curl -T events/products.csv '{endpoint}/{inbox}/products/some%20products.csv'
  export PATH={tools}:$PATH
  cargo lambda watch --env-file {environment}
  cargo lambda invoke splitter --data-file events/s3-object-created.json   # in a third terminal
  cargo lambda invoke worker --data-file events/sqs-chunks.json
The HTTP API as a separate server, also for pages on another port:
  set -a; . {environment}; LANDFALL_CORS_ORIGINS=http://localhost:5173 RUST_LOG=info cargo run -p api
The databases:
  mongosh '{mongodb}'
  {sql}
The servers' logs are in {servers}",
        page = outputs.api_url,
        token = stack.token(),
        tokens = outputs.tokens_secret,
        inbox = outputs.inbox_bucket,
        rejects = outputs.rejects_bucket,
        logs = outputs.worker_log_group,
        ledger = outputs.ledger_table,
        tools = stack.tools().display(),
        environment = environment.display(),
        mongodb = stack.mongodb_uri(),
        servers = stack.logs().display(),
    );
}
