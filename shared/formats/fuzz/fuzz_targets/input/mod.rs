//! Splits the input of the fuzzer into settings and data.

#[path = "../../../tests/formats/oracle/mod.rs"]
mod oracle;

use landfall_domain::{CsvOptions, Format};
use oracle::Setup;

/// Checks the data after the first five bytes, which determine the settings.
pub fn check(format: Format, path: &[&str], input: &[u8]) {
    let Some((&[flags, chunk, limit, first, second], data)) = input.split_first_chunk() else {
        return;
    };
    let setup = Setup {
        format,
        csv: CsvOptions {
            delimiter: match (format, flags & 0b11) {
                (Format::Tsv, _) => Some(b'\t'),
                (_, 0 | 1) => Some(b','),
                (_, 2) => Some(b';'),
                _ => Some(b'|'),
            },
            quote: if flags & 0b1100 == 0b1100 {
                b'\''
            } else {
                b'"'
            },
            header: flags & 0x10 != 0,
        },
        path: path.iter().map(|&name| name.to_owned()).collect(),
        record_bytes: if flags & 0x20 == 0 {
            1 << 20
        } else {
            1 + u64::from(limit)
        },
        chunk_bytes: 1 + u64::from(chunk),
        pieces: vec![1 + usize::from(first), 1 + usize::from(second)],
    };
    oracle::check(&setup, data);
}
