//! What compressed objects unpack to, and what damaged ones do.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod bounds;
mod damage;
mod files;
mod pack;
mod round_trip;
mod zip;

use landfall_domain::{Codec, Problem, Warning};
use landfall_packed::Unpacker;

const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Zstd, Codec::Bzip2, Codec::Zip];

/// What an object unpacks to, and how that ends.
#[derive(Debug, PartialEq)]
struct Unpacked {
    content: Vec<u8>,
    end: Result<Vec<Warning>, Problem>,
}

impl Unpacked {
    /// Unpacks an object in parts of these sizes, with these rooms, both repeated.
    fn of(codec: Codec, object: &[u8], parts: &[usize], rooms: &[usize]) -> Self {
        let mut content = Vec::new();
        let end = unpack(codec, object, parts, rooms, &mut content);
        Self { content, end }
    }

    /// Unpacks an object as a whole.
    fn whole(codec: Codec, object: &[u8]) -> Self {
        Self::of(codec, object, &[usize::MAX], &[1 << 20])
    }

    /// The content of an object that has neither problems nor warnings.
    #[track_caller]
    fn content(self) -> Vec<u8> {
        assert_eq!(self.end, Ok(Vec::new()));
        self.content
    }

    #[track_caller]
    fn problem(self) -> Problem {
        self.end.expect_err("a problem")
    }
}

fn unpack(
    codec: Codec,
    object: &[u8],
    parts: &[usize],
    rooms: &[usize],
    content: &mut Vec<u8>,
) -> Result<Vec<Warning>, Problem> {
    let (mut parts, mut rooms) = (parts.iter().cycle(), rooms.iter().cycle());
    let mut unpacker = Unpacker::new(codec, object.len() as u64);
    let mut rest = object;
    while !rest.is_empty() {
        let length = parts
            .next()
            .map_or(rest.len(), |part| rest.len().min(*part));
        let (mut part, after) = rest.split_at(length);
        rest = after;
        loop {
            let room = *rooms.next().unwrap();
            let before = content.len();
            let consumed = unpacker.unpack(part, content, room)?;
            part = &part[consumed..];
            let appended = content.len() - before;
            assert!(appended <= room, "{appended} bytes in a room of {room}");
            if appended < room {
                assert_eq!(part.len(), 0, "not all was read");
                break;
            }
        }
    }
    unpacker.finish()
}
