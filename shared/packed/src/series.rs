//! Compressed streams one after the other, with what may follow the last one.

use crate::fault::Fault;

/// What one call has done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// How much of the compressed part was read.
    pub(crate) consumed: usize,
    /// How many bytes it was unpacked to.
    pub(crate) produced: usize,
    /// How many more bytes it was unpacked to that are no content of the file.
    pub(crate) discarded: usize,
    /// Whether the stream ends here.
    pub(crate) is_last: bool,
}

impl Step {
    pub(crate) fn is_progress(self) -> bool {
        self.consumed + self.produced + self.discarded > 0
    }
}

/// A fault, and what the call has done before it was found.
pub(crate) struct FaultAt {
    pub(crate) done: Step,
    pub(crate) fault: Fault,
}

impl From<Fault> for FaultAt {
    fn from(fault: Fault) -> Self {
        let done = Step::default();
        Self { done, fault }
    }
}

/// Unpacks an object, part by part.
pub(crate) trait Decode: Send {
    /// Unpacks a part to the start of `unpacked`. Without any progress, it needs more of one of both.
    fn step(&mut self, packed: &[u8], unpacked: &mut [u8]) -> Result<Step, FaultAt>;

    /// Returns the number of bytes after the compressed data, or nothing if the object must not end here.
    fn end(&self) -> Option<u64>;
}

/// Whether a stream starts here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Magic {
    Yes,
    No,
    /// The bytes are too few to say.
    Cut,
}

impl Magic {
    /// Compares the start of a stream with the bytes that all of them start with.
    pub(crate) fn prefix(start: &[u8], magic: &[u8]) -> Self {
        let length = start.len().min(magic.len());
        match start[..length] == magic[..length] {
            false => Self::No,
            true if length < magic.len() => Self::Cut,
            true => Self::Yes,
        }
    }
}

/// One stream of a series.
pub(crate) trait Stream: Sized + Send {
    /// Returns whether a stream starts with these bytes.
    fn magic(start: &[u8]) -> Magic;

    fn new() -> Result<Self, Fault>;

    /// Gets ready for the next stream.
    fn restart(&mut self) -> Result<(), Fault> {
        *self = Self::new()?;
        Ok(())
    }

    fn step(&mut self, packed: &[u8], unpacked: &mut [u8]) -> Result<Step, FaultAt>;
}

/// Streams one after the other.
pub(crate) struct Series<S> {
    stream: S,
    place: Place,
    /// The first bytes of a stream, as far as they have not reached it yet.
    start: Vec<u8>,
}

enum Place {
    /// Before the first stream.
    Start,
    Inside,
    /// After a stream.
    Between,
    Trailing(Trailing),
}

impl<S: Stream> Series<S> {
    pub(crate) fn new() -> Result<Self, Fault> {
        Ok(Self {
            stream: S::new()?,
            place: Place::Start,
            start: Vec::new(),
        })
    }

    /// Unpacks the bytes that were held back. They count as read already.
    fn step_held(&mut self, unpacked: &mut [u8]) -> Result<Step, FaultAt> {
        while !self.start.is_empty() {
            let held = self.stream.step(&self.start, unpacked);
            let mut step = held.map_err(|FaultAt { mut done, fault }| {
                done.consumed = 0;
                FaultAt { done, fault }
            })?;
            self.start.drain(..step.consumed);
            let is_read = std::mem::take(&mut step.consumed) > 0;
            if step.is_last || step.produced > 0 || !is_read {
                return Ok(step);
            }
        }
        Ok(Step::default())
    }

    /// Looks for the start of the next stream.
    fn look(&mut self, packed: &[u8]) -> Result<Step, FaultAt> {
        let is_start = matches!(self.place, Place::Start);
        if !is_start && self.start.is_empty() {
            let zeros = packed.iter().take_while(|byte| **byte == 0).count();
            if zeros > 0 {
                return Ok(consumed(zeros));
            }
        }
        let Some(byte) = packed.first() else {
            return Ok(Step::default());
        };
        self.start.push(*byte);
        match S::magic(&self.start) {
            Magic::Cut => {}
            Magic::Yes => {
                if !is_start {
                    self.stream.restart()?;
                }
                self.place = Place::Inside;
            }
            Magic::No if is_start => return Err(Fault::damaged("incorrect header").into()),
            Magic::No => {
                let mut trailing = Trailing::default();
                trailing.add(&self.start)?;
                self.place = Place::Trailing(trailing);
            }
        }
        Ok(consumed(1))
    }
}

impl<S: Stream> Decode for Series<S> {
    fn step(&mut self, packed: &[u8], unpacked: &mut [u8]) -> Result<Step, FaultAt> {
        match &mut self.place {
            Place::Start | Place::Between => self.look(packed),
            Place::Trailing(trailing) => {
                trailing.add(packed)?;
                Ok(consumed(packed.len()))
            }
            Place::Inside => {
                let mut step = self.step_held(unpacked)?;
                if !step.is_last && step.produced == 0 && self.start.is_empty() {
                    step = self.stream.step(packed, unpacked)?;
                }
                if step.is_last {
                    self.place = Place::Between;
                }
                Ok(step)
            }
        }
    }

    fn end(&self) -> Option<u64> {
        match &self.place {
            Place::Between if self.start.is_empty() => Some(0),
            Place::Trailing(trailing) => Some(trailing.0),
            _ => None,
        }
    }
}

fn consumed(consumed: usize) -> Step {
    Step {
        consumed,
        ..Step::default()
    }
}

/// Counts the bytes after the end of the compressed data, without zero bytes before them.
#[derive(Default)]
pub(crate) struct Trailing(pub(crate) u64);

impl Trailing {
    /// More bytes than this may be rows that cannot be read.
    const MAX_BYTES: u64 = 4096;

    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let padding = match self.0 {
            0 => bytes.iter().take_while(|byte| **byte == 0).count(),
            _ => 0,
        };
        self.0 += (bytes.len() - padding) as u64;
        if self.0 > Self::MAX_BYTES {
            return Err(Fault::damaged("what follows is no compressed data"));
        }
        Ok(())
    }
}
