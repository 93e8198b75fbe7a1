//! The items of the ledger's table, and their attributes.

use landfall_aws::dynamo::{Item, ItemError, from_item, read_number, read_number_set, read_text};
use landfall_domain::{Counts, JobId, StoreCounts, StoreKind};
use serde::de::DeserializeOwned;

use crate::{LedgerError, SHARD_CHUNKS, Shard};

/// The attribute `kind` of heads. Only heads have it, so the indexes contain only heads.
pub(crate) const KIND: &str = "job";

pub(crate) fn head_key(job: JobId) -> String {
    format!("job/{job}")
}

pub(crate) fn shard_key(job: JobId, shard: u32) -> String {
    format!("job/{job}/{shard}")
}

/// Returns the key of a dataset's generation.
pub(crate) fn dataset_key(dataset: &str) -> String {
    format!("dataset#{dataset}")
}

/// Returns the key of the permits of a name in the window that begins at this second.
pub(crate) fn permits_key(name: &str, window: i64) -> String {
    format!("rate#{name}/{window}")
}

/// Returns the job of an item with this key, if the item is the head of a job or one of its shards.
pub fn job_of_item(key: &str) -> Option<JobId> {
    key.strip_prefix("job/")?.split('/').next()?.parse().ok()
}

pub(crate) fn read<T: DeserializeOwned>(key: &str, item: Item) -> Result<T, LedgerError> {
    from_item(item).map_err(|error| LedgerError::corrupt(key, error))
}

/// Returns the counts as attributes of a shard: `ADD` works only on numbers at the top level of an item.
pub(crate) fn flat(counts: &Counts) -> Vec<(String, u64)> {
    let mut flat = vec![
        ("rows".to_owned(), counts.rows),
        ("rejected".to_owned(), counts.rejected),
    ];
    for (store, counts) in &counts.stores {
        for (name, count) in [
            ("inserted", counts.inserted),
            ("updated", counts.updated),
            ("unchanged", counts.unchanged),
            ("stale", counts.stale),
            ("deleted", counts.deleted),
        ] {
            flat.push((format!("{store}_{name}"), count));
        }
    }
    flat
}

pub(crate) fn read_shard(item: &Item) -> Result<Shard, LedgerError> {
    let key = read_text(item, "pk").map_err(|error| LedgerError::corrupt("of a shard", error))?;
    let index: u32 = key
        .rsplit_once('/')
        .and_then(|(_, index)| index.parse().ok())
        .ok_or_else(|| LedgerError::corrupt(key, "this is not the key of a shard"))?;
    let shard = shard_attributes(item, index).map_err(|error| LedgerError::corrupt(key, error))?;
    let belongs = |ordinal: &u32| ordinal / SHARD_CHUNKS == index;
    if shard.chunks > SHARD_CHUNKS || !shard.done.union(&shard.dead).all(belongs) {
        return Err(LedgerError::corrupt(key, "it has chunks of other shards"));
    }
    Ok(shard)
}

fn shard_attributes(item: &Item, index: u32) -> Result<Shard, ItemError> {
    // A count that nothing was added to does not exist.
    let count = |name: &str| read_number(item, name).map(Option::unwrap_or_default);
    let mut counts = Counts {
        rows: count("rows")?,
        rejected: count("rejected")?,
        ..Counts::default()
    };
    for store in StoreKind::ALL {
        // All counts are written together; `deleted` since the release that has it.
        if let Some(inserted) = read_number(item, &format!("{store}_inserted"))? {
            let stored = StoreCounts {
                inserted,
                updated: count(&format!("{store}_updated"))?,
                unchanged: count(&format!("{store}_unchanged"))?,
                stale: count(&format!("{store}_stale"))?,
                deleted: count(&format!("{store}_deleted"))?,
                pruned: 0,
            };
            counts.stores.insert(store, stored);
        }
    }
    Ok(Shard {
        index,
        chunks: read_number(item, "chunks")?.ok_or(ItemError::Missing("chunks"))?,
        done: read_number_set(item, "done")?,
        dead: read_number_set(item, "dead")?,
        counts,
    })
}
