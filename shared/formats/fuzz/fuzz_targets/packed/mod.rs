//! Bytes that may be compressed data unpack to the same, however they are divided.

use landfall_domain::{Codec, Problem, Warning};
use landfall_packed::Unpacker;

/// The most bytes that are unpacked.
const MAX_BYTES: usize = 1 << 20;

/// Unpacks the bytes after the first two as a whole, and in parts and rooms of the sizes that the first two say.
pub fn check(codec: Codec, bytes: &[u8]) {
    let Some(([part, room], object)) = bytes.split_first_chunk() else {
        return;
    };
    let (part, room) = (usize::from(*part) + 1, usize::from(*room) * 16 + 1);
    let (whole, end) = unpack(codec, object, object.len().max(1), MAX_BYTES);
    let (divided, divided_end) = unpack(codec, object, part, room);
    match (end, divided_end) {
        (Ok(warnings), Ok(divided_warnings)) => {
            assert_eq!(warnings, divided_warnings);
            assert_eq!(whole, divided);
        }
        // More of what is before the damage may be unpacked.
        (Err(problem), Err(divided_problem)) => {
            assert_eq!(problem.code, divided_problem.code);
            assert!(whole.starts_with(&divided) || divided.starts_with(&whole));
        }
        (end, divided_end) => panic!("{end:?} and {divided_end:?}"),
    }
}

fn unpack(
    codec: Codec,
    object: &[u8],
    part: usize,
    room: usize,
) -> (Vec<u8>, Result<Vec<Warning>, Problem>) {
    let mut unpacker = Unpacker::new(codec, object.len() as u64);
    let mut content = Vec::new();
    for mut part in object.chunks(part) {
        loop {
            let before = content.len();
            let consumed = unpacker.unpack(part, &mut content, room);
            assert!(content.len() <= before + room);
            if content.len() >= MAX_BYTES {
                content.truncate(MAX_BYTES);
                return (content, Ok(Vec::new()));
            }
            match consumed {
                Ok(consumed) => part = &part[consumed..],
                Err(problem) => return (content, Err(problem)),
            }
            if content.len() < before + room {
                assert!(part.is_empty());
                break;
            }
        }
    }
    (content, unpacker.finish())
}
