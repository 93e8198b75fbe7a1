//! Checks of files: what would happen to one in the inbox, as far as no store is needed to find out.
//!
//! All steps are those of splitter and worker, with chunks of the default size, and so is the memory that they take.

use landfall_domain::{
    ByteRange, Counts, Dataset, Folded, JobId, JsonOf, JsonText, ObjectOrder, ObjectRef, Problem,
    ProblemCode, Reject, Row, Warning, WarningCode,
};
use landfall_formats::{CHUNK_BYTES, Decoded, Findings, Object, decode_object};
use landfall_ledger::{JobHead, Sums};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::report::{FirstRow, Place, Reason, Report};

/// The number of bytes that are read at once to find the chunks.
pub(crate) const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// The number of rows in a report.
const FIRST_ROWS: usize = 5;
/// The number of rejects of one reason in a report.
const FIRST_REJECTS: usize = 3;

/// How content ends that is not all of a plain file.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With the file. The warnings are about how that is compressed.
    Whole(Vec<Warning>),
    /// Somewhere in the file.
    Cut,
    /// Where the file cannot be unpacked any further.
    Damaged(Problem),
}

impl Ending {
    /// Adds how the content ends to what was found in it.
    fn add(self, findings: &mut Findings) {
        let problem = &mut findings.problem;
        match self {
            Self::Whole(warnings) => findings.warnings.extend(warnings),
            // What is cut off may end a document or a quoted cell.
            Self::Cut => drop(problem.take_if(|it| it.code == ProblemCode::Malformed)),
            Self::Damaged(damage) => {
                problem.take_if(|it| it.code == ProblemCode::Malformed || !it.code.fails());
                problem.get_or_insert(damage);
            }
        }
    }
}

/// Checks a plain file of this name and size against a definition. `read` returns the bytes of a range.
///
/// # Errors
/// Those of `read`.
pub fn check<E>(
    dataset: &Dataset,
    file: &str,
    size: u64,
    read: impl FnMut(ByteRange) -> Result<Vec<u8>, E>,
) -> Result<Report, E> {
    check_content(dataset, file, size, Ending::Whole(Vec::new()), read)
}

/// Checks content of a file of this name against a definition: what a compressed file unpacks to, or a part of that.
/// `read` returns the bytes of a range of the content.
///
/// Content that ends before its file ends with a line.
///
/// # Errors
/// Those of `read`.
pub fn check_content<E>(
    dataset: &Dataset,
    file: &str,
    size: u64,
    ending: Ending,
    read: impl FnMut(ByteRange) -> Result<Vec<u8>, E>,
) -> Result<Report, E> {
    let key = format!("{}/{file}", dataset.name);
    let object = Object {
        key: &key,
        size,
        segment_bytes: SEGMENT_BYTES,
        chunk_bytes: CHUNK_BYTES,
    };
    let order = ObjectOrder::first(JobId::for_object("", &key, ""));
    let mut found = Found::default();
    let mut findings = decode_object(dataset, object, read, |header, decoded| {
        let counts = decoded.counts(dataset, header);
        found.add(dataset, order, &counts, decoded);
    })?;
    ending.add(&mut findings);
    Ok(found.report(dataset, &object, findings))
}

/// What was found in the chunks so far.
#[derive(Default)]
struct Found {
    counts: Counts,
    skipped: u64,
    rejects: Vec<Reason>,
    first_rows: Vec<FirstRow>,
}

impl Found {
    fn add(&mut self, dataset: &Dataset, order: ObjectOrder, counts: &Counts, decoded: Decoded) {
        self.counts += counts;
        self.skipped += decoded.skipped.records();
        for reject in decoded.rejects {
            self.add_reject(reject);
        }
        let missing = FIRST_ROWS - self.first_rows.len();
        let first = decoded.rows.iter().take(missing);
        self.first_rows
            .extend(first.filter_map(|row| first_row(dataset, row)));
        let Folded { superseded, .. } = Folded::of_chunk(decoded.rows, dataset, order);
        if superseded > 0 {
            *self
                .counts
                .warnings
                .entry(WarningCode::RepeatedKeys)
                .or_default() += superseded;
        }
    }

    fn add_reject(&mut self, reject: Reject) {
        let known = self
            .rejects
            .iter()
            .position(|reason| reason.code == reject.code);
        let index = known.unwrap_or_else(|| {
            self.rejects.push(Reason {
                code: reject.code,
                count: 0,
                first: Vec::new(),
            });
            self.rejects.len() - 1
        });
        let reason = &mut self.rejects[index];
        reason.count += 1;
        if reason.first.len() < FIRST_REJECTS {
            reason.first.push(Place {
                line: reject.line,
                column: reject.column,
                message: reject.message,
            });
        }
    }

    fn report(self, dataset: &Dataset, object: &Object<'_>, findings: Findings) -> Report {
        let head = head(dataset, object, &findings);
        let (state, problem) = head.outcome(&Sums {
            counts: self.counts.clone(),
            ..Sums::default()
        });
        let reading = findings.reading;
        Report {
            dataset: dataset.name.clone(),
            format: reading.as_ref().map(|reading| reading.format),
            encoding: reading.map(|reading| reading.encoding.name().to_lowercase()),
            state,
            problem,
            warnings: head.warnings(&self.counts),
            rows: self.counts.rows,
            rejected: self.counts.rejected,
            skipped: self.skipped,
            rejects: self.rejects,
            first_rows: self.first_rows,
        }
    }
}

/// Returns the head that the job would have before its close, which decides how it closes.
fn head(dataset: &Dataset, object: &Object<'_>, findings: &Findings) -> JobHead {
    let object = ObjectRef {
        bucket: String::new(),
        key: object.key.to_owned(),
        version: None,
        etag: String::new(),
        size: object.size,
    };
    let job = JobId::for_object("", &object.key, "");
    let mut head = JobHead::new(job, object, ObjectOrder::first(job));
    head.reject_limits = dataset.limits.rejects;
    head.mode = dataset.mode;
    head.chunks = Some(findings.chunks);
    head.problem.clone_from(&findings.problem);
    head.warnings.clone_from(&findings.warnings);
    head
}

fn first_row(dataset: &Dataset, row: &Row) -> Option<FirstRow> {
    let text = serde_json::to_string(&Fields { dataset, row }).ok()?;
    Some(FirstRow {
        deleted: row.deleted,
        row: RawValue::from_string(text).ok()?,
    })
}

/// The fields of a row, of which a delete has only the key.
struct Fields<'a> {
    dataset: &'a Dataset,
    row: &'a Row,
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { dataset, row } = self;
        let mut map = serializer.serialize_map(None)?;
        for (index, (field, value)) in dataset.fields.iter().zip(&row.values).enumerate() {
            if !row.deleted || dataset.key_indexes().contains(&index) {
                map.serialize_entry(&field.name, &JsonOf(value))?;
            }
        }
        if let Some(extra) = &row.extra {
            map.serialize_entry("_extra", &JsonText(extra))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use landfall_domain::JobState;

    use super::*;
    use crate::tests::reader;

    const DEFINITION: &str = r#"
        name = "goods"
        key = ["sku"]
        fields = [
            { name = "sku", type = "text" },
            { name = "price", type = "decimal" },
            { name = "sizes", type = "json" },
        ]
        operation.column = "op"
    "#;

    fn outcome(settings: &str, name: &str, content: impl AsRef<[u8]>) -> Report {
        check_with(&format!("{settings}\n{DEFINITION}"), name, content)
    }

    fn check_with(definition: &str, name: &str, content: impl AsRef<[u8]>) -> Report {
        let dataset = Dataset::from_toml("goods.toml", definition).unwrap();
        let content = content.as_ref();
        let Ok(report) = super::check(&dataset, name, content.len() as u64, reader(content));
        report
    }

    fn code<C: Serialize>(code: C) -> serde_json::Value {
        serde_json::to_value(code).unwrap()
    }

    #[test]
    fn a_report_has_the_outcome_the_rejects_by_reason_and_the_first_rows() {
        let file = "sku,price,sizes,op,colour\nA,1.50,\"[1,2]\",,red\nB,x,,,\nB,y,,,\n,1,,,\nA,,,D,\n,,,,\n";
        let report = outcome("", "goods.csv", file);
        assert_eq!((report.rows, report.rejected, report.skipped), (5, 3, 1));
        assert_eq!((report.state, report.problem), (JobState::Succeeded, None));
        let reasons = report.rejects.iter();
        let reasons: Vec<_> = reasons
            .map(|reason| (code(reason.code), reason.count, reason.first[0].line))
            .collect();
        assert_eq!(reasons, [("type".into(), 2, 3), ("required".into(), 1, 5)]);
        assert_eq!(report.rejects[0].first[1].column.as_deref(), Some("price"));
        let rows = report.first_rows.iter();
        let rows: Vec<_> = rows.map(|row| (row.deleted, row.row.get())).collect();
        let first = r#"{"sku":"A","price":"1.5","sizes":[1,2],"_extra":{"colour":"red"}}"#;
        assert_eq!(rows, [(false, first), (true, r#"{"sku":"A"}"#)]);
        let warnings: Vec<_> = report.warnings.iter().map(|it| code(it.code)).collect();
        assert_eq!(warnings, ["blank_rows", "repeated_keys"]);
        let text = outcome("", "goods.csv", file).to_string();
        for line in [
            "dataset goods: csv, utf-8",
            "the job would close as succeeded",
            "5 rows, 3 of them rejected; 1 records skipped",
            "warning: blank_rows: 1 rows without any value were skipped",
            "rejected: type: 2",
            r#"delete: {"sku":"A"}"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(
            text.contains("\n  line 3: column \"price\": \"x\" is not"),
            "{text}"
        );
    }

    #[test]
    fn a_record_with_other_columns_of_a_key_repeats_it_only_without_a_merge() {
        let file = "{\"sku\":\"A\",\"price\":\"1\"}\n{\"sku\":\"A\",\"sizes\":[1]}\n";
        let warnings = |settings| outcome(settings, "goods.ndjson", file).warnings;
        assert_eq!(warnings("mode = \"merge\""), []);
        let warnings: Vec<_> = warnings("").into_iter().map(|it| code(it.code)).collect();
        assert_eq!(warnings, ["repeated_keys"]);
    }

    #[test]
    fn a_report_says_why_a_job_would_fail() {
        let png: &[u8] = b"\x89PNG";
        for (settings, content, problem) in [
            ("", png, "format_mismatch"),
            ("", b"price\n1\n", "header_mismatch"),
            ("", b"sku,price,op\nA,x,\n", "too_many_rejects"),
            ("", b"sku,op\nA,\"x\nB,\n", "malformed"),
            ("limits.warnings = \"fail\"", b"sku,op\nA,\n", "warnings"),
        ] {
            let report = outcome(settings, "a.csv", content);
            assert_eq!(report.state, JobState::Failed, "{problem}");
            assert_eq!(code(report.problem.unwrap().code), problem);
        }
        let report = outcome("", "a.csv", b"");
        assert_eq!(report.state, JobState::Succeeded);
        assert_eq!(code(report.problem.unwrap().code), "empty_object");
    }

    #[test]
    fn a_report_has_the_warnings_that_depend_on_all_rows() {
        let at = "{ name = \"at\", type = \"timestamp\" }";
        let definition = format!(
            "name = \"d\"\nkey = [\"sku\"]\nfields = [{{ name = \"sku\", type = \"text\" }}, {at}]"
        );
        let file = "sku,at\na,2026-01-05T09:30:00.1234567Z\nb,2026-01-05T09:30:00.1234569Z\n";
        let report = check_with(&definition, "a.csv", file);
        let [warning] = &report.warnings[..] else {
            panic!("{:?}", report.warnings);
        };
        assert_eq!(code(warning.code), "truncated_values");
        assert!(warning.message.contains(": 2 of at;"), "{warning:?}");
        let report = check_with(&definition, "a.csv", "sku,at\na,\n");
        assert_eq!(report.warnings[0].message, "no row has a value for at");
    }

    #[test]
    fn files_of_several_chunks_are_read_to_their_end() {
        let long = "x".repeat(900_000);
        let lines = (0..20).map(|n| format!("{{\"sku\":\"{n}\",\"n\":\"{long}\"}}\n"));
        let lines: Vec<_> = lines.collect();
        let huge = "x".repeat(1_100_000);
        let file = format!(
            "{}{{\"sku\":\"{huge}\"}}\n{{\"price\":1}}\n",
            lines.concat()
        );
        let report = outcome("unknown_columns = \"drop\"", "goods.ndjson", file);
        assert_eq!((report.rows, report.rejected), (22, 2));
        assert_eq!(report.first_rows.len(), FIRST_ROWS);
        let lines: Vec<_> = report.rejects.iter().map(|it| it.first[0].line).collect();
        assert_eq!(lines, [21, 22]);
    }
}
