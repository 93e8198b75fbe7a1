use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use landfall_domain::Codec;
use landfall_packed::Unpacker;

use crate::{Chunks, TransportError};

/// How gzip starts. No text in UTF-8 does.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The maximum number of bytes in a piece that is unpacked.
const PIECE: usize = 64 * 1024;

/// Returns a body without the compression of the connection, and without that of a gzip file in it.
pub(crate) fn unpacked(
    headers: &HeaderMap,
    body: Box<dyn Chunks>,
) -> Result<Box<dyn Chunks>, TransportError> {
    let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    match encoding.map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"" | b"identity") => Ok(Box::new(Unpacked::new(body))),
        Some(b"gzip" | b"x-gzip") => Ok(Box::new(Unpacked::new(Box::new(Unpacked::new(body))))),
        Some(other) => Err(TransportError::Failed(format!(
            "the answer has Content-Encoding: {}, and only gzip was requested",
            String::from_utf8_lossy(other)
        ))),
    }
}

/// A body that is unpacked if it starts like gzip.
struct Unpacked {
    body: Box<dyn Chunks>,
    state: State,
}

enum State {
    /// The start, as far as it has arrived.
    Start(Vec<u8>),
    Plain,
    /// The decoder, and what it has not read yet.
    Gzip(Box<Unpacker>, Bytes),
    End,
}

impl Unpacked {
    fn new(body: Box<dyn Chunks>) -> Self {
        Self {
            body,
            state: State::Start(Vec::new()),
        }
    }

    /// Reads until it is clear what the body is. Returns its start if it is not compressed.
    async fn start(&mut self, mut start: Vec<u8>) -> Result<Option<Bytes>, TransportError> {
        while start.len() < GZIP.len() {
            match self.body.next().await? {
                Some(piece) => start.extend_from_slice(&piece),
                None => break,
            }
        }
        if start.starts_with(&GZIP) {
            let unpacker = Unpacker::new(Codec::Gzip, u64::MAX);
            self.state = State::Gzip(Box::new(unpacker), start.into());
            return Ok(None);
        }
        self.state = State::Plain;
        Ok(Some(start.into()))
    }

    /// Returns the next piece, which is never empty, or `None` at the end.
    async fn unpack(
        &mut self,
        mut unpacker: Box<Unpacker>,
        mut packed: Bytes,
    ) -> Result<Option<Bytes>, TransportError> {
        let failed = |problem| TransportError::Failed(format!("the answer is damaged: {problem}"));
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            let read = unpacker
                .unpack(&packed, &mut piece, PIECE)
                .map_err(failed)?;
            packed = packed.slice(read..);
            if !piece.is_empty() {
                self.state = State::Gzip(unpacker, packed);
                return Ok(Some(piece.into()));
            }
            let Some(next) = self.body.next().await? else {
                unpacker.finish().map_err(failed)?;
                return Ok(None);
            };
            packed = next;
        }
    }
}

#[async_trait]
impl Chunks for Unpacked {
    async fn next(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            // After an error or when the caller gives up, there is nothing more.
            match std::mem::replace(&mut self.state, State::End) {
                State::Start(start) => match self.start(start).await? {
                    Some(start) if !start.is_empty() => return Ok(Some(start)),
                    _ => {}
                },
                State::Plain => {
                    let piece = self.body.next().await?;
                    if piece.is_some() {
                        self.state = State::Plain;
                    }
                    return Ok(piece);
                }
                State::Gzip(unpacker, packed) => return self.unpack(unpacker, packed).await,
                State::End => return Ok(None),
            }
        }
    }
}
