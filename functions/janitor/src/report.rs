use serde::Serialize;

/// What a run of the janitor has found and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Unfinished jobs that it has looked at.
    pub open: usize,
    /// Jobs whose splitter it has run again.
    pub split: usize,
    /// Chunks whose messages it has sent again.
    pub resent: usize,
    /// Close messages that it has sent.
    pub closes: usize,
    /// Chunks that it has marked dead.
    pub dead: usize,
    /// Jobs that it has failed.
    pub given_up: usize,
    /// Unfinished jobs that it has found in the list of all jobs.
    pub listed: usize,
    /// Versions of objects that it has looked at.
    pub objects: usize,
    /// Objects whose notifications it has replaced.
    pub started: usize,
    /// Parents with numbers that it has looked at.
    pub parents: usize,
    /// Checks of numbers that it has requested.
    pub checks: usize,
    /// Jobs, objects and parents for which it could not do what it has decided.
    pub failed: usize,
}
