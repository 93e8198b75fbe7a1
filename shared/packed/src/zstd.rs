//! Frames of zstd.

use zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name, is_error_kind};

use crate::fault::Fault;
use crate::series::{FaultAt, Magic, Step, Stream};

/// The greatest window, as a power of two: 128 MiB, what `zstd --long` needs and `zstd -d` accepts by default.
const MAX_WINDOW_LOG: u32 = 27;

/// The first bytes of a frame with content.
const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The length of the longest header of a frame.
const MAX_HEADER_BYTES: usize = 18;

/// Returns the length of the header of a frame with this descriptor, which says which parts it has.
fn header_bytes(descriptor: u8) -> usize {
    let is_single_segment = descriptor & 0x20 != 0;
    let window = usize::from(!is_single_segment);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        flag => 1 << flag,
    };
    FRAME.len() + 1 + window + dictionary + size
}

/// One frame: with content, or to skip.
pub(crate) struct Frame {
    context: DCtx<'static>,
    /// How many bytes the context needs for its next step. With more of them, a fault would hide what the steps before
    /// it have unpacked.
    needed_bytes: usize,
}

impl Stream for Frame {
    // The whole header, which the library then gets by itself. With a frame that is whole, the library would take a
    // shortcut, and not check the window; with a part of a header, it may mistake the rest for a frame.
    fn magic(start: &[u8]) -> Magic {
        let (magic, header_bytes) = match start {
            [0x50..=0x5f, rest @ ..] => (Magic::prefix(rest, &[0x2a, 0x4d, 0x18]), 8),
            [_, _, _, _, descriptor, ..] => {
                (Magic::prefix(start, &FRAME), header_bytes(*descriptor))
            }
            _ => (Magic::prefix(start, &FRAME), MAX_HEADER_BYTES),
        };
        match magic {
            Magic::Yes if start.len() < header_bytes => Magic::Cut,
            magic => magic,
        }
    }

    fn new() -> Result<Self, Fault> {
        let no_memory = || Fault::damaged("out of memory");
        let mut context = DCtx::try_create().ok_or_else(no_memory)?;
        let parameter = DParameter::WindowLogMax(MAX_WINDOW_LOG);
        context
            .set_parameter(parameter)
            .map_err(|code| Fault::damaged(get_error_name(code)))?;
        Ok(Self {
            context,
            needed_bytes: MAX_HEADER_BYTES,
        })
    }

    // A context goes on with the next frame, and keeps its window.
    fn restart(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn step(&mut self, packed: &[u8], unpacked: &mut [u8]) -> Result<Step, FaultAt> {
        let part = &packed[..packed.len().min(self.needed_bytes)];
        let mut input = InBuffer::around(part);
        let mut output = OutBuffer::around(unpacked);
        let needed_bytes = self.context.decompress_stream(&mut output, &mut input);
        let done = Step {
            consumed: input.pos(),
            produced: output.pos(),
            discarded: 0,
            is_last: needed_bytes == Ok(0),
        };
        self.needed_bytes = match needed_bytes {
            Ok(0) => MAX_HEADER_BYTES,
            Ok(bytes) => bytes,
            Err(code) => {
                let fault = fault(code);
                return Err(FaultAt { done, fault });
            }
        };
        Ok(done)
    }
}

fn fault(code: usize) -> Fault {
    let is = |kind| is_error_kind(code, kind);
    if is(ZSTD_ErrorCode::ZSTD_error_dictionary_wrong) {
        Fault::unsupported("it needs a dictionary: compress it without one")
    } else if is(ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge) {
        Fault::unsupported(
            "it needs a window of more than 128 MiB: compress it with at most --long=27",
        )
    } else {
        Fault::damaged(get_error_name(code))
    }
}
