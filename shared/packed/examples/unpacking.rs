//! Prints the throughput of decompression for each kind of compressed object, as the median of several runs, in
//! megabytes of content.
//!
//! `cargo run --release -p landfall-packed --example unpacking`

use std::fmt::Write as _;
use std::io::{self, Cursor, Write};
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use landfall_domain::Codec;
use landfall_packed::Unpacker;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;
use zstd_safe::compress_bound;

const ROWS: u64 = 1_000_000;
const RUNS: usize = 5;
/// The number of bytes that the splitter reads at once.
const PART_BYTES: usize = 4 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let content = rows().into_bytes();
    println!("{:<8}{:>8}{:>8}{:>8}", "", "MB", "ratio", "MB/s");
    for codec in [Codec::Gzip, Codec::Zstd, Codec::Bzip2, Codec::Zip] {
        let object = pack(codec, &content)?;
        let mut seconds = Vec::new();
        for _ in 0..RUNS {
            let start = Instant::now();
            let length = unpack(codec, &object)?;
            seconds.push(start.elapsed().as_secs_f64());
            if length != content.len() {
                return Err(format!("{codec}: {length} bytes").into());
            }
        }
        seconds.sort_by(f64::total_cmp);
        #[expect(clippy::cast_precision_loss, reason = "the output is rounded")]
        let (megabytes, packed) = (content.len() as f64 / 1e6, object.len() as f64 / 1e6);
        let (ratio, speed) = (megabytes / packed, megabytes / seconds[RUNS / 2]);
        println!("{codec:<8}{megabytes:>8.1}{ratio:>8.1}{speed:>8.0}");
    }
    Ok(())
}

fn unpack(codec: Codec, object: &[u8]) -> Result<usize, landfall_domain::Problem> {
    let mut unpacker = Unpacker::new(codec, object.len() as u64);
    let (mut length, mut unpacked) = (0, Vec::with_capacity(PART_BYTES));
    for mut part in object.chunks(PART_BYTES) {
        loop {
            unpacked.clear();
            let consumed = unpacker.unpack(part, &mut unpacked, PART_BYTES)?;
            part = &part[consumed..];
            length += unpacked.len();
            if part.is_empty() && unpacked.len() < PART_BYTES {
                break;
            }
        }
    }
    unpacker.finish()?;
    Ok(length)
}

fn pack(codec: Codec, content: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(content)?;
            encoder.finish()
        }
        Codec::Zstd => {
            const LEVEL: i32 = 3;
            let mut packed = Vec::with_capacity(compress_bound(content.len()));
            zstd_safe::compress(&mut packed, content, LEVEL)
                .map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))?;
            Ok(packed)
        }
        Codec::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            encoder.write_all(content)?;
            encoder.finish()
        }
        Codec::Zip => {
            let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
            writer.start_file("a.csv", SimpleFileOptions::DEFAULT)?;
            writer.write_all(content)?;
            Ok(writer.finish()?.into_inner())
        }
    }
}

/// Returns rows that compress about as well as a table does.
fn rows() -> String {
    let mut text = "sku,title,price,stock,updated_at\n".to_owned();
    for row in 0..ROWS {
        // The digits of a row are those of a hash, which do not compress.
        let hash = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let (price, stock, minute) = (hash % 100_000, hash % 500, hash % 1_440);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "SKU-{row:08},A product with the number {hash:x},{}.{:02},{stock},2026-11-20T{:02}:{:02}:00Z",
            price / 100,
            price % 100,
            minute / 60,
            minute % 60
        );
    }
    text
}
