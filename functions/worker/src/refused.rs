//! Rows that a store refuses: finds them, and has the store write the others.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use landfall_domain::{Dataset, ObjectOrder, Row, StoreCounts};
use landfall_stores::{Store, StoreError};

use crate::WorkError;

/// The search ends after so many refused rows: a store that refuses all of them would refuse each alone, too.
const MAX_FOUND: usize = 10;
/// The maximum number of places in a message.
const MAX_LISTED: usize = 3;

/// Rows that a store has refused, and would refuse again.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}; {}", Places(.places), if *.is_complete {
    "the store has the other rows of the chunk"
} else {
    "other rows of the chunk may be missing in the store, too"
})]
pub struct RefusedRows {
    /// What the store says.
    pub source: StoreError,
    /// Where the records of these rows are in the object, by offset.
    pub places: Vec<RefusedPlace>,
    /// Whether these are all.
    pub is_complete: bool,
}

/// The place of a refused row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedPlace {
    /// Byte offset of its record in the object.
    pub offset: u64,
    /// Line on which the record starts, from 1, if it is known.
    pub line: Option<u64>,
}

/// Writes places as the beginning of a sentence.
struct Places<'a>(&'a [RefusedPlace]);

impl fmt::Display for Places<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, place) in self.0.iter().take(MAX_LISTED).enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            match place.line {
                Some(line) => write!(f, "{separator}line {line} (byte {})", place.offset)?,
                None => write!(f, "{separator}byte {}", place.offset)?,
            }
        }
        match self.0.len().checked_sub(MAX_LISTED) {
            None | Some(0) => Ok(()),
            Some(others) => write!(f, " and {others} more"),
        }
    }
}

/// Applies rows to a store. If it refuses some, halves are applied until these are found and all others are written.
pub(crate) async fn apply(
    store: &dyn Store,
    dataset: &Dataset,
    order: &ObjectOrder,
    rows: &Arc<Vec<Row>>,
) -> Result<StoreCounts, WorkError> {
    let source = match store.apply(dataset, order, rows).await {
        Err(error) if error.concerns_rows() => error,
        applied => return Ok(applied?),
    };
    let mut places = Vec::new();
    let mut refused = Vec::from([Range {
        start: 0,
        end: rows.len(),
    }]);
    while let Some(range) = refused.pop() {
        if range.len() == 1 {
            let offset = rows[range.start].offset;
            places.push(RefusedPlace { offset, line: None });
            if places.len() == MAX_FOUND {
                break;
            }
            continue;
        }
        let middle = range.start.midpoint(range.end);
        for half in [middle..range.end, range.start..middle] {
            let part = Arc::new(rows[half.clone()].to_vec());
            match store.apply(dataset, order, &part).await {
                Ok(_) => {}
                Err(error) if error.concerns_rows() => refused.push(half),
                Err(error) => return Err(error.into()),
            }
        }
    }
    if places.is_empty() {
        // The cause is gone, or the store refused the rows only together.
        return Ok(store.apply(dataset, order, rows).await?);
    }
    places.sort_by_key(|place| place.offset);
    Err(WorkError::Refused(RefusedRows {
        source,
        places,
        is_complete: refused.is_empty(),
    }))
}
