use std::fmt;

use serde::{Deserialize, Serialize};

/// How an object is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Codec {
    /// Members of RFC 1952, as of `gzip`, `pigz` and `bgzip`.
    Gzip,
    /// Frames of RFC 8878.
    Zstd,
    /// Streams of `bzip2`.
    Bzip2,
    /// A zip archive with one file.
    Zip,
}

impl Codec {
    /// The number of bytes that [`of`](Self::of) looks at.
    pub const MAGIC_BYTES: usize = 4;

    /// Returns how an object with these first bytes is compressed. Its name says nothing about it.
    pub fn of(start: &[u8]) -> Option<Self> {
        match *start.first_chunk::<{ Self::MAGIC_BYTES }>()? {
            [0x1f, 0x8b, 8, _] => Some(Self::Gzip),
            // A frame with content, or one to skip, with which `pzstd` starts.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9'] => Some(Self::Bzip2),
            // A file, the end of an archive without files, or the mark of an archive that may be split.
            [b'P', b'K', 3, 4] | [b'P', b'K', 5, 6] | [b'P', b'K', 7, 8] => Some(Self::Zip),
            _ => None,
        }
    }

    /// Returns the name of a file without the extension of a compressed file, if it has one: `a.csv` for `a.csv.gz`.
    pub fn unpacked_name(name: &str) -> &str {
        const EXTENSIONS: [&str; 6] = ["gz", "gzip", "zst", "zstd", "bz2", "zip"];
        match name.rsplit_once('.') {
            Some((unpacked, extension))
                if EXTENSIONS
                    .iter()
                    .any(|known| extension.eq_ignore_ascii_case(known)) =>
            {
                unpacked
            }
            _ => name,
        }
    }

    /// Returns the name used in JSON and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Zip => "zip",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
