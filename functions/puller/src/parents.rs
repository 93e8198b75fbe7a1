//! The rows whose children are fetched.

use async_trait::async_trait;
use landfall_domain::{Dataset, RowQuery, Start};
use landfall_runtime::{Environment, StoresError};
use landfall_stores::{Reader, RowPage, StoreError};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The number of rows that are read at once.
const PAGE_ROWS: u32 = 500;

/// Reads the rows of datasets.
#[async_trait]
pub trait ParentRows: Send + Sync {
    /// Returns a page of the rows of a dataset, in the order of their keys.
    async fn page(&self, dataset: &Dataset, start: Start) -> Result<RowPage, ParentsError>;
}

/// Why the rows of a dataset cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ParentsError {
    /// No database can be opened.
    #[error("the databases cannot be opened: {0}")]
    Open(#[from] StoresError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none.
    #[error("there is no database")]
    None,
}

/// The rows in the SQL database, or in MongoDB if there is none. It is opened when it is first needed.
pub(crate) struct StoredRows {
    environment: Environment,
    reader: OnceCell<Arc<dyn Reader>>,
}

impl StoredRows {
    pub(crate) fn new(environment: Environment) -> Self {
        Self {
            environment,
            reader: OnceCell::new(),
        }
    }

    async fn open(&self) -> Result<Arc<dyn Reader>, ParentsError> {
        let readers = self.environment.readers().await?;
        readers.into_iter().next().ok_or(ParentsError::None)
    }
}

#[async_trait]
impl ParentRows for StoredRows {
    async fn page(&self, dataset: &Dataset, start: Start) -> Result<RowPage, ParentsError> {
        let reader = self.reader.get_or_try_init(|| self.open()).await?;
        let query = RowQuery {
            filters: Vec::new(),
            search: None,
            sort: None,
            by_relevance: false,
            start,
            limit: PAGE_ROWS,
        };
        Ok(reader.rows(dataset, &query).await?)
    }
}
