//! Destinations of a stack: what waits for them, and what operators do with them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use landfall_aws::{Datasets, DestinationLookup, Destinations};
use landfall_destinations::Destination;
use landfall_domain::{ChangeState, Dataset, Value};
use landfall_ledger::{
    DestinationTable, DestinationView, DynamoTable, MAX_TASK_BYTES, Pause, Task, TaskRequest,
    TaskSelection, request_task,
};
use landfall_runtime::Environment;
use landfall_stores::{ChangeReader, ChangeSummary};
use tokio::time::{Instant, sleep};

use super::lines::{describe, describe_change, describe_details};

/// How often a task that is waited for is looked at.
const POLL: Duration = Duration::from_secs(1);
/// How long a task is waited for.
const WITHIN: Duration = Duration::from_hours(1);
/// The number of changes that are read at once.
const PAGE: usize = 100;

/// The destinations of the stack that the environment variables name.
pub(crate) struct Stack {
    environment: Environment,
    definitions: Destinations,
    datasets: Arc<Datasets>,
    table: DynamoTable,
}

/// Keys to send again.
pub(crate) enum Keys {
    /// These, each with its value, or with a JSON array of several values.
    Named(Vec<String>),
    /// All that have one of these states.
    Of(Vec<ChangeState>),
}

impl Stack {
    /// Opens the buckets and the ledger.
    pub(crate) async fn open() -> Result<Self> {
        let environment = Environment::load().await;
        Ok(Self {
            definitions: environment.destinations()?,
            datasets: Arc::new(environment.datasets()?),
            table: environment.ledger_table()?,
            environment,
        })
    }

    /// Returns a line about each destination, or one with the file, line, setting and message of its error.
    pub(crate) async fn list(&self) -> Result<Vec<Result<String, String>>> {
        let mut lines = Vec::new();
        for name in self.definitions.names(None).await? {
            match self.definitions.lookup(&name, &self.datasets).await? {
                DestinationLookup::Found(found) => {
                    lines.push(Ok(describe(&self.view(&found).await?)));
                }
                DestinationLookup::Bad(error, _) => lines.push(Err(error.to_string())),
                DestinationLookup::Unknown => {}
            }
        }
        Ok(lines)
    }

    /// Returns lines about a destination.
    pub(crate) async fn show(&self, name: &str) -> Result<Vec<String>> {
        let destination = self.destination(name).await?;
        let stored = self.table.destination(name).await?;
        let tasks = self.table.tasks(name).await?.tasks;
        let now = Timestamp::now();
        let summary = self.summary(&destination, now).await?;
        let view = DestinationView::new(&destination, &stored, now);
        let tasks = tasks.kept(now);
        Ok(describe_details(&view, &summary, &stored.notes, tasks, now))
    }

    /// Returns a line of JSON about each change of a state.
    pub(crate) async fn changes(
        &self,
        name: &str,
        state: ChangeState,
        limit: u64,
    ) -> Result<Vec<String>> {
        let destination = self.destination(name).await?;
        let (dataset, reader) = (destination.dataset(), self.reader().await?);
        let limit = usize::try_from(limit)?;
        let (mut lines, mut after) = (Vec::new(), None);
        loop {
            let wanted = (limit - lines.len()).min(PAGE);
            let page = reader.list(dataset, name, state, after.as_deref(), wanted);
            let page = page.await?;
            for change in &page.changes {
                lines.push(describe_change(dataset, change)?);
            }
            after = page.next;
            if after.is_none() || lines.len() >= limit {
                return Ok(lines);
            }
        }
    }

    /// Requests that keys are sent again.
    pub(crate) async fn redrive(
        &self,
        name: &str,
        keys: Keys,
        answer: Option<String>,
        by: &str,
    ) -> Result<Task> {
        let destination = self.destination(name).await?;
        let (selection, most) = match keys {
            Keys::Named(keys) => {
                let keys = keys.iter().map(|key| texts(destination.dataset(), key));
                let keys: Vec<Vec<String>> = keys.collect::<Result<_>>()?;
                let bytes: usize = keys.iter().flatten().map(String::len).sum();
                ensure!(
                    bytes <= MAX_TASK_BYTES,
                    "there are too many keys: redrive fewer at once"
                );
                let most = keys.len() as u64;
                (TaskSelection::Keys(keys), most)
            }
            Keys::Of(states) => {
                let summary = self.summary(&destination, Timestamp::now()).await?;
                let most = summary.redriven(&states);
                (TaskSelection::Matching { states, answer }, most)
            }
        };
        let request = TaskRequest::Redrive { selection, most };
        self.request(name, &request, by).await
    }

    /// Requests that rows are sent which the destination has never had to do with.
    pub(crate) async fn sync(&self, name: &str, by: &str) -> Result<Task> {
        self.destination(name).await?;
        self.request(name, &TaskRequest::Sync, by).await
    }

    async fn request(&self, name: &str, request: &TaskRequest, by: &str) -> Result<Task> {
        let requested = request_task(&self.table, name, request, by, Timestamp::now());
        Ok(requested.await.context("cannot request the task")??)
    }

    /// Waits until a task is finished, at most an hour, and returns it.
    pub(crate) async fn wait(&self, name: &str, task: Task) -> Result<Task> {
        let stop_at = Instant::now() + WITHIN;
        while Instant::now() < stop_at {
            let tasks = self.table.tasks(name).await?.tasks;
            let found = tasks.find(task.id, Timestamp::now());
            let found = found.context("the task is not kept any more")?;
            if found.finished_at.is_some() {
                return Ok(found.clone());
            }
            sleep(POLL).await;
        }
        bail!("task {} is not finished after an hour", task.id)
    }

    /// Returns who has paused a destination, if it is paused.
    pub(crate) async fn find_pause(&self, name: &str) -> Result<Option<Pause>> {
        Ok(self.table.destination(name).await?.pause)
    }

    /// Pauses a destination. Returns who has paused it.
    pub(crate) async fn pause(&self, name: &str, by: &str) -> Result<Pause> {
        self.destination(name).await?;
        let paused = self.table.pause_destination(name, by).await;
        paused.context("cannot pause the destination")
    }

    /// Resumes a destination.
    pub(crate) async fn resume(&self, name: &str) -> Result<()> {
        let resumed = self.table.resume_destination(name).await;
        resumed.context("cannot resume the destination")
    }

    async fn view(&self, destination: &Destination) -> Result<DestinationView> {
        let stored = self.table.destination(&destination.name).await?;
        Ok(DestinationView::new(destination, &stored, Timestamp::now()))
    }

    async fn reader(&self) -> Result<Arc<dyn ChangeReader>> {
        Ok(self.environment.change_reader().await?)
    }

    async fn summary(&self, destination: &Destination, now: Timestamp) -> Result<ChangeSummary> {
        let reader = self.reader().await?;
        let (dataset, name) = (destination.dataset(), &destination.name);
        Ok(reader.summary(dataset, name, now).await?)
    }

    async fn destination(&self, name: &str) -> Result<Box<Destination>> {
        match self.definitions.lookup(name, &self.datasets).await? {
            DestinationLookup::Found(destination) => Ok(destination),
            DestinationLookup::Bad(error, _) => Err(error.into()),
            DestinationLookup::Unknown => bail!("there is no destination {name:?}"),
        }
    }
}

/// Returns the texts of the values of a key: a single one, or a JSON array of several.
fn texts(dataset: &Dataset, key: &str) -> Result<Vec<String>> {
    let fields: Vec<_> = dataset.key_fields().collect();
    let values: Vec<String> = if fields.len() == 1 {
        vec![key.to_owned()]
    } else {
        let values: Vec<serde_json::Value> =
            serde_json::from_str(key).with_context(|| format!("{key} is not a JSON array"))?;
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        values.into_iter().map(text).collect()
    };
    let count = fields.len();
    ensure!(
        values.len() == count,
        "a key of {} has {count} values",
        dataset.name
    );
    let texts = fields.iter().zip(values).map(|(field, text)| {
        let value = Value::from_text(field.kind, &text);
        let value = value.with_context(|| format!("{}: {text:?}", field.name))?;
        let text = value.to_text().map(std::borrow::Cow::into_owned);
        text.with_context(|| format!("{} is empty", field.name))
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_several_fields_is_a_json_array() {
        let dataset = |key: &str| {
            let fields =
                "[{ name = \"a\", type = \"text\" }, { name = \"b\", type = \"integer\" }]";
            let text = format!("name = \"d\"\nkey = {key}\nfields = {fields}");
            Dataset::from_toml("d.toml", &text).unwrap()
        };
        let one = dataset("[\"b\"]");
        assert_eq!(texts(&one, "7").unwrap(), ["7"]);
        assert!(texts(&one, "x").is_err());
        let two = dataset("[\"a\", \"b\"]");
        assert_eq!(texts(&two, "[\"x,y\", 7]").unwrap(), ["x,y", "7"]);
        for wrong in ["x", "[\"x\"]", "[\"x\", \"y\"]"] {
            assert!(texts(&two, wrong).is_err(), "{wrong}");
        }
    }
}
