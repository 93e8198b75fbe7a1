//! The datasets whose rows have tokens or numbers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt, stream};
use landfall_aws::Lookup;
use landfall_domain::{Dataset, is_name};

use crate::{ApiError, Context};

/// How long the list is used.
const FRESH: Duration = Duration::from_mins(1);
/// How old the list of names may be that a missing name is looked up in.
const RECENT: Duration = Duration::from_secs(2);
/// Definitions that are read at the same time.
const PARALLEL: usize = 16;

/// When the list was read, and the datasets.
type Listed = (SystemTime, Arc<[Arc<Dataset>]>);

/// The list of such datasets, at most a minute old.
#[derive(Default)]
pub(crate) struct Families {
    cached: Mutex<Option<Listed>>,
}

impl Families {
    /// Returns all datasets with tokens or numbers that have a valid definition.
    pub(crate) async fn all(&self, context: &Context) -> Result<Arc<[Arc<Dataset>]>, ApiError> {
        if let Some((since, datasets)) =
            &*self.cached.lock().unwrap_or_else(PoisonError::into_inner)
            && since.elapsed().is_ok_and(|age| age < FRESH)
        {
            return Ok(Arc::clone(datasets));
        }
        self.load(context).await
    }

    async fn load(&self, context: &Context) -> Result<Arc<[Arc<Dataset>]>, ApiError> {
        let since = SystemTime::now();
        let names = context.datasets.names_within(RECENT).await?;
        let lookups = stream::iter(names.iter().cloned())
            .map(|name| async move { context.datasets.latest(&name).await });
        let found: Vec<Lookup> = lookups.buffered(PARALLEL).try_collect().await?;
        let datasets = found.into_iter().filter_map(|found| match found {
            Lookup::Found(dataset, _) => dataset.is_numbered().then_some(dataset),
            Lookup::Bad(..) | Lookup::Unknown => None,
        });
        let datasets: Arc<[Arc<Dataset>]> = datasets.collect();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        *cached = Some((since, Arc::clone(&datasets)));
        Ok(datasets)
    }

    /// Returns whether rows of a dataset of this name have tokens. The list is read again if the name is new.
    pub(crate) async fn has_root(&self, context: &Context, name: &str) -> Result<bool, ApiError> {
        let has = |datasets: &[Arc<Dataset>]| {
            let mut roots = datasets.iter().filter(|dataset| dataset.token.is_some());
            roots.any(|dataset| dataset.name == name)
        };
        // The files of the page are not looked for among the datasets.
        if !is_name(name) || name == "page" {
            return Ok(false);
        }
        if has(&self.all(context).await?) {
            return Ok(true);
        }
        let names = context.datasets.names_within(RECENT).await?;
        Ok(names.iter().any(|known| known == name) && has(&self.load(context).await?))
    }

    /// Returns the datasets whose rows belong to those of a dataset.
    pub(crate) async fn children(
        &self,
        context: &Context,
        parent: &str,
    ) -> Result<Vec<Arc<Dataset>>, ApiError> {
        let all = self.all(context).await?;
        let is_child = |dataset: &&Arc<Dataset>| {
            let child = dataset.child.as_ref();
            child.is_some_and(|child| child.parent == parent)
        };
        Ok(all.iter().filter(is_child).cloned().collect())
    }
}
