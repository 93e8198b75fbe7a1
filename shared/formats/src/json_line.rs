//! Divides a line of NDJSON into records.
//!
//! A line is one record, whatever it contains, but an object that follows another one is a separate record: some
//! writers put no line ends between objects. Splitter and worker apply the same rules.

use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

use crate::json_value::JsonValue;
use crate::syntax::is_between_json;

/// Follows one record of a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum LineRecord {
    /// In an object.
    Object(JsonValue),
    /// After an object, and after this many bytes that do not belong to a record.
    After(usize),
    /// In a record that ends with its line.
    Rest,
}

/// Where a record starts on the line of another.
pub(crate) struct Split {
    /// The first byte of the record.
    pub(crate) next: usize,
    /// The number of bytes between the two.
    pub(crate) gap: usize,
}

impl LineRecord {
    /// Starts a record with its first byte, which is consumed.
    pub(crate) fn starting_with(byte: u8) -> Self {
        let object = (byte == b'{').then(|| JsonValue::starting_with(byte));
        object.flatten().map_or(Self::Rest, Self::Object)
    }

    /// Consumes bytes of the line up to the next record. Returns where that is, or `None` if there is none.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Option<Split> {
        let mut rest = bytes;
        if let Self::Object(value) = self {
            match value.feed(bytes) {
                Ok(None) => return None,
                Ok(Some(length)) => {
                    rest = &bytes[length..];
                    *self = Self::After(0);
                }
                Err(_) => *self = Self::Rest,
            }
        }
        let Self::After(gap) = self else {
            return None;
        };
        let Some(found) = rest.iter().position(|byte| !is_between_json(*byte)) else {
            *gap += rest.len();
            return None;
        };
        if rest[found] == b'{' {
            return Some(Split {
                next: bytes.len() - rest.len() + found,
                gap: *gap + found,
            });
        }
        *self = Self::Rest;
        None
    }
}

/// Returns whether an object may follow another one on this line, which is fast to rule out.
pub(crate) fn may_have_several(line: &[u8]) -> bool {
    memchr_iter(b'{', line).any(|at| {
        let before = line[..at].iter().rfind(|byte| !is_between_json(**byte));
        before == Some(&b'}')
    })
}
