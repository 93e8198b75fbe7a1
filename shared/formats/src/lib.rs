//! Finds the records of an object, and decodes them into typed rows. Does no I/O.
//!
//! The splitter streams an object through a [`Scanner`], which plans chunks of complete records in
//! constant memory. A worker reads one chunk and [`decode`]s it into rows and rejects. Both find the
//! same records in any bytes: a chunk never decodes to more or fewer records than were planned.
//!
//! ```
//! use landfall_domain::{Dataset, Format, Problem};
//! use landfall_formats::{Header, ScanOptions, Scanner, decode};
//!
//! # let definition = "name = \"products\"\nkey = [\"sku\"]\n[[fields]]\nname = \"sku\"\ntype = \"text\"\n";
//! # let dataset = Dataset::from_toml("products.toml", definition).unwrap();
//! let object = b"sku,colour\nA-1,red\nA-2,\"blue\ngreen\"\n";
//!
//! let mut chunks = Vec::new();
//! let mut scanner = Scanner::new(ScanOptions::from_dataset(&dataset, Format::Csv, 1));
//! for piece in object.chunks(7) {
//!     scanner.feed(piece, &mut chunks)?;
//! }
//! let summary = scanner.finish(&mut chunks)?;
//! assert_eq!((summary.records, chunks.len()), (2, 2));
//!
//! let header = Header::parse(&object[..10], &dataset, Format::Csv)?;
//! let chunk = &chunks[1];
//! let (start, end) = (chunk.range.start as usize, chunk.range.end as usize);
//! let bytes = &object[start..end];
//! let decoded = decode(&dataset, Format::Csv, Some(&header), bytes, chunk.range.start, chunk.first_line);
//! assert_eq!(decoded.rows[0].extra.as_deref(), Some(r#"{"colour":"blue\ngreen"}"#));
//! # Ok::<(), Problem>(())
//! ```

mod csv_records;
mod decode;
mod detect;
mod header;
mod json_value;
mod scan;
mod syntax;

pub use decode::{Decoded, decode, oversize};
pub use detect::{HEAD_BYTES, detect};
pub use header::Header;
pub use scan::{CUTTING_RULES, MAX_CHUNK_RECORDS, PlannedChunk, ScanOptions, Scanner, Summary};
