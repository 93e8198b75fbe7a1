//! Record boundaries of NDJSON: lines that are not blank.

use memchr::memchr;

use crate::scan::{PlannedChunk, Planner, Position};

pub(crate) struct NdjsonScanner {
    /// Start of the record of this line, once a byte of it was seen.
    record: Option<Position>,
    pub(crate) position: Position,
    pub(crate) planner: Planner,
}

impl NdjsonScanner {
    pub(crate) fn new(planner: Planner) -> Self {
        Self {
            record: None,
            position: Position::START,
            planner,
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<PlannedChunk>) {
        let base = self.position.offset;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.record {
                None if byte == b'\n' => {
                    self.position.line += 1;
                    at += 1;
                }
                None if is_space(byte) => at += 1,
                None => {
                    self.record = Some(Position {
                        offset: base + at as u64,
                        line: self.position.line,
                    });
                }
                Some(record) => match memchr(b'\n', &bytes[at..]) {
                    None => at = bytes.len(),
                    Some(found) => {
                        at += found;
                        self.planner.record(record, base + at as u64, out);
                        self.record = None;
                    }
                },
            }
        }
        self.position.offset += bytes.len() as u64;
    }

    pub(crate) fn finish(&mut self, out: &mut Vec<PlannedChunk>) {
        if let Some(record) = self.record.take() {
            self.planner.record(record, self.position.offset, out);
        }
        self.planner.close(out);
    }
}

/// Whether JSON takes this byte for white space.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
