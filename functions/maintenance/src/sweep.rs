use landfall_stores::{Store, StoreError};
use tokio::time::Instant;
use tracing::{error, info};

use crate::{Context, MaintenanceError};

/// Deletes the expired tombstones of every dataset in every store, as long as time is left. A failure of one does not
/// stop the others.
pub(crate) async fn sweep(context: &Context, until: Instant) -> Result<(), MaintenanceError> {
    let mut failure = None;
    for store in &context.stores {
        let mut place = None;
        while Instant::now() < until {
            let next = match store.next_to_sweep(place.as_deref()).await {
                Ok(Some(dataset)) => dataset,
                Ok(None) => break,
                Err(error) => {
                    let store = store.kind();
                    error!(%store, %error, "the datasets with tombstones cannot be read");
                    failure = Some(error);
                    break;
                }
            };
            match sweep_dataset(&**store, &next, until).await {
                Ok(0) => {}
                Ok(swept) => {
                    info!(store = %store.kind(), dataset = next, swept, "deleted expired tombstones");
                }
                Err(error) => {
                    let store = store.kind();
                    error!(%store, dataset = next, %error, "expired tombstones cannot be deleted");
                    failure = Some(error);
                }
            }
            place = Some(next);
        }
    }
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// Returns the number of deleted tombstones.
async fn sweep_dataset(
    store: &dyn Store,
    dataset: &str,
    until: Instant,
) -> Result<u64, StoreError> {
    let mut swept = 0;
    loop {
        let step = store.sweep(dataset).await?;
        swept += step;
        if step == 0 || Instant::now() >= until {
            return Ok(swept);
        }
    }
}
