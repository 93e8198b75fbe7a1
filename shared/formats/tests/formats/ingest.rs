//! Reads files by all steps of splitter and worker, in small parts.

use std::convert::Infallible;
use std::path::PathBuf;

use landfall_domain::{Dataset, Problem, WarningCode};
use landfall_formats::{Decoded, Findings, Object, decode_object};

/// The content of a file, and the codes of the warnings about it.
pub(crate) struct Ingested {
    pub(crate) decoded: Decoded,
    pub(crate) warnings: Vec<WarningCode>,
}

/// Returns the content of a file in `tests/cases`.
pub(crate) fn read(case: &str, file: &str) -> Vec<u8> {
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    std::fs::read(cases.join(case).join(file)).unwrap()
}

/// Ingests a file that has no problem, in chunks of a record or two.
pub(crate) fn ingest(dataset: &Dataset, file: &str, content: &[u8]) -> Ingested {
    let (decoded, findings) = read_all(dataset, file, content);
    assert_eq!(findings.problem, None);
    let warnings = findings.warnings.iter();
    Ingested {
        decoded,
        warnings: warnings.map(|warning| warning.code).collect(),
    }
}

/// Returns the problem of a file.
pub(crate) fn problem(dataset: &Dataset, file: &str, content: &[u8]) -> Problem {
    read_all(dataset, file, content).1.problem.unwrap()
}

fn read_all(dataset: &Dataset, file: &str, content: &[u8]) -> (Decoded, Findings) {
    let object = Object {
        key: &format!("{}/{file}", dataset.name),
        size: content.len() as u64,
        segment_bytes: 7,
        chunk_bytes: 16,
    };
    let mut whole = Decoded::default();
    let read = |range: landfall_domain::ByteRange| {
        let (start, end) = (range.start.try_into(), range.end.try_into());
        Ok::<_, Infallible>(content[start.unwrap()..end.unwrap()].to_vec())
    };
    let Ok(findings) = decode_object(dataset, object, read, |_, chunk| {
        whole.rows.extend(chunk.rows);
        whole.rejects.extend(chunk.rejects);
        whole.records += chunk.records;
        whole.skipped += chunk.skipped;
        whole.utf8 += chunk.utf8;
        for (field, values) in chunk.truncated {
            *whole.truncated.entry(field).or_default() += values;
        }
    });
    (whole, findings)
}
