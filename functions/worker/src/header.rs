use std::sync::{Arc, Mutex, PoisonError};

use landfall_aws::Contents;
use landfall_domain::{ByteRange, ChunkMessage, Dataset, JobId};
use landfall_formats::Header;

use crate::WorkError;

/// Keeps the header that was parsed last: the next chunk nearly always has the same one.
#[derive(Default)]
pub(crate) struct HeaderCache {
    last: Mutex<Option<CachedHeader>>,
}

struct CachedHeader {
    job: JobId,
    range: ByteRange,
    header: Arc<Header>,
}

impl HeaderCache {
    /// Returns the header of a chunk, if its format has one.
    pub(crate) async fn get(
        &self,
        contents: &Contents,
        message: &ChunkMessage,
        dataset: &Dataset,
    ) -> Result<Option<Arc<Header>>, WorkError> {
        let Some(range) = message.header else {
            return Ok(None);
        };
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = &*last()
            && (cached.job, cached.range) == (message.job, range)
        {
            return Ok(Some(Arc::clone(&cached.header)));
        }
        let bytes = contents.read(message.content(), range).await?;
        let header = Header::parse(&bytes, dataset, &message.reading).map_err(WorkError::Header)?;
        let header = Arc::new(header);
        *last() = Some(CachedHeader {
            job: message.job,
            range,
            header: Arc::clone(&header),
        });
        Ok(Some(header))
    }
}
