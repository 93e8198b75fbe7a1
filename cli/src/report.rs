//! The report about a file, as text and as JSON.

use std::fmt;

use landfall_domain::{Format, JobState, Problem, RejectCode, Warning};
use serde::Serialize;
use serde_json::value::RawValue;

/// What would happen to a file.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) dataset: String,
    pub(crate) format: Option<Format>,
    pub(crate) encoding: Option<String>,
    /// The state in which its job would close.
    pub(crate) state: JobState,
    pub(crate) problem: Option<Problem>,
    pub(crate) warnings: Vec<Warning>,
    /// The number of records, without those that were skipped.
    pub(crate) rows: u64,
    pub(crate) rejected: u64,
    pub(crate) skipped: u64,
    /// The rejects by reason, in the order in which they occur.
    pub(crate) rejects: Vec<Reason>,
    pub(crate) first_rows: Vec<FirstRow>,
}

/// A reason for rejects.
#[derive(Serialize)]
pub(crate) struct Reason {
    pub(crate) code: RejectCode,
    pub(crate) count: u64,
    /// The first rejects for this reason.
    pub(crate) first: Vec<Place>,
}

/// Where a record is rejected, and why.
#[derive(Serialize)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: Option<String>,
    pub(crate) message: String,
}

/// One of the first rows.
#[derive(Serialize)]
pub(crate) struct FirstRow {
    /// Whether it deletes its key.
    pub(crate) deleted: bool,
    /// The row as JSON.
    pub(crate) row: Box<RawValue>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.as_str();
        let kinds: Vec<String> = [self.format.map(word), self.encoding.clone()]
            .into_iter()
            .flatten()
            .collect();
        writeln!(f, "dataset {}: {}", self.dataset, kinds.join(", "))?;
        match &self.problem {
            None => writeln!(f, "the job would close as {state}")?,
            Some(Problem { code, message }) => {
                writeln!(
                    f,
                    "the job would close as {state}: {}: {message}",
                    word(code)
                )?;
            }
        }
        let (rows, rejected, skipped) = (self.rows, self.rejected, self.skipped);
        writeln!(
            f,
            "{rows} rows, {rejected} of them rejected; {skipped} records skipped"
        )?;
        for Warning { code, message } in &self.warnings {
            writeln!(f, "warning: {code}: {message}")?;
        }
        for Reason { code, count, first } in &self.rejects {
            writeln!(f, "rejected: {}: {count}", word(code))?;
            for Place { line, message, .. } in first {
                writeln!(f, "  line {line}: {message}")?;
            }
        }
        for FirstRow { deleted, row } in &self.first_rows {
            let operation = if *deleted { "delete" } else { "row" };
            writeln!(f, "{operation}: {row}")?;
        }
        Ok(())
    }
}

/// Returns the word for a code.
fn word(code: impl Serialize) -> String {
    let word = serde_json::to_value(code).ok();
    let word = word.as_ref().and_then(serde_json::Value::as_str);
    word.unwrap_or_default().to_owned()
}
