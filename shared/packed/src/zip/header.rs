//! The local header of a member.

use crate::fault::Fault;
use crate::zip::member::Sizes;

/// What the header before the content of a member says.
pub(crate) struct LocalHeader {
    pub(crate) name: String,
    pub(crate) method: Method,
    /// The checksum and sizes, which are zero if they follow the content.
    pub(crate) sizes: Sizes,
    /// Whether checksum and sizes follow the content.
    pub(crate) has_descriptor: bool,
}

/// How a member is compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Stored,
    Deflated,
}

impl LocalHeader {
    /// The length without name and extra fields.
    pub(crate) const FIXED_BYTES: usize = 30;

    /// Parses a whole header.
    pub(crate) fn parse(header: &[u8]) -> Result<Self, Fault> {
        let (fixed, rest) = header.split_at(Self::FIXED_BYTES);
        let flags = number(&fixed[6..8]);
        let has_flag = |bit: u32| flags & (1 << bit) != 0;
        let method = number(&fixed[8..10]);
        if has_flag(0) || has_flag(6) || has_flag(13) || method == 99 {
            return Err(Fault::unsupported(
                "it is encrypted: upload it without a password",
            ));
        }
        let name_bytes = usize::try_from(number(&fixed[26..28])).unwrap_or(usize::MAX);
        let (name, extra) = rest.split_at(name_bytes.min(rest.len()));
        let sizes = Sizes {
            crc: u32::try_from(number(&fixed[14..18])).unwrap_or(u32::MAX),
            packed: number(&fixed[18..22]),
            unpacked: number(&fixed[22..26]),
        };
        Ok(Self {
            name: String::from_utf8_lossy(name).into_owned(),
            method: Method::of(method)?,
            sizes: sizes.with_64_bits(extra),
            has_descriptor: has_flag(3),
        })
    }

    /// Returns whether the member is a directory or a file that macOS has added.
    pub(crate) fn is_ignored(&self) -> bool {
        let name = self.name.rsplit('/').next().unwrap_or_default();
        name.is_empty() || self.name.starts_with("__MACOSX/") || name == ".DS_Store"
    }

    /// Returns what the archive is if it is a workbook, which starts with one of these files.
    pub(crate) fn workbook(&self) -> Option<&'static str> {
        let is_excel = ["[Content_Types].xml", "_rels/", "docProps/", "xl/"];
        if is_excel.iter().any(|start| self.name.starts_with(start)) {
            Some("it is an Excel workbook: export the sheet as CSV")
        } else if self.name == "mimetype" {
            Some("it is an OpenDocument file: export the sheet as CSV")
        } else {
            None
        }
    }
}

impl Method {
    fn of(method: u64) -> Result<Self, Fault> {
        let name = match method {
            0 => return Ok(Self::Stored),
            8 => return Ok(Self::Deflated),
            9 => "Deflate64, as Windows Explorer does with files of 2 GB or more",
            12 => "bzip2",
            14 => "LZMA",
            93 => "zstd",
            95 => "xz",
            98 => "PPMd",
            _ => "an unknown method",
        };
        Err(Fault::unsupported(format!(
            "its file is compressed with {name}: use Deflate, or gzip instead of zip"
        )))
    }
}

impl Sizes {
    /// Replaces sizes that do not fit 32 bits with those in the extra fields.
    fn with_64_bits(mut self, extra: &[u8]) -> Self {
        const IS_64: u64 = 0xffff_ffff;
        const ZIP64: u64 = 1;
        let mut extra = extra;
        while let Some((head, rest)) = extra.split_at_checked(4) {
            let length = usize::try_from(number(&head[2..4])).unwrap_or(usize::MAX);
            let Some((mut field, others)) = rest.split_at_checked(length) else {
                break;
            };
            extra = others;
            if number(&head[..2]) != ZIP64 {
                continue;
            }
            for size in [&mut self.unpacked, &mut self.packed] {
                if let (IS_64, Some((value, rest))) = (*size, field.split_at_checked(8)) {
                    *size = number(value);
                    field = rest;
                }
            }
        }
        self
    }
}

/// Reads a number of at most 8 bytes, the least significant first.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}
