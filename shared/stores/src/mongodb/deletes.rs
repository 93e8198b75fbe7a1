//! Deleting keys, and keeping deleted what is.
//!
//! There are no transactions of several documents on a standalone server, so both sides write first and
//! look afterwards. A deleter says in the registry that there are tombstones, writes them, and then
//! deletes what is older. A closing snapshot sets the floor, and then deletes what is below. A
//! writer of rows writes them, then reads registry and tombstones, and takes back what a newer tombstone or
//! the floor forbids. Of a row's write and the tombstone (or floor) one comes first: if the row,
//! the deleter's delete comes later and finds it; if the tombstone, the writer's look does. Both may
//! delete it, and either by the version that it saw: nothing newer goes.
//!
//! Who stops half-way leaves a row that is too old or a tombstone without its delete, and a chunk or prune
//! that is not done; it is delivered again, and does the rest: a tombstone that is there already
//! is followed by the delete, and a row that is stale by a tombstone or the floor is deleted.
//! Until then the row may be seen. A tombstone goes only once a newer row is there, whose version
//! then guards the key as the tombstone did.

use std::cmp::Ordering;

use landfall_domain::{ObjectOrder, StoreCounts};
use mongodb::Database;
use mongodb::bson::{RawArrayBuf, RawDocumentBuf, cstr, rawdoc};

use super::command::{delete, look_up, older, update};
use super::document::{Entry, binary};
use super::error::{contended, from_code, is_duplicate_key};
use super::registry::Registry;
use super::upserts::Settled;
use crate::StoreError;
use crate::registry::tombstones_of;

/// How often tombstones are written that other deleters change in between.
const ROUNDS: usize = 8;

/// Deletes the keys of one batch, whose entries are tombstones. The registry says that there are some.
pub(super) async fn bury(
    database: &Database,
    name: &str,
    entries: &[Entry],
) -> Result<StoreCounts, StoreError> {
    let tombstones = tombstones_of(name);
    let all: Vec<&Entry> = entries.iter().collect();
    let rows = look_up(database, name, &all).await?;
    let is_newer = |entry: &&Entry| {
        let row = rows.get(&entry.id_bytes());
        row.is_some_and(|row| row.version_to(entry.version).is_gt())
    };
    let (_, mut open): (Vec<&Entry>, Vec<&Entry>) = all.iter().copied().partition(is_newer);
    let mut pending = open.clone();
    for _ in 0..ROUNDS {
        if pending.is_empty() {
            break;
        }
        let refused = write_tombstones(database, &tombstones, &pending).await?;
        let there = look_up(database, &tombstones, &refused).await?;
        let standing = |entry: &Entry| {
            let tombstone = there.get(&entry.id_bytes());
            tombstone.map(|tombstone| tombstone.version_to(entry.version))
        };
        open.retain(|entry| standing(entry) != Some(Ordering::Greater));
        // Another deleter's was there first and is older.
        pending = refused;
        pending.retain(|entry| matches!(standing(entry), Some(Ordering::Less) | None));
    }
    if !pending.is_empty() {
        return Err(contended("tombstones went on changing"));
    }
    let deleted = delete(database, name, open.iter().map(|entry| older(entry))).await?;
    Ok(StoreCounts {
        deleted,
        unchanged: open.len() as u64 - deleted,
        stale: (all.len() - open.len()) as u64,
        ..StoreCounts::default()
    })
}

/// Writes tombstones where there is none or an older one; gives the others.
async fn write_tombstones<'a>(
    database: &Database,
    tombstones: &str,
    entries: &[&'a Entry],
) -> Result<Vec<&'a Entry>, StoreError> {
    let mut updates = RawArrayBuf::new();
    for entry in entries {
        let mut upsert = rawdoc! { "q": older(entry), "upsert": true };
        upsert.append(cstr!("u"), &*entry.document);
        updates.push(upsert);
    }
    let done = update(database, tombstones, updates).await?;
    let refused = done.errors.into_iter().map(|(index, code)| {
        let entry = entries.get(index).filter(|_| is_duplicate_key(code));
        entry.copied().ok_or_else(|| from_code(code, "write error"))
    });
    refused.collect()
}

/// For each entry, how the tombstone of its key stands to it, if there is one.
pub(super) async fn tombstones(
    database: &Database,
    name: &str,
    entries: &[Entry],
) -> Result<Vec<Option<Ordering>>, StoreError> {
    let all: Vec<&Entry> = entries.iter().collect();
    let there = look_up(database, &tombstones_of(name), &all).await?;
    let standing = |entry: &Entry| {
        let tombstone = there.get(&entry.id_bytes());
        tombstone.map(|tombstone| tombstone.version_to(entry.version))
    };
    Ok(entries.iter().map(standing).collect())
}

/// Deletes the rows of these entries that are below the floor.
pub(super) async fn remove_below(
    database: &Database,
    name: &str,
    entries: &[Entry],
    floor: &[u8],
) -> Result<(), StoreError> {
    let filters = entries.iter().map(|entry| {
        rawdoc! { "_id": entry.id(), "_version": { "$lt": binary(floor) } }
    });
    delete(database, name, filters).await.map(drop)
}

/// Looks whether the rows of a batch may stay that were just written, and takes back those that may not.
///
/// `stale` are the entries that were not written as they have a newer tombstone. Gives what then became
/// of the batch.
pub(super) async fn keep_deleted(
    database: &Database,
    name: &str,
    order: &ObjectOrder,
    entries: &[Entry],
    stale: &[bool],
    settled: Settled,
) -> Result<StoreCounts, StoreError> {
    let registration = Registry::new(database, name).get().await?;
    if let Some(floor) = registration.floor()
        && registration.has_floor_above(order.at(0))
    {
        remove_below(database, name, entries, floor).await?;
        return Ok(all_stale(entries));
    }
    let mut counts = settled.counts;
    counts.stale += stale.iter().filter(|stale| **stale).count() as u64;
    if !registration.tombstones {
        return Ok(counts);
    }
    let tombstones = tombstones(database, name, entries).await?;
    let mut inserted = settled.inserted.iter();
    let (mut new, mut old, mut unwritten) = (Vec::new(), Vec::new(), Vec::new());
    let mut guarded = Vec::new();
    for ((entry, tombstone), is_stale) in entries.iter().zip(tombstones).zip(stale) {
        let is_new = !is_stale && inserted.next() == Some(&true);
        match tombstone {
            Some(Ordering::Greater) if *is_stale => unwritten.push(entry),
            Some(Ordering::Greater) if is_new => new.push(entry),
            Some(Ordering::Greater) => old.push(entry),
            Some(Ordering::Less) => guarded.push(older(entry)),
            Some(Ordering::Equal) | None => {}
        }
    }
    let take_back = |entries: Vec<&Entry>| {
        let filters: Vec<_> = entries.into_iter().map(own).collect();
        delete(database, name, filters)
    };
    // A crashed attempt's.
    take_back(unwritten).await?;
    let taken = take_back(new).await?;
    counts.inserted -= taken;
    counts.stale += taken;
    // These were there before, and now are deleted.
    let taken = take_back(old).await?;
    let updated = taken.min(counts.updated);
    counts.updated -= updated;
    let unchanged = (taken - updated).min(counts.unchanged);
    counts.unchanged -= unchanged;
    counts.deleted += updated + unchanged;
    // Now the rows do what these tombstones did.
    delete(database, &tombstones_of(name), guarded).await?;
    Ok(counts)
}

/// The row that the entry is.
fn own(entry: &Entry) -> RawDocumentBuf {
    rawdoc! { "_id": entry.id(), "_version": binary(entry.version.as_bytes()) }
}

pub(super) fn all_stale(entries: &[Entry]) -> StoreCounts {
    StoreCounts {
        stale: entries.len() as u64,
        ..StoreCounts::default()
    }
}
