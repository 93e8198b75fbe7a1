use std::sync::Arc;

use futures::future;
use landfall_aws::Lookup;
use landfall_domain::{ChunkMessage, Dataset, DatasetRef, JobId, ObjectOrder};
use landfall_formats::Header;
use landfall_stores::Prepared;

use crate::wait::wait_for_maintenance;
use crate::{Context, WorkError};

/// Returns the definition and the header of a chunk, once all stores are prepared for its rows: a definition that does
/// not match one store changes nothing in another.
pub(crate) async fn prepare(
    context: &Context,
    message: &ChunkMessage,
) -> Result<(Arc<Dataset>, Option<Arc<Header>>), WorkError> {
    let dataset = context.datasets.require(&message.dataset).await?;
    check_age(context, message.order, &dataset).await?;
    let cause = (Some(message.job), &message.dataset);
    let stores = prepare_stores(context, cause, &dataset);
    let header = context.headers.get(&context.contents, message, &dataset);
    let (prepared, header) = future::join(stores, header).await;
    prepared?;
    Ok((dataset, header?))
}

/// Fails if rows of this order could bring back deleted ones, because the stores no longer know of the deletes. Rows
/// can be deleted if the definition of the rows allows it, or the latest one, or once the API has deleted one.
pub(crate) async fn check_age(
    context: &Context,
    order: ObjectOrder,
    dataset: &Dataset,
) -> Result<(), WorkError> {
    if !order.may_outlive_tombstones(context.circuits.now()) {
        return Ok(());
    }
    let latest = context.datasets.latest(&dataset.name).await?;
    let deletes = |dataset: &Dataset| dataset.operation.is_some();
    let may_return = match latest {
        Lookup::Found(latest, _) => deletes(dataset) || deletes(&latest),
        Lookup::Bad(..) | Lookup::Unknown => deletes(dataset),
    };
    if may_return || context.writes.has_deletes(&dataset.name).await? {
        return Err(WorkError::TooOld);
    }
    Ok(())
}

/// Prepares all stores, and requests maintenance if they need it.
pub(crate) async fn prepare_stores(
    context: &Context,
    cause: (Option<JobId>, &DatasetRef),
    dataset: &Dataset,
) -> Result<(), WorkError> {
    let mut prepared = Vec::with_capacity(context.stores.len());
    for store in &context.stores {
        prepared.push(store.prepare(dataset).await?);
    }
    let is_complete = |prepared: &Prepared| *prepared == Prepared::Complete;
    if !prepared.iter().all(is_complete) {
        let (requests, queue) = (&context.requests, &*context.redelivery.maintenance);
        requests.send(queue, cause).await?;
    }
    if prepared.contains(&Prepared::Blocked) {
        let reason = "a table must be changed before it can hold the rows";
        return Err(wait_for_maintenance(reason).into());
    }
    Ok(())
}
