//! Writes of single rows by the API.
//!
//! A write is stored when all stores have its row, or something newer of its key. Only then it is recorded, so a worker
//! that dies before repeats it, and meets a row of the same version. A message that is delivered again after that
//! changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future;
use landfall_domain::{
    ByteRange, Dataset, Field, ObjectOrder, Row, RowOutcome, StoreKind, Value, ValueError,
    WriteMessage, WriteProblem, WriteState, WrittenRow,
};
use landfall_formats::Written;
use landfall_ledger::WriteEnd;
use landfall_runtime::Metric;
use landfall_stores::StoreError;
use tracing::{error, info};

use crate::delivery::Delivery;
use crate::give_up::{GivenUp, attempt, give_up, worker_died};
use crate::prepare::{check_age, prepare_stores};
use crate::wait::wait_for_resume;
use crate::{Context, WorkError, bell};

/// Remembers for which datasets the ledger says that the API deletes rows.
#[derive(Default)]
pub(crate) struct Deletable(Mutex<HashSet<String>>);

impl Deletable {
    /// Records in the ledger that the API deletes rows of a dataset, unless this process has.
    pub(crate) async fn record(&self, context: &Context, dataset: &str) -> Result<(), WorkError> {
        let recorded = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !recorded().contains(dataset) {
            context.writes.allow_deletes(dataset).await?;
            recorded().insert(dataset.to_owned());
        }
        Ok(())
    }
}

/// Applies a write to all stores, and records what became of it.
pub(crate) async fn process(
    context: &Context,
    message: &WriteMessage,
    delivery: Delivery,
) -> Result<(), WorkError> {
    let given_up = if delivery.is_beyond_last() {
        Some(worker_died())
    } else {
        let applied = attempt(delivery, async |is_first| {
            apply(context, message, is_first).await
        });
        match applied.await {
            Ok(None) => {
                info!("the write has ended already");
                return Ok(());
            }
            Ok(Some(stores)) => {
                let is_create = message.created_at.is_some();
                // A create is not recorded: whether its row is new says whether this delivery is the first.
                let inserted = stores
                    .values()
                    .any(|outcome| *outcome == RowOutcome::Inserted);
                let is_new = if is_create {
                    inserted
                } else {
                    end(context, message, &WriteEnd::Stored(stores)).await?
                };
                if is_new {
                    let dataset = message.dataset.name.as_str();
                    let metrics = &[Metric::Rows(1)];
                    context.metrics.write(Some(dataset), None, metrics);
                }
                info!("the write is stored");
                None
            }
            Err(error) => Some(give_up(context, delivery, error).await?),
        }
    };
    if let Some(GivenUp { code, reason }) = given_up {
        let problem = WriteProblem::new(code, reason);
        let (code, reason) = (code.as_str(), problem.message.clone());
        if message.created_at.is_none() {
            end(context, message, &WriteEnd::Failed(problem)).await?;
        }
        error!(code, reason, "the write has failed");
    }
    Ok(())
}

async fn end(context: &Context, message: &WriteMessage, end: &WriteEnd) -> Result<bool, WorkError> {
    let now = context.circuits.now();
    Ok(context.writes.end_write(message.write, end, now).await?)
}

/// Applies a write to all stores. Returns what it did in each; `None` if it has ended before.
async fn apply(
    context: &Context,
    message: &WriteMessage,
    is_first: bool,
) -> Result<Option<BTreeMap<StoreKind, RowOutcome>>, WorkError> {
    let known = async {
        match message.created_at {
            // A create is not recorded.
            Some(_) => Ok(None),
            None => context.writes.find_write(message.write).await,
        }
    };
    let pause = context.ledger.find_pause(&message.dataset);
    let (known, pause) = future::try_join(known, pause).await?;
    // What is known of it expires before its message if the dataset is paused for long.
    if known.is_some_and(|known| known.state != WriteState::Waiting) {
        return Ok(None);
    }
    if let Some(pause) = pause {
        return Err(wait_for_resume(&pause, context.circuits.now()).into());
    }
    if is_first {
        context.circuits.admit().await?;
    }
    let order = message.write.order();
    let dataset = &*context.datasets.require(&message.dataset).await?;
    check_age(context, message.aged().map_err(rejected)?, dataset).await?;
    let (row, prepared) = future::join(
        row(context, message, dataset),
        prepare_stores(context, (None, &message.dataset), dataset),
    )
    .await;
    let row = row?;
    prepared?;
    if row.deleted {
        context.deletable.record(context, &dataset.name).await?;
    }
    let stores = store(context, dataset, order, row).await?;
    // Before it is recorded: a reader that sees the write stored finds its row in every response.
    context.ledger.raise_generation(&message.dataset).await?;
    Ok(Some(stores))
}

/// Applies a row to all stores, and rings the relay. Returns what it did in each.
pub(crate) async fn store(
    context: &Context,
    dataset: &Dataset,
    order: ObjectOrder,
    row: Row,
) -> Result<BTreeMap<StoreKind, RowOutcome>, WorkError> {
    let rows = Arc::new(vec![row]);
    let applied = context.stores.iter().map(|store| async {
        let applied = store.apply(dataset, &order, &rows).await;
        if !matches!(applied, Err(StoreError::Down { .. })) {
            context.circuits.note_response(store.kind()).await;
        }
        Ok::<_, WorkError>((store.kind(), applied?.of_one_row()))
    });
    // Wait for all of them: a failure of one store does not interrupt a write to another.
    let applied = future::join_all(applied).await.into_iter();
    let stores: BTreeMap<_, _> = applied.collect::<Result<_, _>>()?;
    let is_change =
        |outcome: &RowOutcome| !matches!(outcome, RowOutcome::Unchanged | RowOutcome::Stale);
    let changed = stores.iter().filter(|(_, outcome)| is_change(outcome));
    bell::ring(context, &dataset.name, changed.map(|(store, _)| *store)).await;
    Ok(stores)
}

/// Returns the row of a write, as the API has accepted it.
async fn row(
    context: &Context,
    message: &WriteMessage,
    dataset: &Dataset,
) -> Result<Row, WorkError> {
    let json = match &message.row {
        None => None,
        Some(WrittenRow::Json(json)) => Some(json.clone()),
        Some(WrittenRow::ObjectBytes(bytes)) => {
            let whole = ByteRange {
                start: 0,
                end: *bytes,
            };
            let key = message.write.object_key();
            let read = context
                .objects
                .read_latest(&context.work_bucket, &key, whole);
            let text = String::from_utf8(read.await?.to_vec());
            Some(text.map_err(|_| rejected("the row is not UTF-8"))?)
        }
    };
    let value = |(field, text): (&Field, &String)| Value::from_text(field.kind, text);
    let invalid = |error: ValueError| rejected(error);
    let key = dataset.key_fields().zip(&message.key).map(value);
    let key = key.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    if key.len() != dataset.key_indexes().len() || message.key.len() != key.len() {
        return Err(rejected("the key has another number of values"));
    }
    let order = dataset.order().zip(message.order_value.as_ref()).map(value);
    let order = order.transpose().map_err(invalid)?;
    let written = Written::new(message.operation, json.as_deref(), order.as_ref());
    let written = written.ok_or_else(|| rejected("the message has no row"))?;
    written.to_row(dataset, &key).map_err(rejected)
}

fn rejected(reason: impl std::fmt::Display) -> WorkError {
    WorkError::Rejected(reason.to_string())
}
