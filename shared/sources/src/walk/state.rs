//! How far a source has been read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::mark::{Mark, Overlap};
use crate::source::{Incremental, Progress, Source};

/// How far a source has been read. It becomes current when the job of its records has succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What was requested: the state of another request is not continued.
    pub fingerprint: String,
    /// The greatest value of the field, or the end of the last range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Mark>,
    /// The cursor of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// `ETag` of the answer, if there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified` of the answer, if there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

impl State {
    /// Returns where the next run of a source starts to read.
    pub(super) fn start(&self, source: &Source, now: Timestamp) -> Option<Mark> {
        let incremental = source.incremental.as_ref()?;
        let watermark = self.watermark.as_ref();
        let lowered = watermark.map(|mark| mark.less(overlap(source, incremental, now)));
        match (lowered, incremental.start.clone()) {
            (Some(lowered), Some(start)) if start.is_after(&lowered) => Some(start),
            (lowered, start) => lowered.or(start),
        }
    }
}

/// Returns how much is read again: by default, as much time as is between two runs.
fn overlap(source: &Source, incremental: &Incremental, now: Timestamp) -> Overlap {
    let usual = match incremental.progress {
        Progress::Field { .. } => Overlap::Time(source.schedule.interval(now)),
        Progress::Cursor(_) => Overlap::None,
    };
    incremental.overlap.unwrap_or(usual)
}

/// Returns the later of two marks.
pub(super) fn later(a: Option<Mark>, b: Option<Mark>) -> Option<Mark> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.is_after(&a) { b } else { a }),
        (a, b) => a.or(b),
    }
}
