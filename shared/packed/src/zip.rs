//! Zip archives with one file, from their local headers: the directory of an archive comes last.

mod header;
mod member;

use landfall_domain::excerpt;

use crate::fault::Fault;
use crate::series::{Decode, FaultAt, Step, Trailing};
use header::{LocalHeader, number};
use member::{Member, Sizes};

/// The length of the signature that each record of an archive starts with.
const SIGNATURE_BYTES: usize = 4;

/// An archive, of which one file is unpacked.
pub(crate) struct Archive {
    /// The size of the object.
    size: u64,
    consumed: u64,
    state: State,
    /// The first bytes of the next record.
    held: Vec<u8>,
    /// The name of the file that is unpacked.
    file: Option<String>,
    /// How many local headers there were.
    members: u64,
    /// How many members the directory listed.
    listed: u64,
}

/// What is read next.
enum State {
    /// A record. Its signature says which one.
    Record,
    /// A local header of this length, of which the fixed part is there.
    Header(usize),
    /// The content of a member.
    Content(Box<Member>),
    /// The checksum and the sizes of a member, after its content.
    Descriptor(Sizes),
    /// So many bytes of a record.
    Skip { left: u64, is_end: bool },
    /// What follows the archive.
    Trailing(Trailing),
}

/// A kind of record, by its signature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    LocalHeader,
    ListedFile,
    DirectorySignature,
    End64,
    End64Place,
    End,
}

impl Kind {
    fn of(signature: &[u8]) -> Result<Self, Fault> {
        match signature {
            b"PK\x03\x04" => Ok(Self::LocalHeader),
            b"PK\x01\x02" => Ok(Self::ListedFile),
            b"PK\x05\x05" => Ok(Self::DirectorySignature),
            b"PK\x06\x06" => Ok(Self::End64),
            b"PK\x06\x07" => Ok(Self::End64Place),
            b"PK\x05\x06" => Ok(Self::End),
            b"PK\x06\x08" => Err(Fault::unsupported("it is encrypted: upload it as it is")),
            b"PK\x07\x08" => Err(Fault::unsupported("it is a part of a divided archive")),
            _ => Err(Fault::damaged("a record of the archive should start here")),
        }
    }

    /// The length of the part of which the length is fixed.
    fn fixed_bytes(self) -> usize {
        match self {
            Self::LocalHeader => LocalHeader::FIXED_BYTES,
            Self::ListedFile => 46,
            Self::DirectorySignature => 6,
            Self::End64 => 12,
            Self::End64Place => 20,
            Self::End => 22,
        }
    }

    /// The length of the rest, by the fixed part.
    fn other_bytes(self, fixed: &[u8]) -> u64 {
        match self {
            Self::LocalHeader => number(&fixed[26..28]) + number(&fixed[28..30]),
            Self::ListedFile => {
                number(&fixed[28..30]) + number(&fixed[30..32]) + number(&fixed[32..34])
            }
            Self::DirectorySignature => number(&fixed[4..6]),
            Self::End64 => number(&fixed[4..12]),
            Self::End64Place => 0,
            Self::End => number(&fixed[20..22]),
        }
    }
}

impl Archive {
    /// Creates the decoder of an object of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self {
            size,
            consumed: 0,
            state: State::Record,
            held: Vec::new(),
            file: None,
            members: 0,
            listed: 0,
        }
    }

    /// Goes one step. Returns nothing if only the state has changed.
    fn advance(&mut self, packed: &[u8], unpacked: &mut [u8]) -> Result<Option<Step>, FaultAt> {
        let mut step = Step::default();
        let next = match &mut self.state {
            State::Content(member) => {
                step = member.step(packed, unpacked)?;
                let end = step.is_last.then(|| member.end());
                step.is_last = false;
                end.transpose()
                    .map_err(|fault| FaultAt { done: step, fault })?
            }
            State::Skip { left, is_end } => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX);
                step.consumed = length.min(packed.len());
                *left -= step.consumed as u64;
                let after = match is_end {
                    true => State::Trailing(Trailing::default()),
                    false => State::Record,
                };
                (*left == 0).then_some(after)
            }
            State::Trailing(trailing) => {
                trailing.add(packed)?;
                step.consumed = packed.len();
                None
            }
            State::Record | State::Header(_) | State::Descriptor(_) => {
                let needed = self.needed_bytes()?;
                let missing = needed.saturating_sub(self.held.len());
                step.consumed = missing.min(packed.len());
                self.held.extend_from_slice(&packed[..step.consumed]);
                let next = (step.consumed == missing).then(|| self.read_held());
                next.transpose()
                    .map_err(|fault| FaultAt { done: step, fault })?
                    .flatten()
            }
        };
        self.consumed += step.consumed as u64;
        let is_changed = next.is_some();
        if let Some(next) = next {
            self.state = next;
        }
        Ok((step.is_progress() || !is_changed).then_some(step))
    }

    /// Returns how many bytes have to be there before they are read.
    fn needed_bytes(&self) -> Result<usize, Fault> {
        match &self.state {
            State::Header(length) => Ok(*length),
            State::Descriptor(_) => Ok(Sizes::MAX_DESCRIPTOR_BYTES),
            _ => match self.held.first_chunk::<SIGNATURE_BYTES>() {
                Some(signature) => Ok(Kind::of(signature)?.fixed_bytes()),
                None => Ok(SIGNATURE_BYTES),
            },
        }
    }

    /// Reads what is held back. Returns the next state, unless more of the same record is needed.
    fn read_held(&mut self) -> Result<Option<State>, Fault> {
        match &self.state {
            State::Header(length) => {
                let header = LocalHeader::parse(&self.held[..*length])?;
                self.held.clear();
                self.begin(&header).map(Some)
            }
            State::Descriptor(sizes) => {
                let length = sizes.descriptor_bytes(&self.held)?;
                self.held.drain(..length);
                Ok(Some(State::Record))
            }
            _ => {
                let kind = Kind::of(&self.held[..SIGNATURE_BYTES])?;
                if self.held.len() < kind.fixed_bytes() {
                    return Ok(None);
                }
                self.read_record(kind).map(Some)
            }
        }
    }

    /// Reads a record of which the fixed part is held back.
    fn read_record(&mut self, kind: Kind) -> Result<State, Fault> {
        let left = kind.other_bytes(&self.held);
        match kind {
            Kind::LocalHeader => {
                if self.listed > 0 {
                    return Err(Fault::damaged(
                        "a file follows the directory of the archive",
                    ));
                }
                self.members += 1;
                let length = usize::try_from(left).unwrap_or(usize::MAX);
                return Ok(State::Header(kind.fixed_bytes() + length));
            }
            Kind::ListedFile => self.listed += 1,
            _ if self.listed != self.members => {
                let (listed, members) = (self.listed, self.members);
                let message = format!("the archive has {members} entries, but lists {listed}");
                return Err(Fault::damaged(message));
            }
            Kind::End if self.file.is_none() => {
                return Err(Fault::unsupported("it contains no file"));
            }
            Kind::DirectorySignature | Kind::End64 | Kind::End64Place | Kind::End => {}
        }
        self.held.clear();
        let is_end = kind == Kind::End;
        Ok(State::Skip { left, is_end })
    }

    /// Begins the content of a member.
    fn begin(&mut self, header: &LocalHeader) -> Result<State, Fault> {
        let member = Member::new(header)?;
        let left = self.size.saturating_sub(self.consumed);
        if member.least_bytes() > left {
            return Err(Fault::damaged(
                "the archive is cut: its file is longer than the rest of it",
            ));
        }
        if !header.is_ignored() {
            if let Some(workbook) = header.workbook() {
                return Err(Fault::unsupported(workbook));
            }
            if let Some(file) = &self.file {
                let (first, second) = (excerpt(file), excerpt(&header.name));
                return Err(Fault::unsupported(format!(
                    "it contains several files, {first:?} and {second:?}: upload each of them by itself"
                )));
            }
            self.file = Some(header.name.clone());
        }
        Ok(State::Content(Box::new(member)))
    }
}

impl Decode for Archive {
    fn step(&mut self, packed: &[u8], unpacked: &mut [u8]) -> Result<Step, FaultAt> {
        loop {
            if let Some(step) = self.advance(packed, unpacked)? {
                return Ok(step);
            }
        }
    }

    fn end(&self) -> Option<u64> {
        match &self.state {
            State::Trailing(trailing) => Some(trailing.0),
            _ => None,
        }
    }
}
