use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The encoding of the text of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Encoding {
    /// The encoding of everything that is not declared otherwise.
    pub const UTF_8: Self = Self(encoding_rs::UTF_8);

    /// Returns the encoding with this label of the WHATWG standard, such as `windows-1252` or `utf-16le`.
    ///
    /// Encodings in which bytes of ASCII do not stand for themselves are unknown, except for UTF-16.
    pub fn for_label(label: &str) -> Option<Self> {
        let encoding = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes())?;
        let is_known = encoding.is_ascii_compatible() || Self(encoding).is_utf_16();
        is_known.then_some(Self(encoding))
    }

    /// Returns the encoding that a byte order mark at the start of a text sets, and the length of the mark.
    pub fn for_mark(head: &[u8]) -> Option<(Self, usize)> {
        encoding_rs::Encoding::for_bom(head).map(|(encoding, length)| (Self(encoding), length))
    }

    /// Returns its name in the standard.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Returns whether it is UTF-16, in either byte order.
    pub fn is_utf_16(self) -> bool {
        self.0 == encoding_rs::UTF_16LE || self.0 == encoding_rs::UTF_16BE
    }

    /// Returns whether it is UTF-16 with the more significant byte first.
    pub fn is_big_endian(self) -> bool {
        self.0 == encoding_rs::UTF_16BE
    }

    /// Returns whether a character can have several bytes, of which the last may be one of ASCII from `0` on.
    pub fn has_ascii_trail_bytes(self) -> bool {
        !self.0.is_single_byte() && self != Self::UTF_8 && !self.is_utf_16()
    }

    /// Decodes bytes, and returns whether all of them are valid. Invalid ones become U+FFFD.
    pub fn decode(self, bytes: &[u8]) -> (std::borrow::Cow<'_, str>, bool) {
        let (text, has_errors) = self.0.decode_without_bom_handling(bytes);
        (text, !has_errors)
    }
}

impl Default for Encoding {
    fn default() -> Self {
        Self::UTF_8
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Encoding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Encoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let label = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::for_label(&label)
            .ok_or_else(|| D::Error::custom(format!("{label:?} is not an encoding")))
    }
}
