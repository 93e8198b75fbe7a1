//! Groups records into chunks.

use landfall_domain::{
    ByteRange, ChunkKind, Dataset, MAX_FIXED_BYTES, Mode, PlannedChunk, Reading, Row,
};
use serde::{Deserialize, Serialize};

/// The maximum number of records in a chunk, which bounds a worker's rows where records are tiny.
pub const MAX_CHUNK_RECORDS: u64 = 100_000;
/// The maximum memory in bytes for the rows of a chunk, without their texts. A short record can have
/// many fields, and each row that keeps unknown columns repeats their names.
const MAX_ROW_BYTES: u64 = 32 * 1024 * 1024;
/// What a row needs in a dataset that is merged by column: the stored versions of its key, and the new ones.
const MERGE_BYTES: u64 = 512;
/// Version of the rules by which objects are divided into chunks, and of the states of scanners. A job cannot continue
/// under other rules, because its done chunks would be different ones.
pub const CUTTING_RULES: u32 = 6;
/// The maximum number of chunks of a job. The head of a job lists its shards, and would not fit an item of the ledger
/// otherwise. Only an object with many records over the size limit has more than its size suggests, because each of
/// them is a chunk.
pub const MAX_CHUNKS: u32 = 4_000_000;

/// A position in an object.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Position {
    /// Byte, from 0.
    pub(super) offset: u64,
    /// Line, from 1.
    pub(super) line: u64,
}

impl Position {
    pub(super) const START: Self = Self { offset: 0, line: 1 };
}

/// Where a planner is between two records or in one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    position: Position,
    header: Option<ByteRange>,
    open_quote: Option<u64>,
    saw_quoted: bool,
    after_return: bool,
    records: u64,
    open: Option<PlannedChunk>,
}

/// Groups the records of an object into chunks.
pub(super) struct Planner {
    /// The next byte to scan.
    pub(super) position: Position,
    header: Option<ByteRange>,
    /// The number of bytes of the object for each unit of the positions.
    bytes_per_unit: u64,
    /// Line of the last record, if a quoted cell is still open at its end.
    pub(super) open_quote: Option<u64>,
    /// Whether any cell is quoted.
    pub(super) saw_quoted: bool,
    /// Whether the byte before was CR, so that LF belongs to the same line end.
    after_return: bool,
    /// Number of records so far.
    pub(super) records: u64,
    /// The maximum number of bytes in a record, without its terminator.
    pub(super) record_bytes: u64,
    /// A chunk is closed once it has this many bytes. It is longer by at most one record.
    chunk_bytes: u64,
    /// Memory of a row in bytes, without its texts.
    row_bytes: u64,
    open: Option<PlannedChunk>,
    closed: Vec<PlannedChunk>,
}

/// Returns the memory that a row needs, without its texts.
fn row_bytes(dataset: &Dataset) -> u64 {
    let row = Row::bytes(dataset.fields.len()) as u64;
    match dataset.mode {
        Mode::Merge => row + MERGE_BYTES,
        Mode::Upsert | Mode::Snapshot => row,
    }
}

impl Planner {
    pub(super) fn new(dataset: &Dataset, reading: &Reading, chunk_bytes: u64) -> Self {
        let bytes_per_unit = bytes_per_unit(reading);
        // A line of rejects has more than its record.
        let record_bytes = match reading.rejects_of {
            None => dataset.limits.record_bytes,
            Some(_) => MAX_FIXED_BYTES,
        };
        Self {
            position: Position::START,
            header: None,
            bytes_per_unit,
            open_quote: None,
            saw_quoted: false,
            after_return: false,
            records: 0,
            record_bytes: record_bytes / bytes_per_unit,
            chunk_bytes: chunk_bytes / bytes_per_unit,
            row_bytes: row_bytes(dataset),
            open: None,
            closed: Vec::new(),
        }
    }

    /// Returns where the planner is. The closed chunks must have been taken.
    pub(super) fn place(&self) -> Place {
        debug_assert!(self.closed.is_empty(), "closed chunks would be lost");
        Place {
            position: self.position,
            header: self.header,
            open_quote: self.open_quote,
            saw_quoted: self.saw_quoted,
            after_return: self.after_return,
            records: self.records,
            open: self.open.clone(),
        }
    }

    /// Continues at a place of a planner with the same settings.
    pub(super) fn at(mut self, place: Place) -> Self {
        let Place {
            position,
            header,
            open_quote,
            saw_quoted,
            after_return,
            records,
            open,
        } = place;
        if let Some(header) = header {
            self.set_header(header);
        }
        Self {
            position,
            open_quote,
            saw_quoted,
            after_return,
            records,
            open,
            ..self
        }
    }

    /// Sets the header. A row may repeat the names of all columns.
    pub(super) fn set_header(&mut self, header: ByteRange) {
        self.row_bytes += header.len();
        self.header = Some(header);
    }

    /// Returns the position of the header in the object.
    pub(super) fn header(&self) -> Option<ByteRange> {
        self.header.map(|range| self.in_bytes(range))
    }

    fn in_bytes(&self, range: ByteRange) -> ByteRange {
        ByteRange {
            start: range.start * self.bytes_per_unit,
            end: range.end * self.bytes_per_unit,
        }
    }

    /// Counts a line if this byte ends one: LF, CR, or both together.
    pub(super) fn count_line(&mut self, byte: u8) {
        let is_end = byte == b'\r' || (byte == b'\n' && !self.after_return);
        self.position.line += u64::from(is_end);
        self.after_return = byte == b'\r';
    }

    /// Notes that the next byte does not follow the last counted one.
    pub(super) fn pass(&mut self) {
        self.after_return = false;
    }

    /// Adds the record from `start` up to, but not including, `end`.
    pub(super) fn add_record(&mut self, start: Position, end: u64) {
        let range = ByteRange {
            start: start.offset,
            end,
        };
        let kind = if range.len() > self.record_bytes {
            ChunkKind::Oversize
        } else {
            ChunkKind::Records
        };
        // The length of blank lines between records is unlimited.
        let is_too_far = |open: &PlannedChunk| range.start - open.range.start >= self.chunk_bytes;
        if kind == ChunkKind::Oversize || self.open.as_ref().is_some_and(is_too_far) {
            self.close();
        }
        self.records += 1;
        let chunk = self.open.get_or_insert(PlannedChunk {
            range,
            first_line: start.line,
            records: 0,
            kind,
        });
        chunk.range.end = end;
        chunk.records += 1;
        let (bytes, records) = (chunk.range.len(), chunk.records);
        if kind == ChunkKind::Oversize || self.is_full(bytes, records) {
            self.close();
        }
    }

    /// Closes the open chunk, if any.
    pub(super) fn close(&mut self) {
        self.closed.extend(self.open.take());
    }

    /// Moves the closed chunks to `out`.
    pub(super) fn take_closed(&mut self, out: &mut Vec<PlannedChunk>) {
        for mut chunk in std::mem::take(&mut self.closed) {
            chunk.range = self.in_bytes(chunk.range);
            out.push(chunk);
        }
    }

    fn is_full(&self, bytes: u64, records: u64) -> bool {
        bytes >= self.chunk_bytes
            || records >= MAX_CHUNK_RECORDS
            || records * self.row_bytes >= MAX_ROW_BYTES
    }
}

/// Returns the number of bytes of the object for each byte that the grammar sees.
fn bytes_per_unit(reading: &Reading) -> u64 {
    if reading.encoding.is_utf_16() { 2 } else { 1 }
}
