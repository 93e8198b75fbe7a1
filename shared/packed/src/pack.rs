//! Compressed files, for tests and measurements.

use std::io::Write as _;

use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};
use landfall_domain::Codec;

/// Compresses a file.
///
/// # Panics
/// If the text is too long for a zip archive without extensions, 4 GiB.
pub fn pack(codec: Codec, text: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text).expect("memory is written to");
            encoder.finish().expect("memory is written to")
        }
        Codec::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(text).expect("memory is written to");
            encoder.finish().expect("memory is written to")
        }
        Codec::Zstd => {
            let mut packed = vec![0; zstd_safe::compress_bound(text.len())];
            let length = zstd_safe::compress(&mut packed[..], text, 3).expect("there is room");
            packed.truncate(length);
            packed
        }
        Codec::Zip => zip("file", text),
    }
}

/// Returns a zip archive with one file.
fn zip(name: &str, text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("memory is written to");
    let deflated = encoder.finish().expect("memory is written to");
    let mut crc = Crc::new();
    crc.update(text);
    let size = |length: usize| u32::try_from(length).expect("a small file").to_le_bytes();
    // What the header of the file and its entry in the directory have in common.
    let [low, high] = u16::try_from(name.len())
        .expect("a short name")
        .to_le_bytes();
    let common = [
        // Version 2.0, no flags, deflated, without a time.
        &[20, 0, 0, 0, 8, 0, 0, 0, 0, 0][..],
        &crc.sum().to_le_bytes(),
        &size(deflated.len()),
        &size(text.len()),
        &[low, high, 0, 0],
    ]
    .concat();
    let file = [b"PK\x03\x04", &common[..], name.as_bytes(), &deflated].concat();
    let entry = [
        b"PK\x01\x02\x14\0",
        &common[..],
        // No comment, the first disk, no attributes, and the file is at the start.
        &[0; 14],
        name.as_bytes(),
    ]
    .concat();
    let end = [
        b"PK\x05\x06\0\0\0\0\x01\0\x01\0",
        &size(entry.len())[..],
        &size(file.len()),
        &[0, 0],
    ]
    .concat();
    [file, entry, end].concat()
}
