//! Record boundaries of NDJSON: every line that is not blank is a record.

use memchr::memchr;

use super::planner::{PlannedChunk, Planner, Position};
use crate::syntax::is_json_space;

pub(super) struct NdjsonScanner {
    /// Start of the record on this line, once found.
    record: Option<Position>,
    pub(super) position: Position,
    pub(super) planner: Planner,
}

impl NdjsonScanner {
    pub(super) fn new(planner: Planner) -> Self {
        Self {
            record: None,
            position: Position::START,
            planner,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut Vec<PlannedChunk>) {
        let base = self.position.offset;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.record {
                None if byte == b'\n' => {
                    self.position.line += 1;
                    at += 1;
                }
                None if is_json_space(byte) => at += 1,
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
                        self.planner.add_record(record, base + at as u64, out);
                        self.record = None;
                    }
                },
            }
        }
        self.position.offset += bytes.len() as u64;
    }

    pub(super) fn finish(&mut self, out: &mut Vec<PlannedChunk>) {
        if let Some(record) = self.record.take() {
            self.planner.add_record(record, self.position.offset, out);
        }
        self.planner.close(out);
    }
}
