//! Bytes with a meaning in more than one format.

/// The byte order mark in UTF-8.
pub(crate) const BOM: [u8; 3] = *b"\xef\xbb\xbf";

/// Returns whether a byte can stand between JSON records: white space, or the record separator of RFC 7464.
pub(crate) fn is_between_json(byte: u8) -> bool {
    is_json_space(byte) || byte == 0x1e
}

/// Returns whether a byte is white space in JSON.
pub(crate) fn is_json_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
