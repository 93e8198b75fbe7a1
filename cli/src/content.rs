//! The content of local files, which may be compressed.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use landfall_domain::{ByteRange, Codec};
use landfall_packed::Unpacker;
use landfall_preview::Ending;

/// The maximum number of bytes that a compressed file is unpacked to, in a temporary file.
pub(crate) const MAX_UNPACKED: u64 = 4 * 1024 * 1024 * 1024;
/// The number of bytes that are read or unpacked at once.
const PART_BYTES: usize = 1024 * 1024;

/// The content of a file: the file itself, or what it unpacks to, as far as it is looked at.
pub(crate) struct Content {
    file: File,
    /// The size of the content. Unless that is all, it ends with a line.
    pub(crate) size: u64,
    pub(crate) ending: Ending,
}

impl Content {
    /// Opens a file. What a compressed one unpacks to is written to a temporary file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_up_to(path, MAX_UNPACKED)
    }

    fn open_up_to(path: &Path, max: u64) -> Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(context)?;
        let metadata = file.metadata().with_context(context)?;
        ensure!(metadata.is_file(), "{} is not a file", path.display());
        let mut start = Vec::new();
        let magic = Codec::MAGIC_BYTES as u64;
        let read = (&mut file).take(magic).read_to_end(&mut start);
        read.with_context(context)?;
        file.rewind().with_context(context)?;
        match Codec::of(&start) {
            None => Ok(Self {
                file,
                size: metadata.len(),
                ending: Ending::Whole(Vec::new()),
            }),
            Some(codec) => {
                let unpacker = Unpacker::new(codec, metadata.len());
                let context = || format!("cannot unpack {}", path.display());
                unpack(file, unpacker, max).with_context(context)
            }
        }
    }

    /// Reads a range of the content.
    pub(crate) fn read(&mut self, range: ByteRange) -> io::Result<Vec<u8>> {
        let length = usize::try_from(range.len()).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.seek(SeekFrom::Start(range.start))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Unpacks a file to a temporary one, up to about `max` bytes.
fn unpack(mut packed: File, mut unpacker: Unpacker, max: u64) -> io::Result<Content> {
    let mut output = BufWriter::new(tempfile::tempfile()?);
    let mut part = vec![0; PART_BYTES];
    let mut unpacked = Vec::new();
    let (mut size, mut last_line) = (0, 0);
    let ending = 'file: loop {
        let length = packed.read(&mut part)?;
        if length == 0 {
            break match unpacker.finish() {
                Ok(warnings) => Ending::Whole(warnings),
                Err(problem) => Ending::Damaged(problem),
            };
        }
        let mut rest = &part[..length];
        loop {
            unpacked.clear();
            let consumed = unpacker.unpack(rest, &mut unpacked, PART_BYTES);
            output.write_all(&unpacked)?;
            if let Some(last) = unpacked.iter().rposition(|byte| *byte == b'\n') {
                last_line = size + last as u64 + 1;
            }
            size += unpacked.len() as u64;
            match consumed {
                Ok(consumed) => rest = &rest[consumed..],
                Err(problem) => break 'file Ending::Damaged(problem),
            }
            if size >= max {
                break 'file Ending::Cut;
            }
            if rest.is_empty() && unpacked.len() < PART_BYTES {
                break;
            }
        }
    };
    let size = match ending {
        Ending::Cut | Ending::Damaged(_) if last_line > 0 => last_line,
        _ => size,
    };
    let file = output
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    Ok(Content { file, size, ending })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tempfile::TempDir;

    use super::*;

    /// Writes a compressed file.
    pub(crate) fn gzip(directory: &TempDir, name: &str, content: &str) -> PathBuf {
        let path = directory.path().join(name);
        let file = File::create(&path).unwrap();
        let mut encoder = GzEncoder::new(file, Compression::default());
        encoder.write_all(content.as_bytes()).unwrap();
        encoder.finish().unwrap();
        path
    }

    #[test]
    fn a_file_that_unpacks_to_more_than_is_looked_at_ends_with_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = gzip(&directory, "a.csv.gz", &"1,2,3\n".repeat(1_000_000));
        let mut content = Content::open_up_to(&path, 1_000_000).unwrap();
        assert_eq!(content.ending, Ending::Cut);
        assert!((1_000_000..3_000_000).contains(&content.size));
        let range = ByteRange {
            start: content.size - 6,
            end: content.size,
        };
        assert_eq!(content.read(range).unwrap(), b"1,2,3\n");
    }
}
