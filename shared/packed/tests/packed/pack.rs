//! Compressed objects, made by the encoders of the libraries.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use landfall_domain::Codec;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};
use zstd_safe::{CCtx, CParameter, compress_bound};

/// Compresses parts, each by itself, and joins them. An archive has them in one file.
pub(crate) fn pack(codec: Codec, parts: &[&[u8]]) -> Vec<u8> {
    let each = |pack: fn(&[u8]) -> Vec<u8>| parts.iter().flat_map(|part| pack(part)).collect();
    match codec {
        Codec::Gzip => each(gzip),
        Codec::Zstd => each(zstd),
        Codec::Bzip2 => each(bzip2),
        Codec::Zip => zip(&[("a.csv", &parts.concat())], deflated()),
    }
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(content: &[u8]) -> Vec<u8> {
    let mut context = CCtx::create();
    context
        .set_parameter(CParameter::ChecksumFlag(true))
        .unwrap();
    let mut packed = Vec::with_capacity(compress_bound(content.len()));
    context.compress2(&mut packed, content).unwrap();
    packed
}

pub(crate) fn deflated() -> SimpleFileOptions {
    SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Deflated)
}

pub(crate) fn stored() -> SimpleFileOptions {
    SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Stored)
}

/// Makes an archive whose sizes are in front of the files.
pub(crate) fn zip(files: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Makes an archive whose sizes follow the files, as a program does that writes to a pipe.
pub(crate) fn streamed_zip(files: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
    let mut writer = ZipWriter::new_stream(Vec::new());
    for (name, content) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
