//! The report about a file, as text and as JSON.

use std::fmt;

use landfall_domain::{Format, JobState, Problem, RejectCode, Warning};
use serde::Serialize;
use serde_json::value::RawValue;

/// What would happen to a file.
#[derive(Serialize)]
pub struct Report {
    /// The name of the dataset.
    pub dataset: String,
    /// The format of the file, once known.
    pub format: Option<Format>,
    /// The encoding of the file, once known.
    pub encoding: Option<String>,
    /// The state in which its job would close.
    pub state: JobState,
    /// Why the job would not be a plain success.
    pub problem: Option<Problem>,
    /// What may be wrong with the file.
    pub warnings: Vec<Warning>,
    /// The number of records, without those that were skipped.
    pub rows: u64,
    /// The number of rejects.
    pub rejected: u64,
    /// The number of records that were skipped, such as blank ones.
    pub skipped: u64,
    /// The rejects by reason, in the order in which they occur.
    pub rejects: Vec<Reason>,
    /// The first rows.
    pub first_rows: Vec<FirstRow>,
}

/// A reason for rejects.
#[derive(Serialize)]
pub struct Reason {
    /// The reason.
    pub code: RejectCode,
    /// How many there are.
    pub count: u64,
    /// The first rejects for this reason.
    pub first: Vec<Place>,
}

/// Where a record is rejected, and why.
#[derive(Serialize)]
pub struct Place {
    /// The line of the record in the file.
    pub line: u64,
    /// The column, if the fault is in one.
    pub column: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

/// One of the first rows.
#[derive(Serialize)]
pub struct FirstRow {
    /// Whether it deletes its key.
    pub deleted: bool,
    /// The row as JSON.
    pub row: Box<RawValue>,
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
