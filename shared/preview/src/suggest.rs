//! Definitions for files of unknown datasets, checked against the files.

use std::fmt::Write as _;

use landfall_domain::{ByteRange, Dataset, Problem, ProblemCode};
use landfall_formats::infer::{Inferred, Source, infer};

use crate::check::check;
use crate::report::Report;

/// The most reasons of rejects that a comment names.
const REASONS: usize = 3;

/// The start of an inferred definition.
const INFERRED: &str = "# Inferred from ";

/// A definition, and what it makes of its file.
pub struct Suggestion {
    /// The definition, in TOML with comments that say what is uncertain and what becomes of the file.
    pub definition: String,
    /// What was inferred.
    pub inferred: Inferred,
    /// The definition, parsed.
    pub dataset: Dataset,
    /// What would happen to the file.
    pub report: Report,
}

/// Infers the definition of a file, and checks the file against it. `read` returns the bytes of a range.
///
/// Returns the definition, or why there is none.
///
/// # Errors
/// Those of `read`.
pub fn suggest<E>(
    source: Source<'_>,
    mut read: impl FnMut(ByteRange) -> Result<Vec<u8>, E>,
) -> Result<Result<Suggestion, Problem>, E> {
    match infer(source, &mut read)? {
        Ok(inferred) => suggestion(inferred, source.file, |dataset| {
            check(dataset, source.file, source.size, read)
        }),
        Err(problem) => Ok(Err(problem)),
    }
}

/// Returns a definition with what becomes of its file.
pub(crate) fn suggestion<E>(
    inferred: Inferred,
    file: &str,
    check: impl FnOnce(&Dataset) -> Result<Report, E>,
) -> Result<Result<Suggestion, Problem>, E> {
    let text = inferred.to_string();
    let dataset = match Dataset::from_toml("inferred.toml", &text) {
        Ok(dataset) => dataset,
        Err(error) => {
            let message = format!("the inferred definition is refused: {error}");
            return Ok(Err(Problem::new(ProblemCode::BadDataset, message)));
        }
    };
    let report = check(&dataset)?;
    Ok(Ok(Suggestion {
        definition: comments(&report, file) + &text,
        inferred,
        dataset,
        report,
    }))
}

/// Returns a definition with comments that say what would become of a file, in place of earlier ones.
pub(crate) fn with_outcome(definition: &str, report: &Report, file: &str) -> String {
    // An inferred definition starts with them. In any other one, comments are those of people.
    let is_comment = |line: &str| line.starts_with('#');
    match definition.split_once(INFERRED) {
        Some((before, after)) if before.lines().all(is_comment) => {
            [&comments(report, file), INFERRED, after].concat()
        }
        _ => definition.to_owned(),
    }
}

/// Returns comments that say what would become of the file.
fn comments(report: &Report, file: &str) -> String {
    let Report { rows, rejected, .. } = report;
    let file = file.replace(char::is_control, " ");
    let mut comments = match rejected {
        0 => format!("# All {rows} rows of {file} fit this definition.\n"),
        _ => format!("# {rejected} of {rows} rows of {file} do not fit this definition:\n"),
    };
    for reason in report.rejects.iter().take(REASONS) {
        for place in reason.first.iter().take(1) {
            let message = place.message.replace(char::is_control, " ");
            // Writing to a text cannot fail.
            let _ = writeln!(
                comments,
                "#   {} like that on line {}: {message}",
                reason.count, place.line
            );
        }
    }
    comments
}
