//! A configuration bucket and a store in memory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use landfall_aws::{AwsError, Datasets, Listed, Objects};
use landfall_domain::{ByteRange, Dataset, ObjectOrder, ObjectRef, Row, StoreCounts, StoreKind};
use landfall_stores::{Store, StoreError};

const DEFINITION: &str = r#"
name = "products"
key = ["sku"]
mode = "snapshot"
fields = [{ name = "sku", type = "text" }]
"#;

/// A bucket with the definition of `products`.
struct Config;

#[async_trait]
impl Objects for Config {
    async fn read(&self, object: &ObjectRef, _: ByteRange) -> Result<Bytes, AwsError> {
        Err(AwsError::Gone(object.key.clone()))
    }

    async fn read_text(
        &self,
        _: &str,
        key: &str,
        _: Option<&str>,
        _: usize,
    ) -> Result<Option<(String, Option<String>)>, AwsError> {
        let is_there = key == "datasets/products.toml";
        Ok(is_there.then(|| (DEFINITION.to_owned(), None)))
    }

    async fn list(&self, _: &str, _: &str, _: Option<&str>) -> Result<Vec<Listed>, AwsError> {
        Ok(Vec::new())
    }

    async fn write(&self, _: &str, key: &str, _: &str, _: Bytes) -> Result<(), AwsError> {
        Err(AwsError::Gone(key.to_owned()))
    }
}

pub(crate) fn datasets() -> Arc<Datasets> {
    Arc::new(Datasets::new(Arc::new(Config), "config"))
}

/// A store that only prunes, with these results, from the last to the first.
#[derive(Default)]
pub(crate) struct PruneStore {
    pub(crate) results: Mutex<Vec<Result<u64, StoreError>>>,
}

#[async_trait]
impl Store for PruneStore {
    fn kind(&self) -> StoreKind {
        StoreKind::Sqlite
    }

    async fn prepare(&self, _: &Dataset) -> Result<(), StoreError> {
        Ok(())
    }

    async fn apply(
        &self,
        _: &Dataset,
        _: &ObjectOrder,
        _: &Arc<Vec<Row>>,
    ) -> Result<StoreCounts, StoreError> {
        panic!("closing a job applies no rows");
    }

    async fn prune(&self, _: &Dataset, _: &ObjectOrder) -> Result<u64, StoreError> {
        let result = self.results.lock().unwrap().pop();
        result.expect("the job must not prune")
    }

    async fn rebuild_totals(&self, _: &Dataset) -> Result<Vec<(String, u64)>, StoreError> {
        panic!("closing a job rebuilds no totals");
    }
}
