//! Finds record boundaries in bytes, and decodes the bytes of a chunk to typed rows: pure, no I/O, no AWS.
//!
//! The splitter streams an object through a [`Scanner`], which plans chunks of whole records in constant memory. A
//! worker reads one such chunk and [`decode`]s it to rows and rejects. Both see the same records, however the bytes
//! are split: a chunk never decodes to more or fewer records than were planned for it. The worker checks this for
//! every chunk.
//!
//! The scanners are state machines over segments of any size:
//!
//! - **CSV and TSV** follow one set of rules for all dialects; see the module `csv`. Property tests and fuzz targets
//!   compare the chunks with a parser of the whole file, for arbitrary bytes, dialects, segment and chunk sizes.
//! - **NDJSON**: LF ends a record, and so does an object before another one on the same line. Lines are only read
//!   byte by byte if they may contain a second object.
//! - **JSON**: an array at the root or at a path, or a sequence of objects. The scanner tracks strings and depth to
//!   find the elements. If the bytes between elements are not JSON, the job fails with the offset of the first such
//!   byte. Records complete before that point have landed.
//! - **A record over the size limit** becomes a chunk of a separate kind. Its worker writes a reject, and reads only
//!   the part of the record that the reject shows. The limit is 1 MiB by default and 8 MiB at most.
//!
//! [`decode_object`] runs all these steps on an object, for tools and tests.
//!
//! A reject holds object, version, byte offset, line, column, reason, and the record as it was in the file. If its
//! record could be parsed, the reject also holds it as JSON, which can be fixed and uploaded again as NDJSON.
//!
//! ```
//! use landfall_domain::{Dataset, Format, Problem, Reading};
//! use landfall_formats::{Header, Scanner, decode};
//!
//! # let definition = "name = \"products\"\nkey = [\"sku\"]\n[[fields]]\nname = \"sku\"\ntype = \"text\"\n";
//! # let dataset = Dataset::from_toml("products.toml", definition).unwrap();
//! let object = b"sku,colour\nA-1,red\nA-2,\"blue\ngreen\"\n";
//!
//! let mut chunks = Vec::new();
//! let reading = Reading::from(Format::Csv);
//! let mut scanner = Scanner::new(&dataset, &reading, 1);
//! for piece in object.chunks(7) {
//!     scanner.feed(piece, &mut chunks)?;
//! }
//! let summary = scanner.finish(&mut chunks)?;
//! assert_eq!((summary.records, chunks.len()), (2, 2));
//!
//! let header = Header::parse(&object[..10], &dataset, &reading)?;
//! let chunk = &chunks[1];
//! let (start, end) = (chunk.range.start as usize, chunk.range.end as usize);
//! let bytes = &object[start..end];
//! let decoded = decode(&dataset, &reading, Some(&header), bytes, chunk.range.start, chunk.first_line);
//! assert_eq!(decoded.rows[0].extra.as_deref(), Some(r#"{"colour":"blue\ngreen"}"#));
//! # Ok::<(), Problem>(())
//! ```

mod block;
mod csv;
mod decode;
mod detect;
mod exported;
pub mod infer;
mod json_line;
mod json_value;
mod object;
mod position;
mod record_at;
mod scan;
mod syntax;
mod transcode;
mod written;

pub use csv::header::Header;
pub use decode::{Decoded, Skipped, decode, oversize};
pub use detect::{detect, quoting_warning};
pub use object::{
    CHUNK_BYTES, Findings, Object, check_place, check_size, decode_chunk, decode_object,
};
pub use record_at::{FoundRecord, record_at};
pub use scan::{CUTTING_RULES, MAX_CHUNK_RECORDS, MAX_CHUNKS, Scanner, ScannerState, Summary};
pub use written::{WriteError, Written};
