use async_trait::async_trait;
use jiff::Timestamp;
use landfall_aws::AwsError;
use landfall_aws::dynamo::{find, number, require, text};
use landfall_destinations::Breaker;
use serde::{Deserialize, Serialize};

use crate::dynamo::{Updated, attribute};
use crate::head::now;
use crate::item::{destination_key, destination_tasks_key};
use crate::source::{parse, to_json};
use crate::{DynamoTable, LedgerError, MemoryTable, Pause, Task, TaskRequest, Tasks, TooManyTasks};

/// The maximum number of errors of a destination that are kept.
const MAX_ERRORS: usize = 5;
/// How much of an error is kept, in characters.
const MAX_ERROR_CHARS: usize = 300;
/// How many times tasks are read again that others change meanwhile.
const ROUNDS: usize = 16;

/// What is recorded about a destination.
#[derive(Clone, Debug, Default)]
pub struct StoredDestination {
    /// Its circuit.
    pub breaker: Breaker,
    /// The revision of the circuit, which grows with each change; 0 if none is stored.
    pub revision: u64,
    /// Until when a relay that works on it expects to do so. Others need not.
    pub busy_until: Option<Timestamp>,
    /// Who paused the destination.
    pub pause: Option<Pause>,
    /// What went wrong lately.
    pub notes: DestinationNotes,
}

/// An error of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DestinationError {
    /// When; RFC 3339.
    pub at: String,
    /// What the service answered, or why nothing could be sent.
    pub message: String,
}

/// What went wrong at a destination lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationNotes {
    /// Why a relay could send nothing; none after one that could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<DestinationError>,
    /// The last errors, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<DestinationError>,
}

impl DestinationError {
    /// Returns an error with the beginning of a message.
    pub fn new(at: Timestamp, message: &str) -> Self {
        Self {
            at: format!("{at:.3}"),
            message: message.chars().take(MAX_ERROR_CHARS).collect(),
        }
    }
}

impl DestinationNotes {
    /// Adds errors, the newest last. Only the last ones of all are kept.
    pub fn add(&mut self, errors: impl IntoIterator<Item = DestinationError>) {
        for error in errors {
            self.errors.insert(0, error);
            self.errors.truncate(MAX_ERRORS);
        }
    }
}

/// The tasks of a destination, and their revision.
#[derive(Clone, Debug, Default)]
pub struct StoredTasks {
    /// The tasks.
    pub tasks: Tasks,
    /// The number of times that they were stored.
    pub revision: u64,
}

/// What is recorded about destinations, shared by all relays.
///
/// The circuit and the tasks are single attributes of items, which are replaced by conditional writes on the revision
/// that was read. A pause is a separate attribute, so it never invalidates them.
#[async_trait]
pub trait DestinationTable: Send + Sync {
    /// Returns what is recorded about a destination.
    async fn destination(&self, name: &str) -> Result<StoredDestination, LedgerError>;

    /// Stores the circuit of a destination, unless it has changed since this revision. Returns the new revision, or
    /// `None` if it has changed.
    async fn save_breaker(
        &self,
        name: &str,
        breaker: &Breaker,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError>;

    /// Sets until when a relay works on a destination; none if it has ended. This excludes no other relay: it only
    /// saves their work.
    async fn set_busy(&self, name: &str, until: Option<Timestamp>) -> Result<(), LedgerError>;

    /// Stores what went wrong lately. Of two relays that do so at once, one counts.
    async fn save_notes(&self, name: &str, notes: &DestinationNotes) -> Result<(), LedgerError>;

    /// Pauses a destination, unless it is paused. Returns who paused it.
    async fn pause_destination(&self, name: &str, by: &str) -> Result<Pause, LedgerError>;

    /// Resumes a destination.
    async fn resume_destination(&self, name: &str) -> Result<(), LedgerError>;

    /// Returns the tasks of a destination.
    async fn tasks(&self, name: &str) -> Result<StoredTasks, LedgerError>;

    /// Stores the tasks of a destination, unless they have changed since this revision. Returns the new revision, or
    /// `None` if they have changed.
    async fn save_tasks(
        &self,
        name: &str,
        tasks: &Tasks,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError>;
}

/// Changes the tasks of a destination, also if others do so at the same time. `change` returns nothing if there is
/// nothing to store.
pub async fn change_tasks<T>(
    table: &dyn DestinationTable,
    name: &str,
    mut change: impl FnMut(&mut Tasks) -> Option<T>,
) -> Result<Option<T>, LedgerError> {
    for _ in 0..ROUNDS {
        let StoredTasks {
            mut tasks,
            revision,
        } = table.tasks(name).await?;
        let before = tasks.clone();
        let Some(changed) = change(&mut tasks) else {
            return Ok(None);
        };
        if tasks == before || table.save_tasks(name, &tasks, revision).await?.is_some() {
            return Ok(Some(changed));
        }
    }
    Err(AwsError::unavailable("UpdateItem", name, "the tasks kept changing").into())
}

/// Adds a task of a destination, unless one that does the same is unfinished. Returns the task.
pub async fn request_task(
    table: &dyn DestinationTable,
    name: &str,
    request: &TaskRequest,
    by: &str,
    now: Timestamp,
) -> Result<Result<Task, TooManyTasks>, LedgerError> {
    let mut refused = TooManyTasks;
    let added = change_tasks(table, name, |tasks| {
        let added = tasks.add(request.clone(), by, now);
        added.map_err(|error| refused = error).ok()
    });
    Ok(added.await?.ok_or(refused))
}

#[async_trait]
impl DestinationTable for DynamoTable {
    async fn destination(&self, name: &str) -> Result<StoredDestination, LedgerError> {
        let key = destination_key(name);
        let Some(item) = self.get(&key).await? else {
            return Ok(StoredDestination::default());
        };
        let corrupt = |error| LedgerError::corrupt(&key, error);
        let breaker: Option<String> = find(&item, "breaker").map_err(corrupt)?;
        let breaker = breaker.map(|json| parse(&key, &json)).transpose()?;
        let notes: Option<String> = find(&item, "notes").map_err(corrupt)?;
        let notes = notes.map(|json| parse(&key, &json)).transpose()?;
        let busy_until: Option<i64> = find(&item, "busy_until").map_err(corrupt)?;
        let time = |milliseconds| {
            let time = Timestamp::from_millisecond(milliseconds);
            time.map_err(|error| LedgerError::corrupt(&key, error))
        };
        Ok(StoredDestination {
            breaker: breaker.unwrap_or_default(),
            revision: find(&item, "revision").map_err(corrupt)?.unwrap_or(0),
            busy_until: busy_until.map(time).transpose()?,
            pause: find(&item, "paused").map_err(corrupt)?,
            notes: notes.unwrap_or_default(),
        })
    }

    async fn save_breaker(
        &self,
        name: &str,
        breaker: &Breaker,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        let key = destination_key(name);
        let json = to_json(&key, breaker)?;
        self.save_revision(&key, "breaker", &json, revision).await
    }

    async fn set_busy(&self, name: &str, until: Option<Timestamp>) -> Result<(), LedgerError> {
        let key = destination_key(name);
        let update = self.update(&key);
        let update = match until {
            None => update.update_expression("REMOVE busy_until"),
            Some(until) => update
                .update_expression("SET busy_until = :until")
                .expression_attribute_values(":until", number(until.as_millisecond())),
        };
        let sent = update.send().await.map(drop);
        sent.map_err(|error| AwsError::from_sdk("UpdateItem", &key, &error).into())
    }

    async fn save_notes(&self, name: &str, notes: &DestinationNotes) -> Result<(), LedgerError> {
        let key = destination_key(name);
        self.update(&key)
            .update_expression("SET notes = :notes")
            .expression_attribute_values(":notes", text(to_json(&key, notes)?))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::from_sdk("UpdateItem", &key, &error).into())
    }

    async fn pause_destination(&self, name: &str, by: &str) -> Result<Pause, LedgerError> {
        let key = destination_key(name);
        let pause = Pause {
            by: by.to_owned(),
            at: now(),
        };
        let update = self
            .update(&key)
            .update_expression("SET paused = if_not_exists(paused, :pause)")
            .expression_attribute_values(":pause", attribute(&key, &pause)?);
        let (Updated::Applied(item) | Updated::Unmet(item)) =
            self.send(key.clone(), update).await?;
        require(&item, "paused").map_err(|error| LedgerError::corrupt(&key, error))
    }

    async fn resume_destination(&self, name: &str) -> Result<(), LedgerError> {
        let key = destination_key(name);
        let update = self.update(&key).update_expression("REMOVE paused");
        let sent = update.send().await.map(drop);
        sent.map_err(|error| AwsError::from_sdk("UpdateItem", &key, &error).into())
    }

    async fn tasks(&self, name: &str) -> Result<StoredTasks, LedgerError> {
        let key = destination_tasks_key(name);
        let Some(item) = self.get(&key).await? else {
            return Ok(StoredTasks::default());
        };
        let corrupt = |error| LedgerError::corrupt(&key, error);
        let tasks: String = require(&item, "tasks").map_err(corrupt)?;
        Ok(StoredTasks {
            tasks: parse(&key, &tasks)?,
            revision: require(&item, "revision").map_err(corrupt)?,
        })
    }

    async fn save_tasks(
        &self,
        name: &str,
        tasks: &Tasks,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        let key = destination_tasks_key(name);
        let json = to_json(&key, tasks)?;
        self.save_revision(&key, "tasks", &json, revision).await
    }
}

/// What is recorded about a destination in memory.
#[derive(Default)]
pub(crate) struct MemoryDestination {
    stored: StoredDestination,
    tasks: StoredTasks,
}

#[async_trait]
impl DestinationTable for MemoryTable {
    async fn destination(&self, name: &str) -> Result<StoredDestination, LedgerError> {
        let items = self.items();
        let found = items.destinations.get(name);
        Ok(found.map(|found| found.stored.clone()).unwrap_or_default())
    }

    async fn save_breaker(
        &self,
        name: &str,
        breaker: &Breaker,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        let mut items = self.items();
        let MemoryDestination { stored, .. } = items.destination(name);
        if stored.revision != revision {
            return Ok(None);
        }
        stored.breaker = breaker.clone();
        stored.revision += 1;
        Ok(Some(stored.revision))
    }

    async fn set_busy(&self, name: &str, until: Option<Timestamp>) -> Result<(), LedgerError> {
        self.items().destination(name).stored.busy_until = until;
        Ok(())
    }

    async fn save_notes(&self, name: &str, notes: &DestinationNotes) -> Result<(), LedgerError> {
        self.items().destination(name).stored.notes = notes.clone();
        Ok(())
    }

    async fn pause_destination(&self, name: &str, by: &str) -> Result<Pause, LedgerError> {
        let mut items = self.items();
        let MemoryDestination { stored, .. } = items.destination(name);
        let pause = stored.pause.get_or_insert_with(|| Pause {
            by: by.to_owned(),
            at: now(),
        });
        Ok(pause.clone())
    }

    async fn resume_destination(&self, name: &str) -> Result<(), LedgerError> {
        self.items().destination(name).stored.pause = None;
        Ok(())
    }

    async fn tasks(&self, name: &str) -> Result<StoredTasks, LedgerError> {
        let items = self.items();
        let found = items.destinations.get(name);
        Ok(found.map(|found| found.tasks.clone()).unwrap_or_default())
    }

    async fn save_tasks(
        &self,
        name: &str,
        tasks: &Tasks,
        revision: u64,
    ) -> Result<Option<u64>, LedgerError> {
        // As it is stored, so that what JSON cannot hold is noticed.
        let saved = parse(name, &to_json(name, tasks)?)?;
        let mut items = self.items();
        let MemoryDestination { tasks, .. } = items.destination(name);
        if tasks.revision != revision {
            return Ok(None);
        }
        tasks.tasks = saved;
        tasks.revision += 1;
        Ok(Some(tasks.revision))
    }
}
