//! The parts of a file that are looked at.

use landfall_domain::{ByteRange, Encoding};
use memchr::{memchr, memchr_iter, memrchr};

use super::Source;

/// The number of places between start and end.
const PLACES: u64 = 8;

/// How much of a file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The size of a file that is looked at as a whole, in bytes.
    whole: u64,
    /// The size of the first part of a larger file.
    first: u64,
    /// The size of each other part.
    part: u64,
}

impl Budget {
    /// That of a tool: 16 MiB, or 4 MiB at the start and 9 MiB elsewhere.
    pub const TOOL: Self = Self {
        whole: 16 << 20,
        first: 4 << 20,
        part: 1 << 20,
    };
    /// That of a function: 1 MiB, or 512 KiB at the start and 288 KiB elsewhere.
    pub const FUNCTION: Self = Self {
        whole: 1 << 20,
        first: 512 << 10,
        part: 32 << 10,
    };

    /// Returns the parts to look at, in the order of the file: all of it, or its start, its end, and some places in
    /// between.
    pub fn ranges(self, size: u64) -> Vec<ByteRange> {
        let Self { whole, first, part } = self;
        if size <= whole {
            let all = ByteRange {
                start: 0,
                end: size,
            };
            return vec![all];
        }
        let last = size - part;
        let between = last - first;
        let places = (1..=PLACES).map(|place| first + between / (PLACES + 1) * place);
        // UTF-16 has units of two bytes.
        let others = places.chain([last]).map(|start| ByteRange {
            start: start / 2 * 2,
            end: (start + part).min(size),
        });
        let first = ByteRange {
            start: 0,
            end: first,
        };
        std::iter::once(first).chain(others).collect()
    }
}

/// The parts of a file that are looked at, in the order of the file.
pub(super) struct Sample {
    size: u64,
    parts: Vec<Vec<u8>>,
}

/// The text of a sample.
pub(super) struct SampleText {
    /// The text of each part. All but the first start at a line.
    pub(super) parts: Vec<String>,
    /// Whether the parts are all of the file.
    pub(super) is_whole: bool,
}

impl Sample {
    /// Returns the sample of a file of this size that consists of these parts.
    pub(super) fn new(size: u64, parts: Vec<Vec<u8>>) -> Self {
        Self { size, parts }
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    fn is_whole(&self) -> bool {
        self.bytes() as u64 >= self.size
    }

    /// Returns the first part.
    pub(super) fn head(&self) -> &[u8] {
        self.parts.first().map_or(&[], Vec::as_slice)
    }

    /// Returns whether a byte order mark says the encoding.
    pub(super) fn has_mark(&self) -> bool {
        Encoding::for_mark(self.head()).is_some()
    }

    /// Returns the encoding, and the reason for the choice if it is uncertain.
    pub(super) fn encoding(&self) -> (Encoding, String) {
        let head = self.head();
        if let Some((encoding, _)) = Encoding::for_mark(head) {
            return (encoding, "by its byte order mark".to_owned());
        }
        if let Some(label) = utf_16_label(head) {
            let encoding = Encoding::for_label(label).unwrap_or_default();
            return (encoding, "every other byte is zero".to_owned());
        }
        let mut invalid = self.parts.iter().filter_map(|part| invalid_byte(part));
        let Some((part_at, byte)) = invalid.next() else {
            return (Encoding::UTF_8, String::new());
        };
        // Letters of 8-bit encodings are hardly ever valid UTF-8 by chance.
        let counts = self.parts.iter().map(|part| beyond_ascii(part));
        let (valid, invalid) = counts.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        if valid > invalid {
            let note = format!(
                "not all of the text is UTF-8 (byte 0x{byte:02x}, first near byte {part_at} of what was looked at), but \
                 most of its letters beyond ASCII are: the other rows are rejects"
            );
            return (Encoding::UTF_8, note);
        }
        let encoding = Encoding::for_label("windows-1252").unwrap_or_default();
        let note = format!(
            "not UTF-8 (byte 0x{byte:02x}, first near byte {part_at} of what was looked at); could also be another \
             8-bit encoding, such as windows-1250 or iso-8859-15: look at the letters with accents"
        );
        (encoding, note)
    }

    /// Returns the text. Parts after the first one lose the lines that they contain only a part of.
    pub(super) fn text(&self, encoding: Encoding) -> SampleText {
        let is_whole = self.is_whole();
        let width = if encoding.is_utf_16() { 2 } else { 1 };
        let parts = self.parts.iter().enumerate().map(|(index, part)| {
            let mark = Encoding::for_mark(part).filter(|_| index == 0);
            let part = &part[mark.map_or(0, |(_, length)| length)..];
            let even = &part[..part.len() / width * width];
            let text = encoding.decode(even).0;
            let text = text.as_bytes();
            let start = match index {
                0 => 0,
                _ => memchr(b'\n', text).map_or(text.len(), |at| at + 1),
            };
            // Several parts end with the file.
            let is_last = index + 1 == self.parts.len() && (is_whole || index > 0);
            let end = if is_last || start == text.len() {
                text.len()
            } else {
                memrchr(b'\n', text).map_or(text.len(), |at| at + 1)
            };
            String::from_utf8_lossy(&text[start..end.max(start)]).into_owned()
        });
        SampleText {
            parts: parts.collect(),
            is_whole,
        }
    }

    /// Says what was looked at.
    pub(super) fn looked_at(&self, rows: usize, is_whole: bool) -> String {
        if is_whole {
            return format!("all {rows} rows");
        }
        let bytes = self.bytes();
        let of_size = match self.size {
            Source::UNKNOWN_SIZE => String::new(),
            size => format!(" of {size}"),
        };
        let places = match self.parts.len() {
            1 => "the start".to_owned(),
            _ => format!("the start, the end and {PLACES} places in between"),
        };
        format!("{rows} rows, in {bytes}{of_size} bytes: {places}")
    }
}

/// Returns the label of UTF-16 if the text looks like it: nearly every other byte is zero.
fn utf_16_label(head: &[u8]) -> Option<&'static str> {
    let head = &head[..head.len().min(64 * 1024)];
    let even = memchr_iter(0, head).filter(|at| at % 2 == 0).count();
    let odd = memchr_iter(0, head).count() - even;
    let units = head.len() / 2;
    match (odd * 2 > units, even * 2 > units) {
        (true, false) if even * 20 < units => Some("utf-16le"),
        (false, true) if odd * 20 < units => Some("utf-16be"),
        _ => None,
    }
}

/// Returns how many characters beyond ASCII are UTF-8, and how many sequences of bytes are not.
fn beyond_ascii(part: &[u8]) -> (usize, usize) {
    let chunks = part.utf8_chunks().map(|chunk| {
        let chars = chunk.valid().chars();
        let beyond = chars.filter(|char| !char.is_ascii()).count();
        (beyond, usize::from(!chunk.invalid().is_empty()))
    });
    chunks.fold((0, 0), |sum, chunk| (sum.0 + chunk.0, sum.1 + chunk.1))
}

/// Returns the first byte that is not UTF-8. A character that the ends of a part cut is no error.
fn invalid_byte(part: &[u8]) -> Option<(usize, u8)> {
    let is_continuation = |byte: &&u8| **byte & 0xc0 == 0x80;
    let cut = part.iter().take(3).take_while(is_continuation).count();
    let error = std::str::from_utf8(&part[cut..]).err()?;
    let at = cut + error.valid_up_to();
    error.error_len()?;
    Some((at, part[at]))
}
