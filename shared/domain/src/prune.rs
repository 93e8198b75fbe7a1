//! Whether a snapshot may delete the rows that it lacks.
//!
//! A file that was cut short at the end of a line is a complete snapshot to every parser. So a snapshot that would
//! delete more of a table than `max_delete_share` deletes nothing until somebody confirms it. The decision is taken
//! once for all stores, before any of them deletes a row.

use serde::{Deserialize, Serialize};

use crate::counts::StoreKind;
use crate::job::JobId;
use crate::problem::{Problem, ProblemCode};

/// The share of a table that a snapshot may delete without a confirmation, unless the definition says otherwise.
pub(crate) const MAX_DELETE_SHARE: f64 = 0.2;
/// The number of rows up to which a table may change by any share.
const SMALL_TABLE: u64 = 100;

/// What a prune would do in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrunePreview {
    /// Number of rows in the table.
    pub rows: u64,
    /// Number of rows that the snapshot lacks.
    pub deletes: u64,
}

impl PrunePreview {
    /// Returns the share of the rows that would be deleted, or none for a small table.
    fn share(&self) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share needs no more than 53 bits"
        )]
        (self.rows > SMALL_TABLE).then(|| self.deletes as f64 / self.rows as f64)
    }
}

/// The decision on the prune of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PruneDecision {
    /// What is held back until somebody confirms it; `None` if the prune may run.
    pub held: Option<HeldPrune>,
}

/// A prune that is held back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldPrune {
    /// The store that would lose the greatest share of its rows.
    pub store: StoreKind,
    /// Number of rows in its table.
    pub rows: u64,
    /// Number of rows that it would lose.
    pub deletes: u64,
    /// The share that the dataset allows.
    pub max_share: f64,
}

impl PruneDecision {
    /// Decides on a prune by what it would do in each store. The greatest share decides for all.
    pub fn new(previews: &[(StoreKind, PrunePreview)], max_share: f64) -> Self {
        let shares = previews
            .iter()
            .filter_map(|(store, preview)| Some((preview.share()?, store, preview)));
        let greatest = shares.max_by(|(one, ..), (other, ..)| one.total_cmp(other));
        Self {
            held: greatest
                .filter(|(share, ..)| *share > max_share)
                .map(|(_, store, preview)| HeldPrune {
                    store: *store,
                    rows: preview.rows,
                    deletes: preview.deletes,
                    max_share,
                }),
        }
    }
}

impl HeldPrune {
    /// Returns the problem that this job closes with.
    pub fn problem(&self, job: JobId) -> Problem {
        let Self {
            store,
            rows,
            deletes,
            max_share,
        } = self;
        let message = format!(
            "this snapshot lacks {deletes} of the {rows} rows in {store}, more than max_delete_share = {max_share} \
             allows, so no row was deleted in any store: if the file is complete, run `landfall jobs prune {job}` \
             (POST /jobs/{job}/prune); if it is not, upload a complete one"
        );
        Problem::new(ProblemCode::PruneHeld, message)
    }
}

/// How far a prune is that was held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PruneState {
    /// It awaits a confirmation.
    Held,
    /// It is confirmed, and will run.
    Confirmed,
    /// It is confirmed, and the rows are deleted in every store.
    Done,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(previews: &[(u64, u64)], max_share: f64) -> Option<u64> {
        let stores = [StoreKind::Mongodb, StoreKind::Postgres];
        let previews = previews.iter().map(|(deletes, rows)| PrunePreview {
            rows: *rows,
            deletes: *deletes,
        });
        let previews: Vec<_> = stores.into_iter().zip(previews).collect();
        PruneDecision::new(&previews, max_share)
            .held
            .map(|held| held.deletes)
    }

    #[test]
    fn the_greatest_share_of_a_large_table_decides() {
        for (previews, max_share, expected) in [
            (&[(20, 101)][..], 0.2, None),
            (&[(21, 101)], 0.2, Some(21)),
            // Small tables may change by any share.
            (&[(100, 100)], 0.2, None),
            (&[(100, 100), (30, 101)], 0.2, Some(30)),
            (&[(0, 500), (490, 500)], 0.2, Some(490)),
            (&[(490, 500), (0, 500)], 0.2, Some(490)),
            (&[(500, 500)], 1.0, None),
            (&[(0, 0), (0, 0)], 0.2, None),
            (&[], 0.2, None),
        ] {
            assert_eq!(held(previews, max_share), expected, "{previews:?}");
        }
    }
}
