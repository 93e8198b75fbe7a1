//! Which datasets destinations follow, without a query.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Tracking;

/// The datasets that destinations follow, as the latest write of this process to each found in the registry.
#[derive(Default)]
pub(crate) struct Followed(Mutex<HashSet<String>>);

impl Followed {
    /// Notes what a write has found.
    pub(crate) fn note(&self, dataset: &str, tracking: &Tracking) {
        let mut datasets = self.datasets();
        if !tracking.is_on() {
            datasets.remove(dataset);
        } else if !datasets.contains(dataset) {
            datasets.insert(dataset.to_owned());
        }
    }

    pub(crate) fn contains(&self, dataset: &str) -> bool {
        self.datasets().contains(dataset)
    }

    fn datasets(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
