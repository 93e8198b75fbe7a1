//! The parts of a file that are looked at.

use landfall_domain::{ByteRange, Encoding};
use memchr::{memchr, memchr_iter, memrchr};

/// The size of a file that is looked at as a whole, in bytes.
const WHOLE_BYTES: u64 = 16 * 1024 * 1024;
/// The size of the first part of a larger file.
const FIRST_BYTES: u64 = 4 * 1024 * 1024;
/// The size of each other part.
const PART_BYTES: u64 = 1024 * 1024;
/// The number of places between start and end.
const PLACES: u64 = 8;

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
    /// Reads the parts.
    pub(super) fn read<E>(
        size: u64,
        mut read: impl FnMut(ByteRange) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let ranges = ranges(size).into_iter();
        let parts = ranges.map(&mut read).collect::<Result<_, _>>()?;
        Ok(Self { size, parts })
    }

    /// Returns the first part.
    pub(super) fn head(&self) -> &[u8] {
        self.parts.first().map_or(&[], Vec::as_slice)
    }

    /// Returns whether a byte order mark says the encoding.
    pub(super) fn has_mark(&self) -> bool {
        Encoding::for_mark(self.head()).is_some()
    }

    /// Returns the encoding, and why it is that one.
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
        let encoding = Encoding::for_label("windows-1252").unwrap_or_default();
        let note = format!(
            "not UTF-8 (byte 0x{byte:02x}, first near byte {part_at} of what was looked at); could also be another \
             8-bit encoding, such as windows-1250 or iso-8859-15: look at the letters with accents"
        );
        (encoding, note)
    }

    /// Returns the text. Parts after the first one lose the lines that they contain only a part of.
    pub(super) fn text(&self, encoding: Encoding) -> SampleText {
        let is_whole = self.parts.len() == 1;
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
            let is_last = index + 1 == self.parts.len();
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
        let bytes: usize = self.parts.iter().map(Vec::len).sum();
        format!(
            "{rows} rows, in {bytes} of {} bytes: the start, the end and {PLACES} places in between",
            self.size
        )
    }
}

fn ranges(size: u64) -> Vec<ByteRange> {
    if size <= WHOLE_BYTES {
        return vec![ByteRange {
            start: 0,
            end: size,
        }];
    }
    let between = size - FIRST_BYTES - PART_BYTES;
    let places = (1..=PLACES).map(|place| FIRST_BYTES + between / (PLACES + 1) * place);
    let last = size - PART_BYTES;
    let mut ranges = vec![ByteRange {
        start: 0,
        end: FIRST_BYTES,
    }];
    // UTF-16 has units of two bytes.
    ranges.extend(places.chain([last]).map(|start| ByteRange {
        start: start / 2 * 2,
        end: (start + PART_BYTES).min(size),
    }));
    ranges
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

/// Returns the first byte that is not UTF-8. A character that the ends of a part cut is no error.
fn invalid_byte(part: &[u8]) -> Option<(usize, u8)> {
    let is_continuation = |byte: &&u8| **byte & 0xc0 == 0x80;
    let cut = part.iter().take(3).take_while(is_continuation).count();
    let error = std::str::from_utf8(&part[cut..]).err()?;
    let at = cut + error.valid_up_to();
    error.error_len()?;
    Some((at, part[at]))
}
