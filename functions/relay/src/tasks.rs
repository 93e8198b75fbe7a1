//! Tasks that operators have requested: redrives and first synchronisations.
//!
//! Each step makes a bounded number of keys due, in the store, and records that in the ledger afterwards. Steps are
//! safe to repeat: a relay that dies in between, or another one at the same time, at most counts fewer keys, or makes
//! some due once more.

use jiff::Timestamp;
use landfall_destinations::Destination;
use landfall_domain::{QueryError, Value};
use landfall_ledger::{Task, TaskSelection, change_tasks};
use landfall_stores::{Selection, StoreError};

use crate::batch::keys;
use crate::{Context, RelayError};

/// The least number of keys or rows of a step.
const MIN_KEYS: usize = 100;

/// What a step of a task has done.
enum Stepped {
    /// It has made so many more keys due.
    Redriven(u64),
    /// All its steps so far have made so many keys due.
    Synchronised(u64),
}

/// Takes steps of the unfinished tasks of a destination, each until about as many keys are due as a lease has. Returns
/// whether tasks are left.
pub(crate) async fn step(
    context: &Context,
    destination: &Destination,
    stop_at: Timestamp,
) -> Result<bool, RelayError> {
    let table = &*context.destinations_table;
    let stored = table.tasks(&destination.name).await?;
    let mut is_left = false;
    for task in stored.tasks.open() {
        is_left |= !run(context, destination, task, stop_at).await?;
    }
    Ok(is_left)
}

/// Takes steps of a task. Returns whether it is finished.
async fn run(
    context: &Context,
    destination: &Destination,
    task: &Task,
    stop_at: Timestamp,
) -> Result<bool, RelayError> {
    let (stepped, is_done) = match &task.selection {
        None => synchronise(context, destination, task, stop_at).await?,
        Some(selected) => match redrive(context, destination, task, selected).await {
            Ok((redriven, is_done)) => (Stepped::Redriven(redriven), is_done),
            // The definition of the dataset may have changed since.
            Err(RelayError::Store(StoreError::Query(error))) => {
                finish(context, destination, task.id, error.to_string()).await?;
                return Ok(true);
            }
            Err(error) => return Err(error),
        },
    };
    let now = context.clock.now();
    let table = &*context.destinations_table;
    let recorded = change_tasks(table, &destination.name, |tasks| {
        let is_open = tasks.update(task.id, |task| {
            match stepped {
                Stepped::Redriven(keys) => task.keys += keys,
                Stepped::Synchronised(keys) => task.keys = task.keys.max(keys),
            }
            if is_done {
                task.finish(now, None);
            }
        });
        // Otherwise, another relay has finished it.
        is_open.then_some(())
    });
    Ok(recorded.await?.is_none() || is_done)
}

/// Makes keys due that were sent before. Returns their number, and whether that was all.
async fn redrive(
    context: &Context,
    destination: &Destination,
    task: &Task,
    selected: &TaskSelection,
) -> Result<(u64, bool), RelayError> {
    let left = task.most.unwrap_or(u64::MAX).saturating_sub(task.keys);
    let (selection, limit) = match selected {
        TaskSelection::Keys(keys) => {
            let keys: Result<Vec<_>, _> = keys.iter().map(|key| values(destination, key)).collect();
            let keys = keys.map_err(StoreError::Query)?;
            let count = keys.len();
            (Selection::Keys(keys), count)
        }
        TaskSelection::Matching { states, answer } => {
            let selection = Selection::Matching {
                states: states.clone(),
                answer: answer.clone(),
            };
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            (selection, step_keys(destination).min(most))
        }
    };
    if limit == 0 {
        return Ok((0, true));
    }
    let (dataset, name, now) = (
        destination.dataset(),
        &destination.name,
        context.clock.now(),
    );
    let redriven = context.store.redrive(dataset, name, &selection, now, limit);
    let redriven = redriven.await?;
    let is_whole = matches!(selection, Selection::Keys(_)) || redriven == 0 || redriven >= left;
    Ok((redriven, is_whole))
}

/// Parses the values of a key.
fn values(destination: &Destination, texts: &[String]) -> Result<Vec<Value>, QueryError> {
    let dataset = destination.dataset();
    let fields = dataset.key_fields();
    let values = fields.zip(texts).map(|(field, text)| {
        Value::from_text(field.kind, text).map_err(|error| QueryError::Value {
            field: field.name.clone(),
            message: error.to_string(),
        })
    });
    values.collect()
}

/// Makes rows due that the destination has never had to do with.
async fn synchronise(
    context: &Context,
    destination: &Destination,
    task: &Task,
    stop_at: Timestamp,
) -> Result<(Stepped, bool), RelayError> {
    let (dataset, name) = (destination.dataset(), &destination.name);
    let keys = step_keys(destination) as u64;
    loop {
        let now = context.clock.now();
        let step = context.store.sync_step(dataset, name, now, keys).await?;
        let is_enough = step.marked >= task.keys.saturating_add(keys);
        if step.is_done || is_enough || context.clock.now() >= stop_at {
            return Ok((Stepped::Synchronised(step.marked), step.is_done));
        }
    }
}

/// Returns the number of keys or rows of a step.
fn step_keys(destination: &Destination) -> usize {
    keys(destination).max(MIN_KEYS)
}

/// Records why a task cannot be carried out.
async fn finish(
    context: &Context,
    destination: &Destination,
    task: u64,
    problem: String,
) -> Result<(), RelayError> {
    let now = context.clock.now();
    let table = &*context.destinations_table;
    let finished = change_tasks(table, &destination.name, |tasks| {
        let finished = tasks.update(task, |task| task.finish(now, Some(problem.clone())));
        finished.then_some(())
    });
    finished.await.map(drop).map_err(RelayError::from)
}
