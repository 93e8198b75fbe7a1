//! Records which keys have changed, for destinations that follow the rows of a dataset.

mod port;

pub use port::{
    ChangeKey, ChangeOutcome, ChangePage, ChangeResult, ChangeState, ChangeStore, ChangeSummary,
    DueChange, Lease, ListedChange, MAX_ANSWER_BYTES, MAX_COUNTED_ENTRIES, Selection, Sent,
};
