//! Sweeps: expired tombstones are deleted, some in each transaction.

use super::database::{SqlDatabase, SqlTransaction};
use super::lanes::LaneLock;
use crate::error::Result;

/// Deletes some of the expired tombstones of a dataset, and returns their number. If there are none, and no others
/// either, chunks need not look for tombstones any more, and can use their lanes again.
pub(crate) async fn sweep<D: SqlDatabase>(database: &D, dataset: &str) -> Result<u64> {
    let mut transaction = database.begin().await?;
    let mut entry = transaction.lock(dataset, LaneLock::All).await?;
    if !entry.tombstones {
        transaction.rollback().await?;
        return Ok(0);
    }
    let swept = transaction.sweep(dataset, database.step_rows()).await?;
    if swept == 0 && !transaction.has_tombstones(dataset).await? {
        entry.tombstones = false;
        transaction.save(dataset, &entry).await?;
    }
    transaction.commit().await?;
    Ok(swept)
}
