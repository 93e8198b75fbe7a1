//! What is told about closed jobs: for people on standard error, for programs on standard output.

use std::io::{BufRead, Cursor, Write};
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use landfall_domain::{CompletionEvent, Counts, Reject, StoreKind};
use landfall_local::Stack;
use serde_json::{Value, json};

use super::jobs::Job;
use super::look::{sql_kind, sqlite_path};

/// Rejects of a job that are shown.
const REJECTS: usize = 5;

/// A closed job, with the first of its rejects.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    job: &'a Job,
    rejects: Vec<Reject>,
}

impl<'a> Told<'a> {
    pub(crate) async fn gather(stack: &Stack, job: &'a Job) -> Result<Self> {
        Ok(Self {
            job,
            rejects: first_rejects(stack, &job.event.detail).await?,
        })
    }
}

async fn first_rejects(stack: &Stack, completed: &CompletionEvent) -> Result<Vec<Reject>> {
    let Some(place) = &completed.rejects else {
        return Ok(Vec::new());
    };
    let cannot = || {
        format!(
            "cannot read the rejects in {}/{}",
            place.bucket, place.prefix
        )
    };
    let listed = stack
        .s3()
        .list_objects_v2()
        .bucket(&place.bucket)
        .prefix(&place.prefix)
        .send()
        .await
        .with_context(cannot)?;
    let mut found = Vec::new();
    for object in listed.contents() {
        let answer = stack
            .s3()
            .get_object()
            .bucket(&place.bucket)
            .set_key(object.key.clone())
            .send()
            .await
            .with_context(cannot)?;
        let bytes = answer
            .body
            .collect()
            .await
            .with_context(cannot)?
            .into_bytes();
        for line in Cursor::new(bytes).lines() {
            found.push(serde_json::from_str(&line?).with_context(cannot)?);
            if found.len() == REJECTS {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Tells all about a job.
pub(crate) fn job(told: &Told<'_>) {
    let completed = &told.job.event.detail;
    let seconds = told.job.took.as_secs_f64();
    eprintln!(
        "\n{}, {seconds:.1} s after it was dropped",
        summary(completed)
    );
    if let Some(problem) = &completed.problem {
        eprintln!("  {}", problem.message);
    }
    eprintln!("The completion event, as a subscriber got it:");
    let event = serde_json::to_string_pretty(&told.job.event.envelope).unwrap_or_default();
    eprintln!("{event}");
    if !completed.counts.stores.is_empty() {
        eprintln!("{}", counts(&completed.counts));
    }
    if let Some(place) = &completed.rejects {
        eprintln!(
            "Rejects: {}, in s3://{}/{}; the first:",
            completed.counts.rejected, place.bucket, place.prefix
        );
        for reject in &told.rejects {
            eprintln!(
                "  line {}, byte {}: {}",
                reject.line, reject.offset, reject.message
            );
        }
    }
}

/// Tells of a job in one line.
pub(crate) fn line(completed: &CompletionEvent) {
    eprintln!("{}", summary(completed));
    if let Some(problem) = &completed.problem {
        eprintln!("  {}", problem.message);
    }
}

fn summary(completed: &CompletionEvent) -> String {
    format!(
        "{} {}: rows {}, rejected {}, chunks {}",
        completed.object.key,
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

/// Writes the document about all jobs to standard output.
pub(crate) fn json(stack: &Stack, jobs: &[Told<'_>]) -> Result<()> {
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

fn job_json(told: &Told<'_>) -> Value {
    let completed = &told.job.event.detail;
    json!({
        "id": completed.job,
        "object": completed.object,
        "state": completed.state,
        "problem": completed.problem,
        "counts": completed.counts,
        "seconds": told.job.took.as_secs_f64(),
        "event": told.job.event.envelope,
        "rejects": completed.rejects.as_ref().map(|place| json!({
            "bucket": place.bucket,
            "prefix": place.prefix,
            "first": told.rejects,
        })),
    })
}

/// Tells how to look further while the stack is up.
pub(crate) fn how_to_go_on(stack: &Stack, environment: &Path) {
    let outputs = stack.outputs();
    let endpoint = stack.endpoint();
    let sql = match sql_kind(stack.sql_url()) {
        Ok(StoreKind::Sqlite) => format!("sqlite3 {}", sqlite_path(stack.sql_url())),
        Ok(StoreKind::Postgres) => format!("psql '{}'", stack.sql_url()),
        _ => format!("# any client of MySQL: {}", stack.sql_url()),
    };
    eprintln!(
        "
The page: {page}#token={token}      # the token is for everything on this machine

To look further, in another terminal:
  export AWS_ENDPOINT_URL={endpoint} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
  curl -T FILE {endpoint}/{inbox}/products/      # drop another file, with aws: s3 cp
  curl -H 'Authorization: Bearer {token}' {page}jobs      # what the API says of the jobs
  cargo run --bin landfall -- tokens list --secret {tokens}      # or add, remove
  aws s3 ls --recursive s3://{rejects}         # rejects
  aws logs tail --follow {logs}                # what the workers log; /api, /socket and /splitter are beside it
  aws dynamodb scan --table-name {ledger}      # the ledger
One function at a time, rebuilt as you save it, on the events in events/:
  curl -T events/products.csv '{endpoint}/{inbox}/products/some%20products.csv'
  export PATH={tools}:$PATH
  cargo lambda watch --env-file {environment}
  cargo lambda invoke splitter --data-file events/s3-object-created.json   # in a third terminal
  cargo lambda invoke worker --data-file events/sqs-chunks.json
The HTTP API as a server of its own, for pages on another port too:
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
