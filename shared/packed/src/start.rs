//! Objects of which only the start is there.

use landfall_domain::{Codec, Problem};

use crate::unpacker::Unpacker;

/// Unpacks at most `limit` bytes of the start of an object, as far as it goes. A start that is not compressed is
/// returned as it is.
///
/// # Errors
/// Why nothing of it can be unpacked. Damage after the first unpacked bytes is none.
pub fn unpack_start(start: &[u8], limit: usize) -> Result<Vec<u8>, Problem> {
    let Some(codec) = Codec::of(start) else {
        return Ok(start[..start.len().min(limit)].to_vec());
    };
    let mut unpacker = Unpacker::new(codec, u64::MAX);
    let mut unpacked = Vec::new();
    let unpacking = unpacker.unpack(start, &mut unpacked, limit);
    match unpacking {
        Err(problem) if unpacked.is_empty() => Err(problem),
        _ => Ok(unpacked),
    }
}
