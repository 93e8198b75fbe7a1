//! Rings the relay, so that changes of rows leave at once.

use std::time::Duration;

use landfall_aws::RelayMessage;
use landfall_domain::StoreKind;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::Context;

/// How long a worker waits for the queue. The relay also runs on a schedule.
const PATIENCE: Duration = Duration::from_secs(2);

/// Rings the relay if destinations follow a dataset in any of these stores, whose rows have changed.
pub(crate) async fn ring(
    context: &Context,
    dataset: &str,
    mut changed: impl Iterator<Item = StoreKind>,
) {
    let is_followed = |kind: StoreKind| {
        let mut stores = context.stores.iter();
        stores.any(|store| store.kind() == kind && store.is_followed(dataset))
    };
    if !changed.any(is_followed) {
        return;
    }
    let message = RelayMessage::Dataset(dataset.to_owned());
    match timeout(PATIENCE, context.bell.ring(&message, 0)).await {
        Ok(Ok(())) => debug!(dataset, "the relay is rung"),
        Ok(Err(error)) => warn!(dataset, %error, "the relay cannot be rung"),
        Err(_) => warn!(dataset, "the relay cannot be rung in time"),
    }
}
