//! Files of which only the start is there.

use std::convert::Infallible;

use landfall_domain::{ByteRange, Dataset, JobState, Problem, ProblemCode};
use landfall_formats::infer::{Source, infer_parts};

use crate::check::check;
use crate::report::Report;
use crate::suggest::{Suggestion, suggestion};

/// Infers the definition of a file from its start, and checks the whole records of the start against it.
///
/// # Errors
/// Why there is no definition.
pub fn suggest_start(source: Source<'_>, start: &[u8]) -> Result<Suggestion, Problem> {
    let inferred = infer_parts(source, vec![start.to_vec()])?;
    let check = |dataset: &Dataset| Ok(check_start(dataset, source.file, source.size, start));
    let Ok(suggestion) = suggestion::<Infallible>(inferred, source.file, check);
    suggestion
}

/// Checks the whole records at the start of a file of this name and size against a definition.
pub fn check_start(dataset: &Dataset, file: &str, size: u64, start: &[u8]) -> Report {
    let is_whole = start.len() as u64 >= size;
    let last = start.iter().rposition(|byte| *byte == b'\n');
    let end = match last {
        Some(last) if !is_whole => last + 1,
        _ => start.len(),
    };
    let start = &start[..end];
    let read = |range: ByteRange| {
        let place = |byte: u64| usize::try_from(byte).unwrap_or(end).min(end);
        Ok::<_, Infallible>(start[place(range.start)..place(range.end)].to_vec())
    };
    let Ok(mut report) = check(dataset, file, end as u64, read);
    // What is cut off may end a document or a quoted cell.
    let is_cut = |problem: &mut Problem| problem.code == ProblemCode::Malformed;
    if !is_whole && report.problem.take_if(is_cut).is_some() {
        report.state = JobState::Succeeded;
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(file: &str, size: u64, start: &str) -> Suggestion {
        let source = Source {
            dataset: "goods",
            file,
            size,
        };
        suggest_start(source, start.as_bytes()).unwrap_or_else(|problem| panic!("{problem}"))
    }

    #[test]
    fn a_record_that_is_cut_is_left_out() {
        for (file, start, rows) in [
            ("a.csv", "id,n\n1,2\n2,3\n3", 2),
            ("a.ndjson", "{\"id\":1}\n{\"id\":2}\n{\"i", 2),
            ("a.json", "[{\"id\":1},\n{\"id\":2},\n{\"id\"", 2),
        ] {
            let report = suggested(file, 1_000, start).report;
            assert_eq!((report.rows, report.rejected), (rows, 0), "{file}");
            assert_eq!((report.state, report.problem), (JobState::Succeeded, None));
        }
        let whole = suggested("a.csv", 14, "id,n\n1,2\n2,3\n3");
        assert_eq!((whole.report.rows, whole.report.rejected), (3, 1));
    }
}
