use flate2::{Compress, Compression, FlushCompress};
use landfall_domain::{Codec, Problem, ProblemCode};
use landfall_packed::{ALWAYS_UNPACKED, MAX_RATIO, Unpacker};

use crate::pack::gzip;

const ROOM: usize = 1 << 20;
static ZEROS: [u8; 1 << 24] = [0; 1 << 24];

/// Feeds a start, and then what unpacks to [`ZEROS`], until that is too much. Returns how much is unpacked until then.
fn unpack_repeatedly(codec: Codec, start: &[u8], zeros: &[u8]) -> (u64, Problem) {
    assert!(zeros.len() as u64 * MAX_RATIO < ZEROS.len() as u64);
    let mut unpacker = Unpacker::new(codec, u64::MAX);
    let (mut length, mut unpacked) = (0, Vec::new());
    let mut rest = start;
    for _ in 0..3 * (ALWAYS_UNPACKED >> 24) {
        loop {
            unpacked.clear();
            match unpacker.unpack(rest, &mut unpacked, ROOM) {
                Err(problem) => return (length, problem),
                Ok(consumed) => rest = &rest[consumed..],
            }
            length += unpacked.len() as u64;
            if rest.is_empty() && unpacked.len() < ROOM {
                break;
            }
        }
        rest = zeros;
    }
    panic!("{length} bytes");
}

#[test]
fn an_object_may_unpack_to_a_gigabyte_but_not_to_many_times_its_size_beyond() {
    let (length, problem) = unpack_repeatedly(Codec::Gzip, &[], &gzip(&ZEROS));
    assert_eq!(problem.code, ProblemCode::TooLarge);
    assert!(length.abs_diff(ALWAYS_UNPACKED) <= ROOM as u64, "{length}");
}

#[test]
fn what_an_archive_has_beside_its_file_counts_too() {
    let mut start = b"PK\x03\x04\x14\0\x08\0\x08\0".to_vec();
    start.extend_from_slice(&[0; 20]);
    let name = b"__MACOSX/._a.csv";
    start[26] = 16;
    start.extend_from_slice(name);
    let mut zeros = Vec::with_capacity(1 << 17);
    let mut compress = Compress::new(Compression::default(), false);
    compress
        .compress_vec(&ZEROS, &mut zeros, FlushCompress::Full)
        .unwrap();
    assert_eq!(compress.total_in(), ZEROS.len() as u64);
    let (length, problem) = unpack_repeatedly(Codec::Zip, &start, &zeros);
    assert_eq!((length, problem.code), (0, ProblemCode::TooLarge));
}
