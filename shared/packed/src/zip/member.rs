//! The content of a member, and the checksum and sizes before or after it.

use flate2::{Crc, Decompress};

use crate::fault::Fault;
use crate::gzip::inflate;
use crate::series::{FaultAt, Step};
use crate::zip::State;
use crate::zip::header::{LocalHeader, Method};

/// The content of a member.
pub(crate) struct Member {
    decoder: Decoder,
    /// What the header says, unless it follows the content.
    stated: Option<Sizes>,
    has_descriptor: bool,
    is_ignored: bool,
    crc: Crc,
    packed: u64,
    unpacked: u64,
}

enum Decoder {
    Stored,
    Deflated(Decompress),
}

impl Member {
    pub(crate) fn new(header: &LocalHeader) -> Result<Self, Fault> {
        let sizes = &header.sizes;
        let is_stored = header.method == Method::Stored;
        let is_directory = header.name.ends_with('/');
        if is_stored && header.has_descriptor && sizes.packed == 0 && !is_directory {
            return Err(Fault::unsupported(
                "its file is stored, with the size after it: compress it with Deflate, or make the archive on a disk \
                 instead of a pipe",
            ));
        }
        if is_stored && sizes.packed != sizes.unpacked {
            return Err(Fault::damaged("incorrect size of a stored file"));
        }
        Ok(Self {
            decoder: match header.method {
                Method::Stored => Decoder::Stored,
                Method::Deflated => Decoder::Deflated(Decompress::new(false)),
            },
            stated: (is_stored || !header.has_descriptor).then_some(*sizes),
            has_descriptor: header.has_descriptor,
            is_ignored: header.is_ignored(),
            crc: Crc::new(),
            packed: 0,
            unpacked: 0,
        })
    }

    /// Returns how many bytes of the object the content needs at least.
    pub(crate) fn least_bytes(&self) -> u64 {
        self.stated.map_or(0, |stated| stated.packed)
    }

    pub(crate) fn step(&mut self, packed: &[u8], unpacked: &mut [u8]) -> Result<Step, FaultAt> {
        let left = self
            .stated
            .map_or(u64::MAX, |stated| stated.packed - self.packed);
        let part = &packed[..packed
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX))];
        let mut step = match &mut self.decoder {
            Decoder::Stored => {
                let length = part.len().min(unpacked.len());
                unpacked[..length].copy_from_slice(&part[..length]);
                Step {
                    consumed: length,
                    produced: length,
                    discarded: 0,
                    is_last: length as u64 == left,
                }
            }
            Decoder::Deflated(inflater) => {
                inflate(inflater, part, unpacked).map_err(|mut found| {
                    if self.is_ignored {
                        found.done.produced = 0;
                    }
                    found
                })?
            }
        };
        self.crc.update(&unpacked[..step.produced]);
        self.packed += step.consumed as u64;
        self.unpacked += step.produced as u64;
        if left == 0 && !step.is_last && !step.is_progress() {
            return Err(Fault::damaged("the file is longer than its header says").into());
        }
        if self.is_ignored {
            (step.produced, step.discarded) = (0, step.produced);
        }
        Ok(step)
    }

    /// Checks the content after its last byte, and returns what follows it.
    pub(crate) fn end(&self) -> Result<State, Fault> {
        let sizes = Sizes {
            crc: self.crc.sum(),
            packed: self.packed,
            unpacked: self.unpacked,
        };
        match self.stated {
            _ if self.has_descriptor => Ok(State::Descriptor(sizes)),
            Some(stated) if stated != sizes => Err(Sizes::mismatch()),
            _ => Ok(State::Record),
        }
    }
}

/// The checksum and the sizes of a member.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) crc: u32,
    /// The compressed size.
    pub(crate) packed: u64,
    pub(crate) unpacked: u64,
}

impl Sizes {
    /// The length of the longest descriptor, with the first bytes of the signature after it. More than that follows
    /// each descriptor.
    pub(crate) const MAX_DESCRIPTOR_BYTES: usize = 26;

    /// Returns the length of the descriptor at the start of these bytes, which must be that of these sizes.
    ///
    /// A descriptor may start with a signature, and its sizes may have 32 or 64 bits; nothing says so.
    pub(crate) fn descriptor_bytes(&self, held: &[u8]) -> Result<usize, Fault> {
        const SIGNATURE: &[u8] = b"PK\x07\x08";
        for signature in [SIGNATURE, b""] {
            for size_bytes in [4, 8] {
                let mut expected = signature.to_vec();
                expected.extend_from_slice(&self.crc.to_le_bytes());
                expected.extend_from_slice(&self.packed.to_le_bytes()[..size_bytes]);
                expected.extend_from_slice(&self.unpacked.to_le_bytes()[..size_bytes]);
                let after = held.strip_prefix(expected.as_slice());
                if after.is_some_and(|after| after.starts_with(b"PK")) {
                    return Ok(expected.len());
                }
            }
        }
        Err(Self::mismatch())
    }

    fn mismatch() -> Fault {
        Fault::damaged("incorrect checksum or size of the file")
    }
}
