//! Bytes with a meaning in more than one format.

/// The byte order mark in UTF-8.
pub(crate) const BOM: [u8; 3] = *b"\xef\xbb\xbf";

/// Returns whether a byte is white space in JSON.
pub(crate) fn is_json_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
