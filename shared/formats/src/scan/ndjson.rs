//! Record boundaries of NDJSON: every line that is not blank is a record, or several objects.

use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::planner::{Planner, Position};
use crate::json_line::{LineRecord, may_have_several};
use crate::syntax::is_between_json;

/// The number of bytes that are searched at a time for objects that follow others: few enough to remain in the cache.
const LOOK_BYTES: usize = 4096;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct NdjsonScanner {
    /// The open record of a line that continues, or that may have several.
    open: Option<Open>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    start: Position,
    record: LineRecord,
}

impl NdjsonScanner {
    /// Scans the next bytes, which start at the offset of the planner.
    pub(super) fn feed(&mut self, bytes: &[u8], planner: &mut Planner) {
        let base = planner.position.offset;
        let mut at = 0;
        let mut objects = Objects::of(bytes);
        while let Some(&byte) = bytes.get(at) {
            if self.open.is_some() {
                at = self.line(bytes, at, planner);
                continue;
            }
            if byte == b'\n' {
                planner.position.line += 1;
                at += 1;
                continue;
            }
            if is_between_json(byte) {
                at += 1;
                continue;
            }
            let start = Position {
                offset: base + at as u64,
                line: planner.position.line,
            };
            let end = memchr(b'\n', &bytes[at..]).map(|length| at + length);
            if let Some(end) = end.filter(|end| !objects.may_follow(at, *end)) {
                at = end;
                planner.add_record(start, base + at as u64);
            } else {
                let record = LineRecord::starting_with(byte);
                self.open = Some(Open { start, record });
                at += 1;
            }
        }
    }

    /// Ends the scan at the offset of the planner.
    pub(super) fn finish(&mut self, planner: &mut Planner) {
        if let Some(open) = self.open.take() {
            planner.add_record(open.start, planner.position.offset);
        }
    }
}

/// Finds lines in which an object may follow another one.
struct Objects<'a> {
    bytes: &'a [u8],
    /// The end of the blocks that were looked at.
    seen: usize,
    /// The end of the last block with an opening brace that is not clearly a value.
    suspect: usize,
}

impl<'a> Objects<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            seen: 0,
            suspect: 0,
        }
    }

    /// Returns whether an object may follow another one on the line from `start` to `end`. Lines are asked for in
    /// order.
    #[expect(
        clippy::needless_bitwise_bool,
        reason = "without branches, many bytes are compared at a time"
    )]
    fn may_follow(&mut self, start: usize, end: usize) -> bool {
        while self.seen < end {
            let block = self.seen.max(1)..(self.seen + LOOK_BYTES).min(self.bytes.len());
            self.seen = block.end;
            let before = &self.bytes[block.start - 1..block.end];
            let is_suspect =
                before
                    .iter()
                    .zip(&self.bytes[block])
                    .fold(false, |found, (before, byte)| {
                        found
                            | ((*byte == b'{')
                                & ((*before == b'}') | (*before <= b' ') & (*before != b'\n')))
                    });
            if is_suspect {
                self.suspect = self.seen;
            }
        }
        start < self.suspect && may_have_several(&self.bytes[start..end])
    }
}

impl NdjsonScanner {
    /// Continues the open record from `at`. Returns the end of its line, or of the bytes.
    fn line(&mut self, bytes: &[u8], at: usize, planner: &mut Planner) -> usize {
        let Some(open) = &mut self.open else {
            return at;
        };
        let base = planner.position.offset;
        let found = memchr(b'\n', &bytes[at..]);
        let end = found.map_or(bytes.len(), |length| at + length);
        let mut at = at;
        while let Some(split) = open.record.feed(&bytes[at..end]) {
            let next = base + (at + split.next) as u64;
            planner.add_record(open.start, next - split.gap as u64);
            open.start.offset = next;
            open.record = LineRecord::starting_with(b'{');
            at += split.next + 1;
        }
        if found.is_some() {
            planner.add_record(open.start, base + end as u64);
            self.open = None;
        }
        end
    }
}
