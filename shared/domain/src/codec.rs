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
    pub const MAGIC_BYTES: usize = 10;

    /// Returns how an object with these first bytes is compressed. Its name says nothing about it.
    pub fn of(start: &[u8]) -> Option<Self> {
        // Of the first block, or of the end of a stream without blocks. Text may start like the four bytes before.
        const BZIP2_BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
        const BZIP2_END: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
        match *start {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            // A frame with content, or one to skip, with which `pzstd` starts.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ref block @ ..] => {
                let is_bzip2 = block.starts_with(&BZIP2_BLOCK) || block.starts_with(&BZIP2_END);
                is_bzip2.then_some(Self::Bzip2)
            }
            // A file, the end of an archive without files, or the mark of an archive that may be divided.
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, ..] => {
                Some(Self::Zip)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_starts_like_bzip2_is_not_compressed() {
        assert_eq!(Codec::of(b"BZh9,name\n1,Lamp\n"), None);
        assert_eq!(Codec::of(b"BZh91AY&SY\x59"), Some(Codec::Bzip2));
        assert_eq!(Codec::of(b""), None);
    }

    #[test]
    fn names_lose_the_extension_of_a_compressed_file() {
        for (name, expected) in [
            ("a/b.csv.gz", "a/b.csv"),
            ("b.CSV.GZ", "b.CSV"),
            ("b.zip", "b"),
            ("b.csv", "b.csv"),
            ("gz", "gz"),
        ] {
            assert_eq!(Codec::unpacked_name(name), expected);
        }
    }
}
