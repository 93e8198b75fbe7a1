//! Sources: records of an HTTP API into PostgreSQL, through the deployed functions, and by dlt.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_lambda::primitives::Blob;
use bytes::Bytes;
use landfall_domain::JobState;
use landfall_local::{Lines, PageServer, Progress, Sql, Stack, Stores, python_environment};
use tokio::process::Command;

use crate::Plan;
use crate::data::{Content, Rows, Sample};
use crate::landfall::{Landfall, seconds_between};
use crate::peers::{PEERS, run_program};
use crate::profile::{CpuUsage, wait_until_idle};
use crate::result::{Missing, Part, Run, as_float};
use crate::tables::Database;

/// Records of the API, unless fewer rows are wanted.
const RECORDS: u64 = 1_000_000;
const PAGE: u64 = 1_000;
/// Rows whose names and descriptions the records have.
const TEXTS: u64 = 100_000;
const WARM_UP: u64 = 50_000;
const LANDFALL: &str = "Landfall";
const WHAT: &str =
    "definition of the source to completion event: upserts by key into a table without rows";
const SCRIPT: &str = "dlt_rest_api.py";
const WITHIN: Duration = Duration::from_mins(30);
/// How many times as fast as dlt Landfall is to be.
const GOAL: f64 = 10.0;

/// The ways in which dlt writes, with their names and descriptions.
const DISPOSITIONS: [(&str, &str, &str); 2] = [
    (
        "upsert",
        "dlt rest_api, upsert",
        "write disposition merge, strategy upsert, CSV files by COPY, a normalizing process for each core",
    ),
    (
        "append",
        "dlt rest_api, append",
        "write disposition append, which checks no key; else the same",
    ),
];

pub(crate) async fn measure(plan: &Plan, progress: &Lines) -> Result<Part> {
    let title = "Sources: pages of 1,000 records into PostgreSQL";
    let mut part = plan.part("sources", title);
    let records = RECORDS.min(plan.rows);
    progress.step("sources: making the pages");
    let texts = Sample::make(plan.directory(), TEXTS.min(records), 1)?;
    let (pages, expected) = pages(&Rows::read(&texts.clean)?, records)?;
    let bytes: usize = pages.iter().map(String::len).sum();
    part.figure(
        "size of all pages",
        as_float(bytes as u64) / 1e6,
        "MB",
        None,
    );
    let server = serve(pages).await?;

    let landfall = Landfall::start(Stores::Sql, Sql::Postgres, progress).await?;
    let url = landfall.stack.sql_url();
    part.versions.extend([Database::at(url).version().await?]);
    let (warm_up, _) = self::pages(&Rows::read(&texts.clean)?, WARM_UP.min(records))?;
    let warm_up = serve(warm_up).await?;
    progress.step("sources: warming up");
    pull(
        &landfall,
        "pulled_first",
        warm_up.url(),
        WARM_UP.min(records),
    )
    .await?;
    let python = python_environment(PEERS, progress).await;
    let python = python.map_err(|error| format!("{error:#}"));

    for run in 0..plan.runs {
        let step = |name: &str| progress.step(&format!("sources, run {}: {name}", run + 1));
        step(LANDFALL);
        let dataset = format!("pulled_{run}");
        wait_until_idle().await;
        let measured = pull(&landfall, &dataset, server.url(), records).await?;
        expected.check(Database::at(url).content(&dataset).await?, &dataset)?;
        landfall.drop_tables(&dataset).await?;
        part.add(LANDFALL, WHAT, records, measured);
        for (disposition, name, what) in DISPOSITIONS {
            if part.missing.iter().any(|missing| missing.name == name) {
                continue;
            }
            step(name);
            wait_until_idle().await;
            let table = format!("peer_dlt_{disposition}.products");
            let measured = match &python {
                Ok(bin) => dlt(plan, bin, server.url(), url, &table, disposition).await,
                Err(why) => Err(anyhow::anyhow!("{why}")),
            };
            match measured {
                Ok(measured) => {
                    expected.check(Database::at(url).content(&table).await?, &table)?;
                    part.add(name, what, records, measured);
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    progress.note(&format!("NOT MEASURED: {name}: {why}"));
                    part.missing.push(Missing {
                        name: name.to_owned(),
                        why,
                    });
                }
            }
            Database::at(url).remove(&table).await?;
        }
    }
    let [(_, upsert, _), (_, append, _)] = DISPOSITIONS;
    part.compare("keyed records", LANDFALL, &[upsert], Some(GOAL));
    part.compare("records without a key", LANDFALL, &[append], None);
    landfall.stack.stop();
    Ok(part)
}

/// Returns the pages of an API with so many records, and what a table of them has. Each record has a unique
/// key, and the texts of a row.
fn pages(texts: &Rows, records: u64) -> Result<(Vec<String>, Content)> {
    ensure!(texts.len() > 0, "there are no rows");
    let (mut pages, mut content) = (Vec::new(), Content::default());
    let mut page = String::new();
    for (record, index) in (0..records).zip((0..texts.len()).cycle()) {
        let [_, name, description] = texts.get(index);
        let start = if page.is_empty() {
            "{\"records\":["
        } else {
            ","
        };
        let (name_json, description_json) = (
            serde_json::to_string(name)?,
            serde_json::to_string(description)?,
        );
        write!(
            page,
            "{start}{{\"sku\":\"{record:012}\",\"name\":{name_json},\"description\":{description_json}}}"
        )?;
        content.rows += 1;
        content.name_bytes += name.len() as u64;
        content.description_bytes += description.len() as u64;
        if (record + 1) % PAGE == 0 || record + 1 == records {
            let next = pages.len() + 1;
            let next = if record + 1 == records {
                "null".to_owned()
            } else {
                next.to_string()
            };
            write!(page, "],\"next\":{next}}}")?;
            pages.push(std::mem::take(&mut page));
        }
    }
    Ok((pages, content))
}

async fn serve(pages: Vec<String>) -> Result<PageServer> {
    let pages: Vec<Bytes> = pages.into_iter().map(Into::into).collect();
    let page = move |number| pages.get(usize::try_from(number).ok()?).cloned();
    PageServer::start(page).await
}

/// Defines a source and its dataset, has the puller run, and waits for the completion event.
async fn pull(landfall: &Landfall, name: &str, url: &str, records: u64) -> Result<Run> {
    let stack = &landfall.stack;
    landfall.dataset(name).await?;
    let definition = format!(
        "dataset = \"{name}\"\nurl = \"{url}\"\nevery = \"1 day\"\nrecords = \"records\"\n\
         paging = {{ kind = \"cursor\", parameter = \"page\", cursor = \"next\" }}\n\
         limits = {{ requests_per_second = 1000 }}\n"
    );
    let (before, started) = (CpuUsage::now(), SystemTime::now());
    stack.put_source(name, &definition).await?;
    let (fetched, event) = tokio::try_join!(invoke(stack), landfall.completion(name))?;
    let counts = &event.detail.counts;
    ensure!(
        event.detail.state == JobState::Succeeded && counts.rows == records && counts.rejected == 0,
        "the job of {name} is {} with {} of {records} rows, {} of them rejected",
        event.detail.state.as_str(),
        counts.rows,
        counts.rejected
    );
    let run = Run {
        seconds: seconds_between(started, event.sent)?,
        put_seconds: Some(seconds_between(started, fetched)?),
        cpu_seconds: CpuUsage::now().since(&before),
        ..Run::default()
    };
    // The scheduled runs of the puller go on, and the endpoint keeps objects in memory.
    let key = format!("sources/{name}.toml");
    remove(stack, &stack.outputs().config_bucket, &key).await?;
    let objects = stack.s3().list_objects_v2();
    let inbox = &stack.outputs().inbox_bucket;
    let objects = objects
        .bucket(inbox)
        .prefix(format!("{name}/"))
        .send()
        .await?;
    for key in objects.contents().iter().filter_map(|object| object.key()) {
        remove(stack, inbox, key).await?;
    }
    Ok(run)
}

/// Runs the puller, and returns when it had fetched what is due.
async fn invoke(stack: &Stack) -> Result<SystemTime> {
    let invoked = aws_sdk_lambda::Client::new(stack.sdk_config()).invoke();
    let invoked = invoked.function_name(&stack.outputs().puller_function);
    let invoked = invoked.payload(Blob::new("{}")).send().await;
    let invoked = invoked.context("cannot call the puller")?;
    if let Some(error) = invoked.function_error {
        bail!("the puller failed: {error}");
    }
    Ok(SystemTime::now())
}

/// Removes all versions of an object.
async fn remove(stack: &Stack, bucket: &str, key: &str) -> Result<()> {
    let versions = stack.s3().list_object_versions().bucket(bucket).prefix(key);
    let versions = versions.send().await?;
    for version in versions.versions() {
        let delete = stack.s3().delete_object().bucket(bucket).key(key);
        let delete = delete.set_version_id(version.version_id.clone());
        delete
            .send()
            .await
            .with_context(|| format!("cannot delete {key}"))?;
    }
    Ok(())
}

/// Loads all pages with dlt.
async fn dlt(
    plan: &Plan,
    bin: &Path,
    pages: &str,
    url: &str,
    table: &str,
    disposition: &str,
) -> Result<Run> {
    let script = plan.directory().join(SCRIPT);
    fs::write(&script, include_str!("dlt_rest_api.py"))?;
    let mut command = Command::new(bin.join("python"));
    command.arg(&script).args([pages, url, table, disposition]);
    let output = tokio::time::timeout(WITHIN, run_program(plan.directory(), command));
    let output = output
        .await
        .with_context(|| format!("it took more than {} s", WITHIN.as_secs()))??;
    let last = output.lines().last().unwrap_or_default();
    let seconds = last
        .parse()
        .with_context(|| format!("{SCRIPT} printed {last:?} instead of its seconds"))?;
    Ok(Run {
        seconds,
        ..Run::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_record_is_on_one_page_and_each_page_leads_to_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let texts = Sample::make(directory.path(), 300, 1).unwrap();
        let (pages, content) = pages(&Rows::read(&texts.clean).unwrap(), 2_500).unwrap();
        let pages: Vec<Value> = pages.iter().map(|page| page.parse().unwrap()).collect();
        let next: Vec<_> = pages.iter().map(|page| page["next"].as_u64()).collect();
        assert_eq!(next, [Some(1), Some(2), None]);
        let records = pages
            .iter()
            .flat_map(|page| page["records"].as_array().unwrap());
        let skus: Vec<_> = records
            .map(|record| record["sku"].as_str().unwrap())
            .collect();
        assert_eq!((skus.len(), skus[2_499]), (2_500, "000000002499"));
        assert!(skus.is_sorted_by(|a, b| a < b));
        assert_eq!(content.rows, 2_500);
        assert!(content.name_bytes > 0 && content.description_bytes > 0);
    }
}
