//! Objects as a whole: what is checked beside their records, and all steps of splitter and worker in one function.

use std::collections::BTreeMap;

use landfall_domain::{
    ByteRange, ChunkKind, Counts, Dataset, Field, MAX_FIXED_BYTES, MAX_KEY_BYTES, Mode,
    PlannedChunk, Problem, ProblemCode, Reading, Row, Warning, WarningCode,
};

use crate::csv::header::Header;
use crate::decode::{Decoded, decode, oversize};
use crate::detect::{HEAD_BYTES, detect, quoting_warning};
use crate::scan::{MAX_CHUNKS, Scanner, Summary};

/// The size of a chunk in bytes, unless configured otherwise.
pub const CHUNK_BYTES: u64 = 8 * 1024 * 1024;
/// The maximum number of fields without a value, or with values that lost precision, that are counted for a chunk.
const MAX_COUNTED_FIELDS: usize = 32;
/// The maximum number of bytes in the key of an object that identifies rows, beside an offset.
const MAX_OBJECT_BYTES: usize = MAX_KEY_BYTES - 16;

/// Checks the size of an object that is read in chunks of this many bytes.
///
/// # Errors
/// `EmptyObject` and `TooLarge`.
pub fn check_size(size: u64, chunk_bytes: u64) -> Result<(), Problem> {
    if size == 0 {
        return Err(Problem::new(
            ProblemCode::EmptyObject,
            "the object is empty",
        ));
    }
    let max = u64::from(MAX_CHUNKS).saturating_mul(chunk_bytes);
    if size > max {
        let message = format!(
            "the object has {size} bytes, but the maximum is {max}, {MAX_CHUNKS} chunks of {chunk_bytes} bytes: split \
             it and upload the parts, or raise the chunk size of the deployment"
        );
        return Err(Problem::new(ProblemCode::TooLarge, message));
    }
    Ok(())
}

/// Checks the key of an object, if it identifies the rows of its dataset.
///
/// # Errors
/// `KeyTooLong` if stores cannot index it.
pub fn check_place(dataset: &Dataset, object: &str) -> Result<(), Problem> {
    if !dataset.is_keyed_by_place() || object.len() <= MAX_OBJECT_BYTES {
        return Ok(());
    }
    let message = format!(
        "the key of the object has {} bytes, but it identifies the rows of this dataset (key = \"position\"), for \
         which the maximum is {MAX_OBJECT_BYTES}: upload the file under a shorter name",
        object.len()
    );
    Err(Problem::new(ProblemCode::KeyTooLong, message))
}

impl Summary {
    /// Checks what is only known at the end of an object.
    ///
    /// # Errors
    /// `Malformed` if a quote is never closed, and `NoRecords`.
    pub fn check(&self) -> Result<(), Problem> {
        if let Some(line) = self.open_quote {
            let message = format!(
                "a quote in the record that starts on line {line} is never closed, so everything after it is \
                 one cell: check that the file is complete"
            );
            return Err(Problem::new(ProblemCode::Malformed, message));
        }
        if self.records == 0 {
            return Err(Problem::new(
                ProblemCode::NoRecords,
                "the object has no records",
            ));
        }
        Ok(())
    }
}

/// Decodes the [bytes](PlannedChunk::bytes) of a chunk of the object with this key.
pub fn decode_chunk(
    (object, chunk): (&str, &PlannedChunk),
    dataset: &Dataset,
    reading: &Reading,
    header: Option<&Header>,
    bytes: &[u8],
) -> Decoded {
    let (start, line) = (chunk.range.start, chunk.first_line);
    if chunk.kind == ChunkKind::Oversize {
        let limit = match reading.rejects_of {
            None => dataset.limits.record_bytes,
            Some(_) => MAX_FIXED_BYTES,
        };
        let place = (start, line);
        let reject = oversize(bytes, reading.format, place, chunk.range.len(), limit);
        return Decoded {
            rejects: vec![reject],
            records: 1,
            ..Decoded::default()
        };
    }
    let mut decoded = decode(dataset, reading, header, bytes, start, line);
    let origin = reading.rejects_of.as_ref();
    let object = origin.map_or(object, |origin| &origin.object.key);
    dataset.place(&mut decoded.rows, object);
    decoded
}

impl Decoded {
    /// Returns the counts of the chunk, without those of stores and without repeated keys.
    pub fn counts(&self, dataset: &Dataset, header: Option<&Header>) -> Counts {
        let skipped = self.skipped;
        let warnings = [
            (WarningCode::BlankRows, skipped.blank_rows),
            (WarningCode::RepeatedHeaders, skipped.repeated_headers),
            (WarningCode::ByteOrderMarks, skipped.byte_order_marks),
            (WarningCode::OtherHeaders, self.other_headers),
            (WarningCode::SwallowedRows, self.swallowed),
            (WarningCode::InvalidText, self.invalid_text),
            (WarningCode::Encoding, self.utf8),
        ];
        let truncated = self.truncated.iter().take(MAX_COUNTED_FIELDS);
        let truncated = truncated.filter_map(|(index, count)| {
            let field = dataset.fields.get(*index)?;
            Some((field.name.clone(), *count))
        });
        Counts {
            rows: self.records - skipped.records(),
            rejected: self.rejects.len() as u64,
            stores: BTreeMap::new(),
            warnings: warnings
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .collect(),
            null_columns: null_columns(dataset, header, &self.rows),
            truncated: truncated.collect(),
        }
    }
}

/// Returns the fields, if the object has columns for them, that have no value in any row of a chunk.
fn null_columns(dataset: &Dataset, header: Option<&Header>, rows: &[Row]) -> BTreeMap<String, u64> {
    let fields = dataset.fields.iter().enumerate();
    let has = |index: usize| match dataset.mode {
        Mode::Merge => rows.iter().any(|row| row.has(index)),
        Mode::Upsert | Mode::Snapshot => header.is_none_or(|header| header.has(index)),
    };
    let mut fields: Vec<(usize, &Field)> = fields
        .filter(|(index, field)| !field.required && has(*index))
        .collect();
    for row in rows.iter().filter(|row| !row.deleted) {
        if fields.is_empty() {
            break;
        }
        fields.retain(|(index, _)| row.values[*index].is_null());
    }
    let names = fields.into_iter().take(MAX_COUNTED_FIELDS);
    names.map(|(_, field)| (field.name.clone(), 1)).collect()
}

/// An object to decode, and in which parts.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Its key, which may say its format.
    pub key: &'a str,
    /// Its size in bytes.
    pub size: u64,
    /// The number of bytes that are read at once to find the chunks.
    pub segment_bytes: u64,
    /// The size of a chunk in bytes.
    pub chunk_bytes: u64,
}

/// What was found in an object beside its records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// How it is read, once that is known.
    pub reading: Option<Reading>,
    /// The number of its chunks.
    pub chunks: u32,
    /// What may be wrong with the object as a whole.
    pub warnings: Vec<Warning>,
    /// Why it is not read, or not to its end.
    pub problem: Option<Problem>,
}

/// Reads an object by the steps of splitter and worker, in the memory of a segment and a chunk.
///
/// `read` returns the bytes of a range. `each` gets the header and the content of each chunk, in the order of the
/// object.
///
/// # Errors
/// Those of `read`. A problem of the object is not an error.
pub fn decode_object<E>(
    dataset: &Dataset,
    object: Object<'_>,
    read: impl FnMut(ByteRange) -> Result<Vec<u8>, E>,
    each: impl FnMut(Option<&Header>, Decoded),
) -> Result<Findings, E> {
    let mut steps = Steps {
        dataset,
        object,
        read,
        each,
        header: None,
        findings: Findings::default(),
    };
    match steps.run() {
        Ok(()) => {}
        Err(Stop::Problem(problem)) => steps.findings.problem = Some(problem),
        Err(Stop::Read(error)) => return Err(error),
    }
    Ok(steps.findings)
}

/// Why the steps end before the end of the object.
enum Stop<E> {
    Problem(Problem),
    Read(E),
}

impl<E> From<Problem> for Stop<E> {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

struct Steps<'a, R, F> {
    dataset: &'a Dataset,
    object: Object<'a>,
    read: R,
    each: F,
    header: Option<Header>,
    findings: Findings,
}

impl<E, R, F> Steps<'_, R, F>
where
    R: FnMut(ByteRange) -> Result<Vec<u8>, E>,
    F: FnMut(Option<&Header>, Decoded),
{
    fn run(&mut self) -> Result<(), Stop<E>> {
        let Object { key, size, .. } = self.object;
        check_size(size, self.object.chunk_bytes)?;
        check_place(self.dataset, key)?;
        let head = self.read(0, HEAD_BYTES as u64)?;
        let reading = &detect(key, &head, self.dataset)?;
        self.findings.reading = Some(reading.clone());
        let mut scanner = Scanner::new(self.dataset, reading, self.object.chunk_bytes);
        let (mut found, mut start) = (Vec::new(), 0);
        while start < size {
            let segment = self.read(start, self.object.segment_bytes)?;
            start += segment.len() as u64;
            let scanned = scanner.feed(&segment, &mut found);
            self.decode(scanner.header(), &mut found, reading)?;
            scanned?;
        }
        let finished = scanner.finish(&mut found);
        let header = finished.as_ref().ok().and_then(|summary| summary.header);
        self.decode(header, &mut found, reading)?;
        let summary = finished?;
        let quoting = quoting_warning(self.dataset, reading, summary.saw_quoted);
        self.findings.warnings.extend(quoting);
        Ok(summary.check()?)
    }

    fn read(&mut self, start: u64, length: u64) -> Result<Vec<u8>, Stop<E>> {
        let end = start.saturating_add(length).min(self.object.size);
        (self.read)(ByteRange { start, end }).map_err(Stop::Read)
    }

    /// Parses the header, if it is new, and decodes the chunks that were found.
    fn decode(
        &mut self,
        header: Option<ByteRange>,
        found: &mut Vec<PlannedChunk>,
        reading: &Reading,
    ) -> Result<(), Stop<E>> {
        if let (None, Some(range)) = (&self.header, header) {
            let bytes = self.read(range.start, range.len())?;
            let header = Header::parse(&bytes, self.dataset, reading)?;
            self.findings.warnings.extend_from_slice(header.warnings());
            self.header = Some(header);
        }
        for chunk in found.drain(..) {
            let range = chunk.bytes();
            let bytes = self.read(range.start, range.len())?;
            let header = self.header.as_ref();
            let place = (self.object.key, &chunk);
            let decoded = decode_chunk(place, self.dataset, reading, header, &bytes);
            debug_assert_eq!(decoded.records, chunk.records, "decoded and planned");
            self.findings.chunks += 1;
            (self.each)(header, decoded);
        }
        Ok(())
    }
}
