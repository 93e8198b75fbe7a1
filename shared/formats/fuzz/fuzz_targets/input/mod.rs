//! Splits the input of the fuzzer into settings and data.

#[path = "../../../tests/formats/oracle/mod.rs"]
mod oracle;

use landfall_domain::{CsvOptions, Format, Quote};
use oracle::Setup;

/// Checks the data after the first six bytes, which determine the settings.
pub fn check(format: Format, path: &[&str], input: &[u8]) {
    let Some((&[flags, dialect, chunk, limit, first, second], data)) = input.split_first_chunk() else {
        return;
    };
    let setup = Setup {
        format,
        csv: CsvOptions {
            delimiter: match (format, flags & 0b11) {
                (Format::Tsv, _) => None,
                (_, 0) => Some(",".to_owned()),
                (_, 1) => Some("||".to_owned()),
                (_, 2) => Some(";".to_owned()),
                _ => Some("|".to_owned()),
            },
            quote: match flags & 0b1100 {
                0b1100 => Quote::Byte(b'\''),
                0b1000 => Quote::None,
                _ => Quote::Usual,
            },
            escape: (dialect & 1 != 0).then_some(b'\\'),
            comment: (dialect & 2 != 0).then_some(b'#'),
            lenient: dialect & 4 != 0,
            trim: dialect & 8 != 0,
            flexible: dialect & 0x10 != 0,
            quoted_empty: dialect & 0x20 != 0,
            skip_lines: u32::from(dialect >> 6),
            header_records: u32::from(flags >> 6),
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
