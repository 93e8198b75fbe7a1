//! Finds the end of a JSON value by its brackets and strings alone.
//!
//! Everything else is not validated here, so that an invalid record becomes a reject and the scan
//! continues with the next one.

use memchr::memchr2;
use serde::{Deserialize, Serialize};

use crate::block::{BLOCK, Bits, mask, odd};

/// The number of levels at which brackets must match. Deeper ones are only counted, which bounds the memory.
/// No store accepts such values, so a field or `_extra` that contains one rejects the record.
const MATCHED_DEPTH: usize = 512;

/// Follows one value from its first byte to its last, over any number of slices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JsonValue {
    /// One bit for each of the first open brackets, set for an object.
    open: [u64; MATCHED_DEPTH / 64],
    depth: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Between the tokens of an array or object.
    Between,
    /// In a number or literal, which ends before the first byte that cannot belong to it.
    Scalar,
    /// In a string.
    String,
    /// After a backslash in a string.
    Escape,
}

/// Where and why a value is invalid.
pub(crate) struct Broken {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Broken {
    fn after(self, bytes: usize) -> Self {
        Self {
            at: self.at + bytes,
            ..self
        }
    }
}

impl JsonValue {
    /// Starts a value with its first byte, which is consumed. Returns `None` if no value starts so.
    pub(crate) fn starting_with(byte: u8) -> Option<Self> {
        let mut value = Self {
            open: [0; MATCHED_DEPTH / 64],
            depth: 0,
            state: State::Between,
        };
        match byte {
            b'{' | b'[' => value.push(byte == b'{'),
            b'"' => value.state = State::String,
            _ if ends_scalar(byte) => return None,
            _ => value.state = State::Scalar,
        }
        Some(value)
    }

    /// Consumes bytes up to the end of the value. Returns their number, or `None` if the value continues.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        let mut at = 0;
        // Blocks with a backslash are read byte by byte.
        let mut block_at = 0;
        while at < bytes.len() {
            if at >= block_at
                && self.depth > 0
                && self.state != State::Escape
                && let Some(block) = bytes[at..].first_chunk()
            {
                block_at = at + BLOCK;
                if mask(block, |byte| byte == b'\\') == 0 {
                    let end = self.feed_block(block).map_err(|broken| broken.after(at))?;
                    if let Some(end) = end {
                        return Ok(Some(at + end));
                    }
                    at = block_at;
                    continue;
                }
            }
            match self.state {
                State::String => match memchr2(b'"', b'\\', &bytes[at..]) {
                    None => return Ok(None),
                    Some(found) => {
                        at += found + 1;
                        if bytes[at - 1] == b'\\' {
                            self.state = State::Escape;
                        } else {
                            self.state = State::Between;
                            if self.depth == 0 {
                                return Ok(Some(at));
                            }
                        }
                    }
                },
                State::Escape => {
                    self.state = State::String;
                    at += 1;
                }
                State::Scalar => {
                    let end = bytes[at..].iter().position(|byte| ends_scalar(*byte));
                    return Ok(end.map(|end| at + end));
                }
                State::Between => {
                    if bytes[at] == b'"' {
                        self.state = State::String;
                    } else if is_bracket(bytes[at]) {
                        self.bracket(bytes[at]).map_err(|broken| broken.after(at))?;
                        if self.depth == 0 {
                            return Ok(Some(at + 1));
                        }
                    }
                    at += 1;
                }
            }
        }
        Ok(None)
    }

    /// Consumes a block without a backslash inside of an array or object. Returns the end of the value, if it is there.
    fn feed_block(&mut self, block: &[u8; BLOCK]) -> Result<Option<usize>, Broken> {
        let quotes = mask(block, |byte| byte == b'"');
        let mut in_string = odd(quotes);
        if self.state == State::String {
            in_string = !in_string;
        }
        for at in Bits(mask(block, is_bracket) & !in_string) {
            self.bracket(block[at]).map_err(|broken| broken.after(at))?;
            if self.depth == 0 {
                return Ok(Some(at + 1));
            }
        }
        self.state = if in_string >> (BLOCK - 1) == 1 {
            State::String
        } else {
            State::Between
        };
        Ok(None)
    }

    /// Consumes a bracket outside of strings.
    fn bracket(&mut self, byte: u8) -> Result<(), Broken> {
        if matches!(byte, b'{' | b'[') {
            self.push(byte == b'{');
        } else if !self.pop(byte == b'}') {
            let (open, close) = if byte == b'}' { ('[', '}') } else { ('{', ']') };
            let message = format!("'{open}' is closed by '{close}'");
            return Err(Broken { at: 0, message });
        }
        Ok(())
    }

    fn push(&mut self, object: bool) {
        let bit = 1 << (self.depth % 64);
        if let Some(word) = self.open.get_mut(self.depth / 64) {
            if object {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
        self.depth += 1;
    }

    /// Closes the innermost bracket and returns whether it matches. One is open in [`State::Between`].
    fn pop(&mut self, object: bool) -> bool {
        self.depth -= 1;
        let bit = 1 << (self.depth % 64);
        let word = self.open.get(self.depth / 64);
        word.is_none_or(|word| object == (word & bit != 0))
    }

    /// Returns whether the end of the object can be that of the value, because nothing else ends a number or literal.
    pub(crate) fn is_scalar(&self) -> bool {
        self.state == State::Scalar && self.depth == 0
    }
}

#[expect(clippy::needless_bitwise_bool, reason = "for masks")]
fn is_bracket(byte: u8) -> bool {
    // A bracket and the brace of its direction differ in one bit.
    (byte | 0x20 == b'{') | (byte | 0x20 == b'}')
}

fn ends_scalar(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' | b'[' | b']' | b'{' | b'}' | b'"'
    )
}
