//! The decoder of an object, and its limits.

use landfall_domain::{Codec, Problem, ProblemCode, Warning, WarningCode};

use crate::bzip2::Blocks;
use crate::fault::Fault;
use crate::gzip::Member;
use crate::series::{Decode, FaultAt, Series};
use crate::zip::Archive;
use crate::zstd::Frame;

/// The number of bytes that every object may unpack to.
pub const ALWAYS_UNPACKED: u64 = 1024 * 1024 * 1024;

/// How many times as many bytes an object may unpack to beyond [`ALWAYS_UNPACKED`], at any point of it.
pub const MAX_RATIO: u64 = 250;

/// The greatest number of bytes that an object may unpack to.
pub const MAX_UNPACKED: u64 = 1024 * 1024 * 1024 * 1024;

/// The most bytes that one call of a decoder unpacks.
const STEP_BYTES: usize = 128 * 1024;

/// Decompresses an object, part by part.
///
/// ```
/// use landfall_domain::{Codec, Problem};
/// use landfall_packed::Unpacker;
///
/// # let object = [31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 75, 76, 226, 2, 0, 62, 152, 74, 1, 3, 0, 0, 0];
/// let room = 64 * 1024;
/// let mut unpacker = Unpacker::new(Codec::Gzip, object.len() as u64);
/// let mut text = Vec::new();
/// for mut part in object.chunks(7) {
///     loop {
///         let mut unpacked = Vec::new();
///         let consumed = unpacker.unpack(part, &mut unpacked, room)?;
///         part = &part[consumed..];
///         text.extend_from_slice(&unpacked);
///         // As long as the room is used up, there may be more.
///         if part.is_empty() && unpacked.len() < room {
///             break;
///         }
///     }
/// }
/// let warnings = unpacker.finish()?;
/// assert_eq!((text.as_slice(), warnings.len()), (&b"ab\n"[..], 0));
/// # Ok::<(), Problem>(())
/// ```
pub struct Unpacker {
    codec: Codec,
    /// The decoder, or why there is none.
    decoder: Result<Box<dyn Decode>, Problem>,
    /// What the decoder writes to, so that the caller's bytes need not be zeroed for it.
    buffer: Vec<u8>,
    consumed: u64,
    unpacked: u64,
}

impl Unpacker {
    /// Creates the decoder of an object of `size` bytes, `u64::MAX` if that is unknown.
    pub fn new(codec: Codec, size: u64) -> Self {
        fn boxed<D: Decode + 'static>(decoder: Result<D, Fault>) -> Result<Box<dyn Decode>, Fault> {
            Ok(Box::new(decoder?))
        }
        let decoder = match codec {
            Codec::Gzip => boxed(Series::<Member>::new()),
            Codec::Zstd => boxed(Series::<Frame>::new()),
            Codec::Bzip2 => boxed(Series::<Blocks>::new()),
            Codec::Zip => boxed(Ok(Archive::new(size))),
        };
        Self {
            codec,
            decoder: decoder.map_err(|fault| problem(codec, 0, fault)),
            buffer: vec![0; STEP_BYTES],
            consumed: 0,
            unpacked: 0,
        }
    }

    /// Decompresses a part of the object, appends at most `room` bytes to `unpacked`, and returns how much of `packed`
    /// was read.
    ///
    /// It stops when all of `packed` is read and nothing is left to append, or when `room` bytes are appended. In the
    /// latter case, call it again with the rest of the part, even if the rest is empty.
    ///
    /// # Errors
    /// Why the object cannot be unpacked from here on. The bytes that this call has appended before are content of the
    /// file. After an error, there is nothing more to unpack.
    pub fn unpack(
        &mut self,
        packed: &[u8],
        unpacked: &mut Vec<u8>,
        room: usize,
    ) -> Result<usize, Problem> {
        let decoder = self.decoder.as_mut().map_err(|problem| problem.clone())?;
        let mut rest = packed;
        let mut room = room;
        while room > 0 {
            let length = self.buffer.len().min(room);
            let (step, fault) = match decoder.step(rest, &mut self.buffer[..length]) {
                Ok(step) => (step, None),
                Err(FaultAt { done, fault }) => (done, Some(fault)),
            };
            unpacked.extend_from_slice(&self.buffer[..step.produced]);
            rest = &rest[step.consumed..];
            room -= step.produced;
            self.consumed += step.consumed as u64;
            self.unpacked += (step.produced + step.discarded) as u64;
            if let Some(fault) = fault {
                return Err(problem(self.codec, self.consumed, fault));
            }
            check_bounds(self.codec, self.consumed, self.unpacked)?;
            if !step.is_progress() {
                break;
            }
        }
        if room > 0 && !rest.is_empty() {
            let fault = Fault::damaged("it cannot be read on");
            return Err(problem(self.codec, self.consumed, fault));
        }
        Ok(packed.len() - rest.len())
    }

    /// Ends the object after its last byte.
    ///
    /// # Errors
    /// `Malformed` if the compressed data does not end here.
    pub fn finish(self) -> Result<Vec<Warning>, Problem> {
        let trailing = self.decoder?.end().ok_or_else(|| {
            let (codec, end) = (self.codec, self.consumed);
            let message = format!(
                "the {codec} data ends at byte {end}, but is not complete: upload the whole file"
            );
            Problem::new(ProblemCode::Malformed, message)
        })?;
        let warning = (trailing > 0).then(|| WarningCode::TrailingBytes.counted(trailing));
        Ok(warning.into_iter().collect())
    }
}

fn check_bounds(codec: Codec, consumed: u64, unpacked: u64) -> Result<(), Problem> {
    let allowed = consumed
        .saturating_mul(MAX_RATIO)
        .clamp(ALWAYS_UNPACKED, MAX_UNPACKED);
    if unpacked <= allowed {
        return Ok(());
    }
    let message = if allowed == MAX_UNPACKED {
        "the file is larger than 1 TiB when it is unpacked: divide it".to_owned()
    } else {
        format!(
            "the first {consumed} bytes of the {codec} data unpack to more than 1 GiB and more than {MAX_RATIO} times \
             their size: unpack the file before the upload if that is right"
        )
    };
    Err(Problem::new(ProblemCode::TooLarge, message))
}

fn problem(codec: Codec, offset: u64, fault: Fault) -> Problem {
    match fault {
        Fault::Damaged(reason) => Problem::new(
            ProblemCode::Malformed,
            format!(
                "the {codec} data is damaged at byte {offset}: {reason}; compress the file again"
            ),
        ),
        Fault::Unsupported(reason) => Problem::new(
            ProblemCode::FormatMismatch,
            format!("the content is {codec}: {reason}"),
        ),
    }
}
