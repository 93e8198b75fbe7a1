//! Records without special cases, many bytes at a time.

use super::CsvScanner;
use crate::block::{BLOCK, Bits, mask, odd};
use crate::scan::planner::{Planner, Position};

impl CsvScanner {
    /// Adds records from the start of one on, as long as quotes only surround cells, and lines end in LF or CRLF.
    /// Returns the start of the first record that is not added.
    #[expect(clippy::needless_bitwise_bool, reason = "for masks")]
    pub(super) fn plain_records(
        &self,
        bytes: &[u8],
        mut start: usize,
        delimiter: u8,
        planner: &mut Planner,
    ) -> usize {
        let quote = self.dialect.quote;
        let header_length = self.other_order.length();
        let is_before_cell =
            |byte: u8| (byte == delimiter) | (byte == b'\n') | (Some(byte) == quote);
        planner.pass();
        let mut at = start;
        let mut starts_cell = true;
        let mut is_quoted = false;
        let mut quoted_lines = 0;
        while let Some(block) = bytes[at..].first_chunk() {
            let quotes = quote.map_or(0, |quote| mask(block, |byte| byte == quote));
            // A quote that follows a closing one is data, and opens the cell again.
            let quoted = odd(quotes) ^ if is_quoted { u64::MAX } else { 0 };
            let opening = quotes & quoted;
            let mut wrong = 0;
            if opening != 0 {
                let cells = (mask(block, is_before_cell) << 1) | u64::from(starts_cell);
                wrong = opening & !cells;
                let before_wrong = (wrong & wrong.wrapping_neg()).wrapping_sub(1);
                planner.saw_quoted |= opening & before_wrong != 0;
            }
            let ends = mask(block, |byte| (byte == b'\n') | (byte == b'\r'));
            for place in Bits(ends | wrong) {
                let found = at + place;
                match bytes[found] {
                    b'\n' if quoted >> place & 1 == 1 => quoted_lines += 1,
                    b'\n' => {
                        let has_return = found > start && bytes[found - 1] == b'\r';
                        let end = found - usize::from(has_return);
                        if end > start {
                            if self.mark.first() == Some(&bytes[start])
                                || (end - start == header_length
                                    && self.other_order.is_header(&bytes[start..end]))
                            {
                                return start;
                            }
                            let record = Position {
                                offset: planner.position.offset + start as u64,
                                line: planner.position.line,
                            };
                            planner.add_record(record, planner.position.offset + end as u64);
                        }
                        planner.position.line += quoted_lines + 1;
                        quoted_lines = 0;
                        start = found + 1;
                    }
                    b'\r' if bytes.get(found + 1) == Some(&b'\n') => {}
                    _ => return start,
                }
            }
            at += BLOCK;
            is_quoted = quoted >> (BLOCK - 1) == 1;
            starts_cell = is_before_cell(block[BLOCK - 1]);
        }
        start
    }
}
