//! Chunks in encodings other than UTF-8, as UTF-8.

use landfall_domain::Encoding;
use memchr::memchr;

/// The text of a chunk, and where its characters are in the bytes of the chunk.
pub(crate) struct Transcoded {
    pub(crate) text: String,
    encoding: Encoding,
    /// Each line's start in the text and in the bytes, and whether all of it is valid.
    lines: Vec<Line>,
}

#[derive(Clone, Copy)]
struct Line {
    start: usize,
    raw_start: usize,
    is_valid: bool,
}

impl Transcoded {
    pub(crate) fn new(encoding: Encoding, bytes: &[u8]) -> Self {
        let mut transcoded = Self {
            text: String::with_capacity(bytes.len()),
            encoding,
            lines: Vec::new(),
        };
        let mut raw_start = 0;
        while raw_start < bytes.len() {
            let line = line(encoding, &bytes[raw_start..]);
            let (text, is_valid) = encoding.decode(line);
            transcoded.lines.push(Line {
                start: transcoded.text.len(),
                raw_start,
                is_valid,
            });
            transcoded.text.push_str(&text);
            raw_start += line.len();
        }
        transcoded
    }

    /// Returns the position in the bytes of the character that starts at `at`. In encodings with characters of several
    /// bytes, other than UTF-16, each character before it in its line counts as one byte.
    ///
    /// Positions of different characters differ, and are in the order of the characters.
    pub(crate) fn raw_position(&self, at: usize) -> usize {
        let Some(line) = self.line_at(at) else {
            return 0;
        };
        let before = &self.text[line.start..at];
        let length = if self.encoding.is_utf_16() {
            before.chars().map(|char| 2 * char.len_utf16()).sum()
        } else {
            before.chars().count()
        };
        line.raw_start + length
    }

    /// Returns whether all bytes of the lines of this part are valid.
    pub(crate) fn is_valid(&self, start: usize, length: usize) -> bool {
        let first = self.lines.partition_point(|line| line.start <= start);
        let lines = self.lines[first.saturating_sub(1)..].iter();
        lines
            .take_while(|line| line.start < start + length)
            .all(|line| line.is_valid)
    }

    fn line_at(&self, at: usize) -> Option<Line> {
        let after = self.lines.partition_point(|line| line.start <= at);
        self.lines.get(after.checked_sub(1)?).copied()
    }
}

/// Returns the first line, with its line feed.
fn line(encoding: Encoding, bytes: &[u8]) -> &[u8] {
    let end = if encoding.is_utf_16() {
        let feed: [u8; 2] = if encoding.is_big_endian() {
            [0, b'\n']
        } else {
            [b'\n', 0]
        };
        let (units, _) = bytes.as_chunks::<2>();
        let found = units.iter().position(|unit| *unit == feed);
        found.map(|unit| 2 * (unit + 1))
    } else {
        memchr(b'\n', bytes).map(|at| at + 1)
    };
    &bytes[..end.unwrap_or(bytes.len())]
}

/// Turns UTF-16 into one byte for each of its units, in which record boundaries can be found.
pub(crate) struct Narrower {
    big_endian: bool,
    /// The first byte of a unit whose second one has not been seen.
    half: Option<u8>,
}

/// What [`Narrower`] makes of a byte order mark.
pub(crate) const NARROW_MARK: u8 = 0xfe;
/// What [`Narrower`] makes of all other units beyond ASCII.
const NARROW_OTHER: u8 = 0xff;

impl Narrower {
    pub(crate) fn new(encoding: Encoding) -> Option<Self> {
        encoding.is_utf_16().then_some(Self {
            big_endian: encoding.is_big_endian(),
            half: None,
        })
    }

    /// Returns the first byte of a unit whose second one has not been seen.
    pub(crate) fn half(&self) -> Option<u8> {
        self.half
    }

    /// Continues after the first byte of a unit.
    pub(crate) fn after(self, half: Option<u8>) -> Self {
        Self { half, ..self }
    }

    /// Returns a byte for each unit that is complete.
    pub(crate) fn narrow(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut narrowed = Vec::with_capacity(bytes.len() / 2 + 1);
        for &byte in bytes {
            let Some(first) = self.half.take() else {
                self.half = Some(byte);
                continue;
            };
            let unit = if self.big_endian {
                u16::from_be_bytes([first, byte])
            } else {
                u16::from_le_bytes([first, byte])
            };
            narrowed.push(match u8::try_from(unit) {
                Ok(ascii) if ascii.is_ascii() => ascii,
                _ if unit == 0xfeff => NARROW_MARK,
                _ => NARROW_OTHER,
            });
        }
        narrowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_the_bytes() {
        let utf_16 = Encoding::for_label("utf-16le").unwrap();
        let bytes: Vec<u8> = "a€\n😀b"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let transcoded = Transcoded::new(utf_16, &bytes);
        assert_eq!(transcoded.text, "a€\n😀b");
        let positions: Vec<usize> = transcoded
            .text
            .char_indices()
            .map(|(at, _)| transcoded.raw_position(at))
            .collect();
        assert_eq!(positions, [0, 2, 4, 6, 10]);
        let latin = Encoding::for_label("windows-1252").unwrap();
        let transcoded = Transcoded::new(latin, b"caf\xe9\n\x80");
        assert_eq!(transcoded.text, "café\n€");
        assert_eq!(transcoded.raw_position(6), 5);
        assert!(transcoded.is_valid(0, transcoded.text.len()));
    }

    #[test]
    fn only_lines_with_invalid_bytes_are_invalid() {
        let encoding = Encoding::for_label("shift_jis").unwrap();
        let transcoded = Transcoded::new(encoding, b"a\n\x82\n\x82\xa0\n");
        assert_eq!(transcoded.text, "a\n\u{fffd}\nあ\n");
        assert!(transcoded.is_valid(0, 1));
        assert!(!transcoded.is_valid(2, 3));
        assert!(transcoded.is_valid(6, 3));
    }
}
