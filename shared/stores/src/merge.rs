//! The merge of a staged chunk, the same for the SQL servers.

use landfall_domain::{StoreCounts, StoreKind};

use crate::StoreError;

/// How often rows are looked at whose keys other writers were first with.
const ROUNDS: usize = 4;

/// What a table has of the staged keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present {
    /// Keys that are there.
    pub(crate) all: u64,
    /// Those with a newer version.
    pub(crate) newer: u64,
    /// Those with an older version.
    pub(crate) older: u64,
    /// Of the older ones, those with other values.
    pub(crate) changed: u64,
}

/// A chunk in a staging table, within a transaction.
pub(crate) trait Staged: Send {
    /// Locks the keys that are there, in the order of the key, and counts them.
    fn lock(&mut self) -> impl Future<Output = Result<Present, StoreError>> + Send;

    /// Overwrites what is older.
    fn overwrite_older(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Adds the absent keys but those that another writer is first with, and gives how many it added.
    fn add_absent(&mut self) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Merges the staged rows, of which there are `total`.
pub(crate) async fn settle(
    store: StoreKind,
    total: u64,
    staged: &mut impl Staged,
) -> Result<StoreCounts, StoreError> {
    let (mut inserted, mut updated) = (0, 0);
    for _ in 0..ROUNDS {
        let present = staged.lock().await?;
        updated += present.changed;
        if present.older > 0 {
            staged.overwrite_older().await?;
        }
        let mut absent = total - present.all;
        if absent > 0 {
            let added = staged.add_absent().await?;
            inserted += added;
            absent -= added;
        }
        if absent == 0 {
            return Ok(StoreCounts {
                inserted,
                updated,
                unchanged: total - inserted - updated - present.newer,
                stale: present.newer,
                ..StoreCounts::default()
            });
        }
    }
    Err(StoreError::Refused {
        store,
        reason: "a constraint or trigger of the table keeps rows out".to_owned(),
    })
}
