//! Deletes keys, and keeps deleted keys deleted.
//!
//! A standalone server has no multi-document transactions, so both sides write first and check afterwards:
//!
//! - A deleter sets a flag in the registry, writes tombstones, and then deletes older rows.
//! - A closing snapshot raises the floor, and then deletes the rows below it, range by range ([`prune`](super::prune)).
//! - A writer of rows writes them, reads flag, tombstones and floor, and removes the rows that these forbid.
//!
//! Either the row or the tombstone (or floor) is written first. If the row is first, the deleter's delete comes
//! later and finds it. If the tombstone is first, the writer's check finds it. Both may delete the row, and each
//! deletes only the version it saw, so nothing newer is lost.
//!
//! If a process stops half-way, it leaves an outdated row, or a tombstone whose delete is missing, and a chunk or
//! prune that is not done. Redelivery completes it: an existing tombstone is followed by the delete, and a row that
//! a tombstone or the floor makes stale is deleted. Until then, readers may see the row. A tombstone is removed
//! only once a newer row exists, whose version then guards the key as the tombstone did. A TTL index sweeps old
//! tombstones.

use std::cmp::Ordering;

use landfall_domain::{RowVersions, StoreCounts};
use mongodb::Database;
use mongodb::bson::{RawArrayBuf, RawDocumentBuf, cstr, rawdoc};

use super::changes::{bury, mark};
use super::command::{delete, duplicates, look_up, older, update};
use super::document::{Entry, binary};
use super::error::contended;
use super::registry::Registry;
use super::upserts::BatchOutcome;
use crate::changes::Tracking;
use crate::error::Result;
use crate::registry::{all_stale, tombstones_of};

/// How many times tombstones are written that other workers change meanwhile.
const ROUNDS: usize = 8;

/// Deletes the keys of one batch, whose entries are tombstones. The registry's flag for tombstones is set.
pub(super) async fn delete_keys(
    database: &Database,
    name: &str,
    entries: &[Entry],
) -> Result<StoreCounts> {
    let tombstones = tombstones_of(name);
    let all: Vec<&Entry> = entries.iter().collect();
    let rows = look_up(database, name, &all).await?;
    let is_newer = |entry: &&Entry| rows.compare(entry) == Some(Ordering::Greater);
    let (_, open): (Vec<&Entry>, Vec<&Entry>) = all.iter().copied().partition(is_newer);
    let open = ensure_tombstones(database, &tombstones, open).await?;
    let deleted = delete(database, name, open.iter().map(|entry| older(entry))).await?;
    Ok(StoreCounts {
        deleted,
        unchanged: open.len() as u64 - deleted,
        stale: (all.len() - open.len()) as u64,
        ..StoreCounts::default()
    })
}

/// Writes tombstones, and returns the entries that have no newer one.
pub(super) async fn ensure_tombstones<'a>(
    database: &Database,
    tombstones: &str,
    mut open: Vec<&'a Entry>,
) -> Result<Vec<&'a Entry>> {
    let mut pending = open.clone();
    for _ in 0..ROUNDS {
        if pending.is_empty() {
            break;
        }
        let refused = write_tombstones(database, tombstones, &pending).await?;
        let existing = look_up(database, tombstones, &refused).await?;
        open.retain(|entry| existing.compare(entry) != Some(Ordering::Greater));
        // Another worker's older tombstone was first.
        pending = refused;
        pending.retain(|entry| matches!(existing.compare(entry), Some(Ordering::Less) | None));
    }
    if !pending.is_empty() {
        return Err(contended("tombstones kept changing"));
    }
    Ok(open)
}

/// Writes tombstones where there is none or an older one, and returns the other entries.
async fn write_tombstones<'a>(
    database: &Database,
    tombstones: &str,
    entries: &[&'a Entry],
) -> Result<Vec<&'a Entry>> {
    let mut updates = RawArrayBuf::new();
    for entry in entries {
        let mut upsert = rawdoc! { "q": older(entry), "upsert": true };
        upsert.append(cstr!("u"), &*entry.document);
        updates.push(upsert);
    }
    let done = update(database, tombstones, updates).await?;
    duplicates(entries, done.errors)
}

/// Compares the tombstone of each entry's key, if there is one, with the entry.
pub(super) async fn tombstones(
    database: &Database,
    name: &str,
    entries: &[Entry],
) -> Result<Vec<Option<Ordering>>> {
    let all: Vec<&Entry> = entries.iter().collect();
    let existing = look_up(database, &tombstones_of(name), &all).await?;
    Ok(entries
        .iter()
        .map(|entry| existing.compare(entry))
        .collect())
}

/// Deletes the rows of these entries that are below the floor. If the dataset has destinations, they may have had an
/// older row of the key that the prune has not met: tombstones record that it is gone.
pub(super) async fn remove_below(
    database: &Database,
    name: &str,
    entries: &[Entry],
    floor: &[u8],
    tracking: &Tracking,
) -> Result<()> {
    if tracking.is_on() {
        bury(database, name, entries.iter().map(Entry::id), floor).await?;
    }
    let filters = entries.iter().map(|entry| {
        rawdoc! { "_id": entry.id(), "_version": { "$lt": binary(floor) } }
    });
    delete(database, name, filters).await.map(drop)
}

/// Checks whether the rows of a batch that were just written may stay, and deletes the others. Returns the counts of
/// the batch.
///
/// `stale` marks the entries that were not written because of a newer tombstone.
pub(super) async fn enforce_deletes(
    database: &Database,
    name: &str,
    versions: RowVersions,
    entries: &[Entry],
    stale: &[bool],
    outcome: BatchOutcome,
    tracking: &Tracking,
) -> Result<StoreCounts> {
    let registration = Registry::new(database, name).get().await?;
    registration.expect_whole_rows()?;
    if let Some(floor) = registration.floor()
        && registration.has_floor_above(versions.first())
    {
        let tracking = registration.registered()?.tracking;
        remove_below(database, name, entries, floor, &tracking).await?;
        return Ok(all_stale(entries.len()));
    }
    if !tracking.is_on() && registration.registered()?.tracking.is_on() {
        // The destinations are new.
        mark(database, name, entries.iter().map(Entry::id)).await?;
    }
    let mut counts = outcome.counts;
    counts.stale += stale.iter().filter(|stale| **stale).count() as u64;
    if !registration.tombstones {
        return Ok(counts);
    }
    let tombstones = tombstones(database, name, entries).await?;
    let mut inserted = outcome.inserted.iter();
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
    let remove = |entries: Vec<&Entry>| {
        let filters: Vec<_> = entries.into_iter().map(exactly).collect();
        delete(database, name, filters)
    };
    // Written by an attempt that crashed.
    remove(unwritten).await?;
    let removed = remove(new).await?;
    counts.inserted -= removed;
    counts.stale += removed;
    // These existed before, and are now deleted.
    let removed = remove(old).await?;
    let updated = removed.min(counts.updated);
    counts.updated -= updated;
    let unchanged = (removed - updated).min(counts.unchanged);
    counts.unchanged -= unchanged;
    counts.deleted += updated + unchanged;
    // The rows now guard their keys in place of these tombstones.
    delete(database, &tombstones_of(name), guarded).await?;
    Ok(counts)
}

fn exactly(entry: &Entry) -> RawDocumentBuf {
    rawdoc! { "_id": entry.id(), "_version": binary(entry.version.as_bytes()) }
}
