//! Completion events: how a job closed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::chunk::first_attempt;
use crate::codec::Codec;
use crate::counts::Counts;
use crate::dead::DeadChunks;
use crate::job::{JobId, JobState, ObjectRef};
use crate::problem::Problem;
use crate::prune::PruneState;
use crate::warning::Warning;

/// Location of the rejects of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectsLocation {
    /// Bucket.
    pub bucket: String,
    /// Prefix of the keys. Each chunk with rejects has one NDJSON object.
    pub prefix: String,
}

impl RejectsLocation {
    /// Returns the location of the rejects of a job.
    pub fn new(bucket: &str, dataset: &str, job: JobId) -> Self {
        Self {
            bucket: bucket.to_owned(),
            prefix: format!("{dataset}/{job}/"),
        }
    }

    /// Returns the object key for a chunk's rejects. Reprocessing the chunk yields the same key.
    pub fn key(&self, ordinal: u32) -> String {
        format!("{}{ordinal:08}.ndjson", self.prefix)
    }
}

/// Detail of the event `landfall.job.completed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionEvent {
    /// Id of the completion, the same each time it is published. Subscribers deduplicate by it.
    pub id: Uuid,
    /// The job.
    pub job: JobId,
    /// Which attempt of the job has closed, from 1: one more after each redrive.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// Its dataset, if the key names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Its object.
    pub object: ObjectRef,
    /// How the object is compressed, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<Codec>,
    /// The job whose fixed rejects the object holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects_of: Option<JobId>,
    /// Final state of the job.
    pub state: JobState,
    /// What went wrong or needs attention, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// What may be wrong although it succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// What happened to its rows.
    pub counts: Counts,
    /// How far its prune was when this was published, if that was held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneState>,
    /// Number of chunks.
    pub chunks: u32,
    /// Number of chunks that could not be processed.
    #[serde(default)]
    pub dead: u32,
    /// Why, and the first five of them.
    #[serde(default, skip_serializing_if = "DeadChunks::is_empty")]
    pub dead_chunks: DeadChunks,
    /// Location of its rejects, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<RejectsLocation>,
    /// Time at which its first event was processed, in RFC 3339.
    pub created_at: String,
    /// Time at which it closed, in RFC 3339.
    pub closed_at: String,
}

impl CompletionEvent {
    /// `source` of the event on EventBridge.
    pub const SOURCE: &'static str = "landfall";
    /// `detail-type` of the event on EventBridge.
    pub const DETAIL_TYPE: &'static str = "landfall.job.completed";

    /// Returns the id of the completion of this attempt of a job.
    pub fn id_for(job: JobId, attempt: u32) -> Uuid {
        Self::derive_id(job, attempt, "")
    }

    /// Returns the id of the completion after a prune that was held back when this attempt of the job closed.
    pub fn id_after_prune(job: JobId, attempt: u32) -> Uuid {
        Self::derive_id(job, attempt, "/pruned")
    }

    fn derive_id(job: JobId, attempt: u32, suffix: &str) -> Uuid {
        let kind = Self::DETAIL_TYPE;
        let name = if attempt == first_attempt() {
            format!("{kind}{suffix}")
        } else {
            format!("{kind}{suffix}/{attempt}")
        };
        Uuid::new_v5(&job.0, name.as_bytes())
    }
}
