//! Record boundaries of NDJSON: every line that is not blank is a record.

use landfall_domain::Problem;
use memchr::memchr;

use super::Grammar;
use super::planner::{Planner, Position};
use crate::syntax::is_json_space;

#[derive(Default)]
pub(super) struct NdjsonScanner {
    /// Start of the record on this line, once found.
    record: Option<Position>,
}

impl Grammar for NdjsonScanner {
    fn feed(&mut self, bytes: &[u8], planner: &mut Planner) -> Result<(), Problem> {
        let base = planner.position.offset;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.record {
                None if byte == b'\n' => {
                    planner.position.line += 1;
                    at += 1;
                }
                None if is_json_space(byte) => at += 1,
                None => {
                    self.record = Some(Position {
                        offset: base + at as u64,
                        line: planner.position.line,
                    });
                }
                Some(record) => match memchr(b'\n', &bytes[at..]) {
                    None => at = bytes.len(),
                    Some(found) => {
                        at += found;
                        planner.add_record(record, base + at as u64);
                        self.record = None;
                    }
                },
            }
        }
        Ok(())
    }

    fn finish(&mut self, planner: &mut Planner) -> Result<(), Problem> {
        if let Some(record) = self.record.take() {
            planner.add_record(record, planner.position.offset);
        }
        Ok(())
    }
}
