//! The items of the ledger's table, and their attributes.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use landfall_domain::{Counts, JobId, StoreCounts, StoreKind};
use serde::de::DeserializeOwned;

use crate::{LedgerError, Shard};

pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn head_key(job: JobId) -> String {
    format!("job/{job}")
}

pub(crate) fn shard_key(job: JobId, shard: u32) -> String {
    format!("job/{job}/{shard}")
}

/// Key of what is kept of a dataset beside its jobs.
pub(crate) fn dataset_key(dataset: &str) -> String {
    format!("dataset#{dataset}")
}

/// Key of the permits of a name in the window that begins at this second.
pub(crate) fn permits_key(name: &str, window: i64) -> String {
    format!("rate#{name}/{window}")
}

/// The job that an item with this key is of: its head, or one of its shards.
pub fn job_of_item(key: &str) -> Option<JobId> {
    key.strip_prefix("job/")?.split('/').next()?.parse().ok()
}

/// `kind` of heads: they alone have it, and so are all there is in the indexes.
pub(crate) const KIND: &str = "job";

pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(format!("{value}"))
}

pub(crate) fn attribute(
    key: &str,
    value: impl serde::Serialize,
) -> Result<AttributeValue, LedgerError> {
    serde_dynamo::to_attribute_value(value).map_err(|error| corrupt(key, &error))
}

pub(crate) fn read<T: DeserializeOwned>(key: &str, item: Item) -> Result<T, LedgerError> {
    serde_dynamo::from_item(item).map_err(|error| corrupt(key, &error))
}

/// The attributes of a shard that counts are added to; a number can be added to only at the top of an item.
pub(crate) fn flat(counts: &Counts) -> Vec<(String, u64)> {
    let mut flat = vec![
        ("rows".to_owned(), counts.rows),
        ("rejected".to_owned(), counts.rejected),
    ];
    for (store, of) in &counts.stores {
        for (name, count) in [
            ("inserted", of.inserted),
            ("updated", of.updated),
            ("unchanged", of.unchanged),
            ("stale", of.stale),
            ("deleted", of.deleted),
        ] {
            flat.push((format!("{store}_{name}"), count));
        }
    }
    flat
}

pub(crate) fn read_shard(item: &Item) -> Result<Shard, LedgerError> {
    let key = match item.get("pk") {
        Some(AttributeValue::S(key)) => key.as_str(),
        _ => "without pk",
    };
    let index = key
        .rsplit_once('/')
        .and_then(|(_, index)| index.parse().ok())
        .ok_or_else(|| corrupt(key, &"not the key of a shard"))?;
    let whole = |name: &str| match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::N(text)) => {
            text.parse().map(Some).map_err(|error| corrupt(key, &error))
        }
        Some(_) => Err(corrupt(key, &format!("{name} is not a number"))),
    };
    let set = |name: &str| match item.get(name) {
        None => Ok(BTreeSet::new()),
        Some(AttributeValue::Ns(texts)) => texts
            .iter()
            .map(|text| text.parse().map_err(|error| corrupt(key, &error)))
            .collect(),
        Some(_) => Err(corrupt(key, &format!("{name} is not a set of numbers"))),
    };
    let count = |name: &str| whole(name).map(Option::unwrap_or_default);
    let mut counts = Counts {
        rows: count("rows")?,
        rejected: count("rejected")?,
        ..Counts::default()
    };
    for store in StoreKind::ALL {
        // All are written together; `deleted` since the release that has it.
        if let Some(inserted) = whole(&format!("{store}_inserted"))? {
            let of = StoreCounts {
                inserted,
                updated: count(&format!("{store}_updated"))?,
                unchanged: count(&format!("{store}_unchanged"))?,
                stale: count(&format!("{store}_stale"))?,
                deleted: count(&format!("{store}_deleted"))?,
                pruned: 0,
            };
            counts.stores.insert(store, of);
        }
    }
    let chunks = whole("chunks")?.ok_or_else(|| corrupt(key, &"no chunks"))?;
    Ok(Shard {
        index,
        chunks: u32::try_from(chunks).map_err(|error| corrupt(key, &error))?,
        done: set("done")?,
        dead: set("dead")?,
        counts,
    })
}

pub(crate) fn corrupt(key: &str, reason: &dyn std::fmt::Display) -> LedgerError {
    LedgerError::Corrupt {
        key: key.to_owned(),
        reason: reason.to_string(),
    }
}
