//! Decompresses objects: a push decoder for gzip, zstd, bzip2 and zip, streaming, bounded, without I/O.
//!
//! An [`Unpacker`] is fed the bytes of an object in parts of any size, and appends what they unpack to. Its memory
//! depends on neither: 40 KiB for gzip and zip, 4 MiB for bzip2, and for zstd the window that the object states, which
//! is at most 128 MiB.
//!
//! - **gzip**: any number of members, each with its checksum and length.
//! - **zstd**: any number of frames, checksums if there are any, frames to skip. No dictionaries.
//! - **bzip2**: any number of streams, checksums of blocks and streams.
//! - **zip**: one file, stored or deflated, with its checksum; directories and what macOS adds are skipped.
//!
//! Zero bytes after the end are padding. A few other bytes are a warning, and many a problem: they may be rows.
//!
//! Damage is found where it is, or at the checksum after it. What was unpacked before is handed out all the same, as
//! the rows before the damage in a plain file are. Small objects that unpack to huge ones are a problem as soon as the
//! [limits](MAX_RATIO) are exceeded.

mod bzip2;
mod fault;
mod gzip;
#[cfg(feature = "pack")]
mod pack;
mod series;
mod start;
mod unpacker;
mod zip;
mod zstd;

#[cfg(feature = "pack")]
pub use pack::pack;
pub use start::unpack_start;
pub use unpacker::{ALWAYS_UNPACKED, MAX_RATIO, MAX_UNPACKED, Unpacker};
