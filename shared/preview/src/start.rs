//! Files of which only the start is there.

use std::convert::Infallible;

use landfall_domain::{ByteRange, Dataset, FieldType, JobState, Problem, ProblemCode, Value};
use landfall_formats::infer::{Source, infer_parts, settings_of};
use landfall_formats::{CHUNK_BYTES, Object, decode_object};

use crate::check::{SEGMENT_BYTES, check};
use crate::form::{Choices, FormError, rewrite};
use crate::report::Report;
use crate::suggest::{Suggestion, suggestion, with_outcome};

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
    let records = whole_records(size, start);
    let Ok(mut report) = check(dataset, file, records.len() as u64, reader(records));
    // What is cut off may end a document or a quoted cell.
    let is_cut = |problem: &mut Problem| problem.code == ProblemCode::Malformed;
    if !is_whole && report.problem.take_if(is_cut).is_some() {
        report.state = JobState::Succeeded;
    }
    report
}

/// Rewrites a definition for the choices in its form, and checks the start of a file against it. The settings of a
/// field whose type changes are those with which its values are of the new type, if there are any.
///
/// # Errors
/// The choices do not belong to the definition, or make it invalid.
pub fn choose_start(
    definition: &str,
    choices: &Choices,
    source: Source<'_>,
    start: &[u8],
) -> Result<(String, Report), FormError> {
    let mut all = None;
    let rewritten = rewrite(definition, choices, |index, kind| {
        let all = all.get_or_insert_with(|| texts(definition, choices, source, start));
        let texts = all.iter().filter_map(|row| row.get(index));
        settings_of(kind, texts.map(String::as_str))
    })?;
    let dataset = Dataset::from_toml("definition", &rewritten)?;
    let report = check_start(&dataset, source.file, source.size, start);
    Ok((with_outcome(&rewritten, &report, source.file), report))
}

/// Returns the rows at the start of a file as texts. There are none if the choices are invalid.
fn texts(
    definition: &str,
    choices: &Choices,
    source: Source<'_>,
    start: &[u8],
) -> Vec<Vec<String>> {
    let mut choices = choices.clone();
    for field in &mut choices.fields {
        field.kind = FieldType::Text;
        field.required = false;
    }
    let as_texts = rewrite(definition, &choices, |_, _| Vec::new());
    let dataset = as_texts.map(|text| Dataset::from_toml("definition", &text));
    let Ok(Ok(dataset)) = dataset else {
        return Vec::new();
    };
    let records = whole_records(source.size, start);
    let object = Object {
        key: &format!("{}/{}", dataset.name, source.file),
        size: records.len() as u64,
        segment_bytes: SEGMENT_BYTES,
        chunk_bytes: CHUNK_BYTES,
    };
    let text = |value: &Value| match value {
        Value::Text(text) => text.as_str().to_owned(),
        _ => String::new(),
    };
    let mut rows = Vec::new();
    let Ok(_) = decode_object(&dataset, object, reader(records), |_, decoded| {
        let decoded = decoded.rows.iter();
        rows.extend(decoded.map(|row| row.values.iter().map(text).collect()));
    });
    rows
}

/// Returns the start of a file of this size without the record that is cut off.
fn whole_records(size: u64, start: &[u8]) -> &[u8] {
    let last = start.iter().rposition(|byte| *byte == b'\n');
    match last {
        Some(last) if (start.len() as u64) < size => &start[..=last],
        _ => start,
    }
}

/// Returns a function that reads ranges.
fn reader(bytes: &[u8]) -> impl FnMut(ByteRange) -> Result<Vec<u8>, Infallible> {
    |range| {
        let place = |byte: u64| {
            usize::try_from(byte)
                .unwrap_or(bytes.len())
                .min(bytes.len())
        };
        Ok(bytes[place(range.start)..place(range.end)].to_vec())
    }
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
