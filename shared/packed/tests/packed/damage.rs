use landfall_domain::{Codec, ProblemCode};
use proptest::prelude::*;

use crate::pack::{deflated, pack, streamed_zip, zstd};
use crate::{CODECS, Unpacked};

/// Text that compresses about as well as a table does.
fn table(rows: u32) -> Vec<u8> {
    let rows = (0..rows).map(|row| format!("{row},product {},{}\n", row * 7919 % 1000, row % 17));
    rows.collect::<Vec<_>>().concat().into_bytes()
}

#[test]
fn an_object_that_is_cut_is_a_problem_wherever_it_is_cut() {
    for codec in CODECS {
        let content = table(30);
        let object = pack(codec, &[&content[..100], &content[100..]]);
        let first_member = pack(codec, &[&content[..100]]).len();
        for cut in 0..object.len() {
            // Nothing says that a member should follow another one.
            if codec != Codec::Zip && cut == first_member {
                continue;
            }
            let unpacked = Unpacked::of(codec, &object[..cut], &[11], &[50]);
            assert!(content.starts_with(&unpacked.content), "{codec} {cut}");
            let problem = unpacked.problem();
            assert_eq!(problem.code, ProblemCode::Malformed, "{codec} {cut}");
            let place = format!("ends at byte {cut}, but is not complete: upload the whole file");
            let is_early = codec == Codec::Zip && problem.message.contains("longer than the rest");
            assert!(
                problem.message.contains(&place) || is_early,
                "{}",
                problem.message
            );
        }
    }
}

proptest! {
    #[test]
    fn damage_is_a_problem_or_changes_nothing(
        codec in prop::sample::select(&CODECS[..]),
        is_streamed: bool,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
        rooms in proptest::collection::vec(1_usize..2_000, 1..4),
    ) {
        let content = table(200);
        let object = if is_streamed && codec == Codec::Zip {
            streamed_zip(&[("a.csv", &content)], deflated())
        } else {
            pack(codec, &[&content])
        };
        let mut damaged = object.clone();
        for (place, change) in changes {
            damaged[place.index(object.len())] ^= change;
        }
        let unpacked = Unpacked::of(codec, &damaged, &[64], &rooms);
        if unpacked.end.is_ok() {
            prop_assert_eq!(unpacked.content, content);
        }
    }

    #[test]
    fn any_bytes_are_unpacked_without_a_panic(
        codec in prop::sample::select(&CODECS[..]),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        is_started: bool,
    ) {
        let start: &[u8] = match codec {
            Codec::Gzip => &[0x1f, 0x8b, 8],
            Codec::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            Codec::Bzip2 => b"BZh91AY&SY",
            Codec::Zip => b"PK\x03\x04",
        };
        let start = if is_started { start } else { &[] };
        let object = [start, &bytes].concat();
        let unpacked = Unpacked::of(codec, &object, &[9], &[100]);
        prop_assert!(unpacked.end.is_err());
    }
}

#[test]
fn what_is_before_the_damage_is_unpacked_and_the_problem_names_its_place() {
    for codec in [Codec::Gzip, Codec::Zstd, Codec::Bzip2] {
        let content = table(1_000);
        let first = pack(codec, &[&content]);
        let mut second = pack(codec, &[&content]);
        let length = second.len();
        for byte in &mut second[length / 2..length / 2 + 40] {
            *byte = !*byte;
        }
        let unpacked = Unpacked::whole(codec, &[first.as_slice(), &second].concat());
        assert!(unpacked.content.starts_with(&content), "{codec}");
        let problem = unpacked.problem();
        assert_eq!(problem.code, ProblemCode::Malformed);
        let place = problem
            .message
            .strip_prefix(&format!("the {codec} data is damaged at byte "));
        let place = place.and_then(|place| place.split(':').next()?.parse::<usize>().ok());
        let place = place.unwrap_or_else(|| panic!("{}", problem.message));
        assert!(
            place > first.len() && place <= first.len() + length,
            "{codec} {place}"
        );
    }
}

#[test]
fn a_wrong_checksum_is_a_problem_after_all_of_the_content() {
    let content = table(20);
    for codec in CODECS {
        let mut object = pack(codec, &[&content]);
        let checksum = match codec {
            // Before the length at the end.
            Codec::Gzip => object.len() - 8,
            // In the header.
            Codec::Zip => 14,
            Codec::Zstd | Codec::Bzip2 => object.len() - 3,
        };
        object[checksum] ^= 0x10;
        let unpacked = Unpacked::whole(codec, &object);
        assert_eq!(unpacked.content, content, "{codec}");
        assert_eq!(unpacked.problem().code, ProblemCode::Malformed, "{codec}");
    }
}

#[test]
fn much_after_the_end_may_be_rows_that_cannot_be_read() {
    for codec in CODECS {
        let mut joined = pack(codec, &[b"a,b\n1,2\n"]);
        joined.extend_from_slice(&table(1_000));
        let problem = Unpacked::whole(codec, &joined).problem();
        assert_eq!(problem.code, ProblemCode::Malformed, "{codec}");
        assert!(
            problem
                .message
                .contains("what follows is no compressed data")
        );
    }
}

#[test]
fn frames_that_need_a_dictionary_or_a_huge_window_are_refused() {
    let mut needs_dictionary = vec![0x28, 0xb5, 0x2f, 0xfd, 0x21, 7, 3];
    needs_dictionary.extend_from_slice(&[1, 0, 0]);
    // A window of 2 GiB, as of --long=31.
    let needs_window = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
    let is_skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    for (object, expected) in [
        (
            needs_dictionary.as_slice(),
            "it needs a dictionary: compress it without one",
        ),
        (
            &needs_window,
            "it needs a window of more than 128 MiB: compress it with at most --long=27",
        ),
    ] {
        let problem = Unpacked::whole(Codec::Zstd, object).problem();
        assert_eq!(problem.code, ProblemCode::FormatMismatch);
        assert_eq!(problem.message, format!("the content is zstd: {expected}"));
    }
    let object = [
        &is_skipped[..],
        &zstd(b"a\n1\n"),
        &is_skipped,
        &zstd(b"2\n"),
    ]
    .concat();
    assert_eq!(Codec::of(&object), Some(Codec::Zstd));
    assert_eq!(
        Unpacked::of(Codec::Zstd, &object, &[1], &[1]).content(),
        b"a\n1\n2\n"
    );
}
