//! Counts and deletes what a snapshot lacks, a range of keys in each step.
//!
//! A standalone server has no multi-document transactions, so a range is counted and recorded before it is deleted. If
//! the process dies in between, the next step deletes the recorded range, and does not count it again.

use landfall_domain::{PrunePreview, RowVersion};
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};

use super::changes::bury_below;
use super::document::{CHANGED, binary_value};
use super::error::{STORE, contended, unavailable};
use super::registry::{Registration, Registry};
use super::walk::{Range, Walk};
use crate::changes::Followed;
use crate::error::Result;
use crate::registry::{signed, tombstones_of, unsigned};
use crate::walk::Step;

/// The maximum number of previews of a dataset whose counts are kept.
const MAX_COUNTS: usize = 8;

/// Deletes the rows, or then the tombstones, of the counted range, and counts the next one. The first step raises the
/// floor. If a newer snapshot has raised it further, its prune goes on.
pub(super) async fn step(
    database: &Database,
    name: &str,
    followed: &Followed,
    floor: RowVersion,
    step_rows: u64,
) -> Result<Step<u64>> {
    let registry = Registry::new(database, name);
    let known = registry.raise_floor(floor).await?;
    let tracking = known.registered()?.tracking;
    followed.note(name, &tracking);
    if let Some(pruned) = known.pruned_by(floor) {
        return Ok(Step::Done(pruned));
    }
    let (Some(floor_bytes), walk) = (known.floor(), &known.walk) else {
        return Err(unavailable("the floor is missing"));
    };
    let documents = |is_in_tombstones: bool| {
        let tombstones = tombstones_of(name);
        database.collection::<Document>(if is_in_tombstones { &tombstones } else { name })
    };
    let mut next = Walk {
        step: walk.step + 1,
        is_in_tombstones: walk.is_in_tombstones,
        ..Walk::default()
    };
    let mut after = None;
    if let Some(counted) = &walk.counted {
        let mut below = counted.below(floor_bytes);
        if walk.is_in_tombstones {
            // Of deletes that no destination has looked at, they are all that is left.
            below.insert(CHANGED, doc! { "$exists": false });
        } else if tracking.is_on() {
            bury_below(database, name, below.clone(), floor_bytes).await?;
        }
        documents(walk.is_in_tombstones).delete_many(below).await?;
        after.clone_from(&counted.last);
        if after.is_none() {
            next.is_done = walk.is_in_tombstones;
            next.is_in_tombstones = true;
        }
    }
    let mut pruned = known.pruned.unwrap_or_default();
    if !next.is_done {
        let documents = documents(next.is_in_tombstones);
        let range = Range::next(&documents, after, step_rows).await?;
        if !next.is_in_tombstones {
            pruned += documents.count_documents(range.below(floor_bytes)).await?;
        }
        next.counted = Some(range);
    }
    let as_read = doc! {
        "floor": binary_value(floor_bytes),
        "walk.step": if walk.step == 0 { Bson::Null } else { Bson::Int64(walk.step) },
    };
    let update = doc! { "$set": {
        "pruned": signed(STORE, pruned)?,
        "walk": next.to_document(),
    } };
    if !registry.update(as_read, update).await? {
        return Err(contended("another worker has taken the step"));
    }
    // The first version of an older snapshot has pruned nothing.
    let is_own = floor_bytes == floor.as_bytes();
    Ok(if next.is_done {
        Step::Done(if is_own { pruned } else { 0 })
    } else {
        Step::Continues
    })
}

/// How far the count for a floor is.
#[derive(Default)]
struct Count {
    /// Number of the last step.
    step: i64,
    place: Option<Bson>,
    is_done: bool,
    rows: u64,
    deletes: u64,
}

impl Count {
    fn read(known: &Registration, floor: &str) -> Result<Self> {
        let Ok(count) = known.counts.get_document(floor) else {
            return Ok(Self::default());
        };
        let number = |name: &str| {
            let number = count.get_i64(name);
            number.map_err(|_| unavailable("a count of the registry cannot be read"))
        };
        Ok(Self {
            step: number("step")?,
            place: count.get("place").cloned(),
            is_done: count.get_bool("is_done").unwrap_or(false),
            rows: unsigned(STORE, number("rows")?)?,
            deletes: unsigned(STORE, number("deletes")?)?,
        })
    }

    fn to_document(&self) -> Result<Document> {
        let mut count = doc! {
            "step": self.step,
            "is_done": self.is_done,
            "rows": signed(STORE, self.rows)?,
            "deletes": signed(STORE, self.deletes)?,
        };
        count.extend(self.place.clone().map(|place| ("place".to_owned(), place)));
        Ok(count)
    }

    fn step(&self) -> Step<PrunePreview> {
        if !self.is_done {
            return Step::Continues;
        }
        Step::Done(PrunePreview {
            rows: self.rows,
            deletes: self.deletes,
        })
    }
}

/// Counts the documents of the next range, and those below the floor.
pub(super) async fn preview(
    database: &Database,
    name: &str,
    floor: RowVersion,
    step_rows: u64,
) -> Result<Step<PrunePreview>> {
    let registry = Registry::new(database, name);
    let known = registry.get().await?;
    let field = floor.to_string();
    let mut count = Count::read(&known, &field)?;
    if count.is_done {
        return Ok(count.step());
    }
    let documents = database.collection::<Document>(name);
    let range = Range::next(&documents, count.place, step_rows).await?;
    let below = range.below(floor.as_bytes());
    // Exact: the estimate of the server's metadata may be wrong after a crash.
    count.rows += documents.count_documents(range.filter()).await?;
    count.deletes += documents.count_documents(below).await?;
    count.is_done = range.last.is_none();
    count.place = range.last;
    let place = format!("counts.{field}");
    let as_read = if count.step == 0 {
        doc! { &place: null }
    } else {
        doc! { format!("{place}.step"): count.step }
    };
    count.step += 1;
    let mut update = doc! { "$set": { place: count.to_document()? } };
    let oldest = known.counts.keys().filter(|other| **other != field).min();
    if let Some(oldest) = oldest.filter(|_| known.counts.len() > MAX_COUNTS) {
        update.insert("$unset", doc! { format!("counts.{oldest}"): "" });
    }
    if !registry.update(as_read, update).await? {
        return Err(contended("another worker has counted the range"));
    }
    Ok(count.step())
}
