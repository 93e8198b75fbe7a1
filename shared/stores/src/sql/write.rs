//! The sequence: chunks by lane, each lane in a transaction.

use futures::future;
use landfall_domain::{Mode, StoreCounts};

use super::columns;
use super::database::{Change, Chunk, SqlDatabase, SqlTransaction, outdated, words_outdated};
use super::lanes::{self, LaneLock, LaneRows};
use crate::error::Result;
use crate::registry::{Entry, all_stale};
use crate::retry::with_retries;
use crate::store::Load;

/// Applies rows of one object, and waits until they are durable.
pub(crate) async fn apply<D: SqlDatabase>(database: &D, load: Load<'_>) -> Result<StoreCounts> {
    let chunk = Chunk {
        dataset: load.dataset,
        table: load.table,
        statements: &database.statements(load.table).await?,
        key: load.dataset.key_indexes(),
        versions: load.versions,
        deletes: load.rows.iter().filter(|row| row.deleted).count() as u64,
        rows: load.rows.iter().collect(),
    };
    let counts = if load.dataset.mode == Mode::Merge {
        with_retries(|| columns::attempt(database, &chunk)).await?
    } else {
        apply_by_lane(database, &chunk).await?
    };
    database.flush().await?;
    Ok(counts)
}

/// Applies a chunk lane by lane where its rows concern no other lane, else in one transaction.
async fn apply_by_lane<D: SqlDatabase>(
    database: &D,
    chunk: &Chunk<'_, D::Statements>,
) -> Result<StoreCounts> {
    let Some(are_new) = database.look_up(chunk).await? else {
        return apply_alone(database, chunk).await;
    };
    let lanes = lanes::split(&chunk.rows, chunk.key).into_iter().enumerate();
    let parts = lanes.map(|(lane, LaneRows { rows, hashes })| {
        let part = Chunk { rows, ..*chunk };
        apply_lane(database, part, lane, are_new.then_some(hashes))
    });
    let mut sum = StoreCounts::default();
    // Each to its end: the failure of one does not cancel the others.
    for counts in future::join_all(parts).await {
        sum += counts?;
    }
    Ok(sum)
}

/// Applies the rows of a lane. With `hashes` of their keys, most of them seem to be new.
async fn apply_lane<D: SqlDatabase>(
    database: &D,
    mut part: Chunk<'_, D::Statements>,
    lane: usize,
    hashes: Option<Vec<u32>>,
) -> Result<StoreCounts> {
    let mut counts = StoreCounts::default();
    if let Some(hashes) = hashes {
        let rest = database.insert_new(&part, lane, &hashes).await?;
        counts.inserted += (part.rows.len() - rest.len()) as u64;
        part.rows = rest;
    }
    if part.rows.is_empty() {
        return Ok(counts);
    }
    counts += match with_retries(|| attempt(database, &part, LaneLock::Lane(lane))).await? {
        Some(counts) => counts,
        None => apply_alone(database, &part).await?,
    };
    Ok(counts)
}

/// Applies rows while no other worker writes to the dataset.
async fn apply_alone<D: SqlDatabase>(
    database: &D,
    chunk: &Chunk<'_, D::Statements>,
) -> Result<StoreCounts> {
    let counts = with_retries(|| attempt(database, chunk, LaneLock::All)).await?;
    debug_assert!(counts.is_some(), "a lock on all lanes covers every chunk");
    counts.ok_or_else(outdated::<D>)
}

/// Applies rows in one transaction. Returns none if a lock on all lanes is needed and `lock` covers only one.
async fn attempt<D: SqlDatabase>(
    database: &D,
    chunk: &Chunk<'_, D::Statements>,
    lock: LaneLock,
) -> Result<Option<StoreCounts>> {
    let mut transaction = database.stage(chunk).await?;
    let mut entry = transaction.lock(&chunk.table.name, lock).await?;
    if !lock.is_sufficient(&entry) {
        transaction.rollback().await?;
        return Ok(None);
    }
    if entry.has_floor_above(chunk.versions.first()) {
        transaction.rollback().await?;
        return Ok(Some(all_stale(chunk.rows.len())));
    }
    if entry.registered.is_merged() {
        // The definition of another job merges by column, so this one does, too.
        transaction.rollback().await?;
        return columns::attempt(database, chunk).await.map(Some);
    }
    if transaction.is_outdated(&entry) {
        return Err(outdated::<D>());
    }
    if entry.registered.search != chunk.table.search {
        return Err(words_outdated::<D>());
    }
    let counts = write(&mut transaction, chunk, &mut entry).await?;
    transaction.commit().await?;
    Ok(Some(counts))
}

async fn write<S: Sync>(
    transaction: &mut impl SqlTransaction<S>,
    chunk: &Chunk<'_, S>,
    entry: &mut Entry,
) -> Result<StoreCounts> {
    let mut counts = StoreCounts::default();
    let mut upserts = chunk.rows.len() as u64 - chunk.deletes;
    if entry.tombstones && upserts > 0 {
        counts.stale = transaction.drop_rows_of_deleted_keys(chunk).await?;
        upserts -= counts.stale;
    }
    if chunk.deletes > 0 && !entry.tombstones {
        entry.tombstones = true;
        transaction.create_tombstones(chunk).await?;
        transaction.save(&chunk.table.name, entry).await?;
    }
    let change = Change::Chunk(chunk);
    transaction.sum_totals(chunk.table, entry, &change).await?;
    if upserts > 0 {
        counts += transaction.upsert(chunk, upserts).await?;
    }
    if chunk.deletes > 0 {
        counts += transaction.delete(chunk).await?;
    }
    transaction.update_totals().await?;
    debug_assert_eq!(
        counts.total(),
        chunk.rows.len() as u64,
        "each row is counted once"
    );
    Ok(counts)
}
