//! Finds the record at a place of an object again, as the worker has read it.

use std::borrow::Cow;

use landfall_domain::{
    ByteRange, ChunkKind, Dataset, Encoding, FixedReject, Format, OriginRecord, Outcome,
    PlannedChunk, Reading, Reject,
};

use crate::csv::dialect::Dialect;
use crate::csv::header::Header;
use crate::csv::records::Records;
use crate::decode::{Decoded, count_lines, each_element, each_record, raw_text};
use crate::exported::in_file;
use crate::object::decode_chunk;
use crate::transcode::Transcoded;

/// The maximum number of bytes of a record's text.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// A record, and the line on which it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Line on which the record starts in its object, from 1.
    pub line: u64,
    /// The record.
    pub record: OriginRecord,
}

/// Returns the record of a chunk that has this offset in the object with this key; `None` if no record has. In an
/// object of fixed rejects, that is the offset of the original record.
///
/// `bytes` are those of the chunk, which is decoded as a whole: what a record is may depend on those before it.
pub fn record_at(
    (object, chunk): (&str, &PlannedChunk),
    dataset: &Dataset,
    reading: &Reading,
    header: Option<&Header>,
    bytes: &[u8],
    offset: u64,
) -> Option<FoundRecord> {
    let place = Place::find(chunk, dataset, reading, bytes, offset)?;
    let mut text = place.text;
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    let decoded = decode_chunk((object, chunk), dataset, reading, header, bytes);
    let (outcome, reason) = outcome(&decoded, reading, offset)?;
    Some(FoundRecord {
        line: place.line,
        record: OriginRecord {
            text,
            bytes: place.bytes,
            outcome,
            reason,
        },
    })
}

/// Returns what became of the record at this offset.
fn outcome(decoded: &Decoded, reading: &Reading, offset: u64) -> Option<(Outcome, Option<String>)> {
    if let Some(row) = decoded.rows.iter().find(|row| row.offset == offset) {
        let outcome = if row.deleted {
            Outcome::Delete
        } else {
            Outcome::Row
        };
        return Some((outcome, None));
    }
    let mut rejects = decoded.rejects.iter();
    // A line that is no reject of the first job has its own offset.
    let has_place = |reject: &&Reject| reject.job.is_some() == reading.rejects_of.is_some();
    let reject = rejects.find(|reject| reject.offset == offset && has_place(reject))?;
    Some((Outcome::Reject, Some(reject.message.clone())))
}

/// Where a record is in its chunk.
struct Place {
    line: u64,
    text: String,
    bytes: u64,
}

impl Place {
    fn find(
        chunk: &PlannedChunk,
        dataset: &Dataset,
        reading: &Reading,
        bytes: &[u8],
        offset: u64,
    ) -> Option<Self> {
        if chunk.kind == ChunkKind::Oversize {
            let ByteRange { start, .. } = chunk.range;
            return (offset == start).then(|| Self {
                line: chunk.first_line,
                text: raw_text(bytes, chunk.range.len()),
                bytes: chunk.range.len(),
            });
        }
        let transcoded =
            (reading.encoding != Encoding::UTF_8).then(|| Transcoded::new(reading.encoding, bytes));
        let text = transcoded.as_ref().map_or(bytes, |it| it.text.as_bytes());
        let mut found = None;
        each(dataset, reading, text, |start, raw| {
            let is_it = || {
                if let Some(origin) = &reading.rejects_of {
                    let line = std::str::from_utf8(raw).ok()?;
                    return Some(FixedReject::parse(line, origin).ok()?.offset == offset);
                }
                let position = transcoded
                    .as_ref()
                    .map_or(start, |it| it.raw_position(start));
                Some(chunk.range.start + position as u64 == offset)
            };
            if found.is_none() && is_it() == Some(true) {
                found = Some((start, raw));
            }
        });
        let (start, raw) = found?;
        Some(Self {
            line: chunk.first_line + count_lines(reading.format, &text[..start]),
            text: raw_text(raw, raw.len() as u64),
            bytes: raw.len() as u64,
        })
    }
}

/// Calls `record` with the start and the text of each record.
fn each<'c>(
    dataset: &Dataset,
    reading: &Reading,
    text: &'c [u8],
    mut record: impl FnMut(usize, &'c [u8]),
) {
    match reading.format {
        Format::Csv | Format::Tsv => {
            let dataset: Cow<'_, Dataset> = in_file(dataset, reading);
            let dialect = Dialect::new(&dataset.csv, reading);
            let mut records = Records::new(text, &dialect);
            while let Some(block) = records.next_block() {
                for found in block.records {
                    record(found.start, found.raw);
                }
            }
        }
        Format::Ndjson => each_record(text, record),
        Format::Json => each_element(text, record),
    }
}
