//! Expired tombstones are deleted in every store, whatever fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use ::maintenance::{Context, handle};
use landfall_aws::{Datasets, MaintenanceQueue, Objects};
use landfall_ledger::{Ledger, LedgerTable};
use landfall_runtime::{Deadline, Visibility};
use landfall_stores::Store;
use serde_json::json;

use crate::fakes::locked;
use crate::files::Kind;
use crate::world::World;

/// Returns the numbers of expired tombstones that are left in each store.
fn left(world: &World) -> [Vec<u64>; 2] {
    [0, 1].map(|store| {
        let expired = locked(&world.stores[store].expired);
        expired.values().copied().collect()
    })
}

/// Runs the maintenance as its schedule does, with so many seconds left.
async fn sweep(world: &World, seconds: u64) -> bool {
    let objects = Arc::clone(&world.buckets) as Arc<dyn Objects>;
    let stores = world.stores.iter();
    let context = Context {
        datasets: Datasets::new(objects, "config"),
        ledger: Ledger::new(Arc::clone(&world.table) as Arc<dyn LedgerTable>),
        stores: stores
            .map(|store| Arc::clone(store) as Arc<dyn Store>)
            .collect(),
        queue: Arc::clone(&world.queue) as Arc<dyn MaintenanceQueue>,
        visibility: Arc::clone(&world.queue) as Arc<dyn Visibility>,
    };
    let deadline = Deadline::new(SystemTime::now() + Duration::from_secs(seconds));
    let event = json!({ "detail-type": "Scheduled Event" });
    handle(&context, event, deadline).await.is_ok()
}

#[tokio::test]
async fn expired_tombstones_are_deleted_in_every_store_that_is_up() {
    let world = World::new(1, Kind::WithDeletes);
    for store in &world.stores {
        let datasets = [("orders", 30), ("products", 0), ("readings", 7)];
        let datasets = datasets.map(|(name, expired)| (name.to_owned(), expired));
        locked(&store.expired).extend(datasets);
    }
    world.stores[0].is_down.store(true, Ordering::Relaxed);
    assert!(!sweep(&world, 900).await, "Lambda tries again");
    assert_eq!(left(&world), [vec![30, 0, 7], vec![0, 0, 0]]);
    world.stores[0].is_down.store(false, Ordering::Relaxed);
    // No time is left for a step.
    assert!(sweep(&world, 30).await);
    assert_eq!(left(&world)[0], [30, 0, 7]);
    assert!(sweep(&world, 900).await);
    assert_eq!(left(&world)[0], [0, 0, 0]);
}
