//! Files of which only the start is there.

use std::borrow::Cow;
use std::convert::Infallible;

use landfall_domain::{ByteRange, Codec, Dataset, FieldType, Problem, Value};
use landfall_formats::infer::{Source, infer_parts, settings_of};
use landfall_formats::{CHUNK_BYTES, Object, decode_object};
use landfall_packed::Unpacker;
use memchr::memrchr;

use crate::check::{Ending, SEGMENT_BYTES, check_content};
use crate::form::{Choices, FormError, rewrite};
use crate::report::Report;
use crate::suggest::{Suggestion, suggestion, with_outcome};

/// The maximum number of bytes that the start of a compressed file is unpacked to.
const MAX_UNPACKED: usize = 4 * 1024 * 1024;

/// Infers the definition of a file from its start, and checks the whole records of the start against it.
///
/// # Errors
/// Why there is no definition.
pub fn suggest_start(source: Source<'_>, start: &[u8]) -> Result<Suggestion, Problem> {
    let content = Content::of(source.size, start);
    if let (true, Ending::Damaged(problem)) = (content.bytes.is_empty(), &content.ending) {
        return Err(problem.clone());
    }
    let source = Source {
        size: match content.ending {
            Ending::Whole(_) => content.bytes.len() as u64,
            _ if content.is_unpacked => Source::UNKNOWN_SIZE,
            _ => source.size,
        },
        ..source
    };
    let inferred = infer_parts(source, vec![content.bytes.to_vec()])?;
    let check = |dataset: &Dataset| Ok(content.check(dataset, source.file));
    let Ok(suggestion) = suggestion::<Infallible>(inferred, source.file, check);
    suggestion
}

/// Checks the whole records at the start of a file of this name and size against a definition.
pub fn check_start(dataset: &Dataset, file: &str, size: u64, start: &[u8]) -> Report {
    Content::of(size, start).check(dataset, file)
}

/// The content of the start of a file.
struct Content<'a> {
    bytes: Cow<'a, [u8]>,
    is_unpacked: bool,
    ending: Ending,
}

impl<'a> Content<'a> {
    /// Returns the content of the start of a file of this size.
    fn of(size: u64, start: &'a [u8]) -> Self {
        let is_whole = start.len() as u64 >= size;
        let Some(codec) = Codec::of(start) else {
            return Self {
                bytes: Cow::Borrowed(start),
                is_unpacked: false,
                ending: if is_whole {
                    Ending::Whole(Vec::new())
                } else {
                    Ending::Cut
                },
            };
        };
        let mut unpacker = Unpacker::new(codec, size);
        let mut bytes = Vec::new();
        let unpacking = unpacker.unpack(start, &mut bytes, MAX_UNPACKED);
        let is_whole = is_whole && bytes.len() < MAX_UNPACKED;
        let ending = match unpacking.and_then(|_| is_whole.then(|| unpacker.finish()).transpose()) {
            Ok(Some(warnings)) => Ending::Whole(warnings),
            Ok(None) => Ending::Cut,
            Err(problem) => Ending::Damaged(problem),
        };
        Self {
            bytes: Cow::Owned(bytes),
            is_unpacked: true,
            ending,
        }
    }

    /// Returns the content without the record that is cut off.
    fn records(&self) -> &[u8] {
        match memrchr(b'\n', &self.bytes) {
            Some(last) if !matches!(self.ending, Ending::Whole(_)) => &self.bytes[..=last],
            _ => &self.bytes,
        }
    }

    fn check(&self, dataset: &Dataset, file: &str) -> Report {
        let records = self.records();
        let size = records.len() as u64;
        let Ok(report) = check_content(dataset, file, size, self.ending.clone(), reader(records));
        report
    }
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
    let content = Content::of(source.size, start);
    let records = content.records();
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
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use landfall_domain::{JobState, ProblemCode};

    use super::*;

    fn suggested(file: &str, size: u64, start: impl AsRef<[u8]>) -> Suggestion {
        let source = Source {
            dataset: "goods",
            file,
            size,
        };
        suggest_start(source, start.as_ref()).unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn gzip(content: impl AsRef<[u8]>) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content.as_ref()).unwrap();
        encoder.finish().unwrap()
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

    #[test]
    fn the_start_of_a_compressed_file_is_unpacked_as_far_as_it_goes() {
        let rows = (0..50_000).map(|row| format!("{row},{}\n", row * 7919 % 10_000));
        let content = format!("id,n\n{}", rows.collect::<Vec<_>>().concat());
        let packed = gzip(&content);
        let size = packed.len() as u64;
        let whole = suggested("a.csv.gz", size, &packed);
        assert_eq!((whole.report.rows, whole.report.rejected), (50_000, 0));
        assert_eq!(whole.inferred.looked_at, "all 50000 rows");
        let half = suggested("a.csv.gz", size, &packed[..packed.len() / 2]);
        let report = &half.report;
        assert_eq!(
            (report.state, &report.problem),
            (JobState::Succeeded, &None)
        );
        assert!((10_000..40_000).contains(&report.rows), "{}", report.rows);
        assert_eq!(report.rejected, 0);
        let looked_at = &half.inferred.looked_at;
        assert!(looked_at.ends_with(" bytes: the start") && !looked_at.contains(" of "));
        let again = check_start(
            &whole.dataset,
            "a.csv.gz",
            size,
            &packed[..packed.len() / 2],
        );
        assert_eq!(again.rows, report.rows);
    }

    #[test]
    fn more_than_the_bound_of_a_start_is_not_unpacked() {
        const ROW_BYTES: usize = 4_096;
        let row = format!("{}\n", "x".repeat(ROW_BYTES - 1));
        let packed = gzip("id\n".to_owned() + &row.repeat(2 * MAX_UNPACKED / ROW_BYTES));
        let report = suggested("a.csv.gz", packed.len() as u64, &packed).report;
        assert_eq!((report.state, report.problem), (JobState::Succeeded, None));
        assert_eq!(report.rows, ((MAX_UNPACKED - 3) / ROW_BYTES) as u64);
    }

    #[test]
    fn a_damaged_start_is_checked_up_to_the_damage_and_a_whole_one_to_its_end() {
        let mut joined = gzip("id,n\n1,2\n2,3\n");
        let first = joined.len();
        joined.extend_from_slice(&gzip("3,4\n"));
        let dataset = suggested("a.csv", joined.len() as u64, &joined).dataset;
        let check = |start: &[u8]| check_start(&dataset, "a.csv", start.len() as u64, start);
        let report = check(&joined);
        assert_eq!((report.rows, report.problem), (3, None));
        let report = check(&[&joined, &b"end"[..]].concat());
        assert_eq!((report.rows, report.state), (3, JobState::Succeeded));
        assert_eq!(report.warnings[0].message[..7], *"3 bytes");
        let cut = check(&joined[..joined.len() - 1]);
        assert_eq!((cut.rows, cut.state), (3, JobState::Failed));
        joined[first + 2] = 7;
        let report = check(&joined);
        assert_eq!((report.rows, report.state), (2, JobState::Failed));
        let problem = report.problem.unwrap();
        assert_eq!(problem.code, ProblemCode::Malformed);
        assert!(problem.message.contains("damaged at byte"), "{problem}");
        let twice = check(&gzip(gzip("id,n\n1,2\n")));
        let problem = twice.problem.unwrap();
        assert_eq!(problem.code, ProblemCode::FormatMismatch);
        assert!(
            problem.message.contains("compress the file only once"),
            "{problem}"
        );
    }
}
