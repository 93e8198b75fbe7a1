use landfall_domain::{Codec, WarningCode};
use landfall_packed::unpack_start;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::pack::{deflated, pack, streamed_zip, zip};
use crate::{CODECS, Unpacked};

/// Contents of very different ratios.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let random = vec(any::<u8>(), 0..2_000);
    let repeated = (vec(any::<u8>(), 1..20), 1_usize..2_000);
    prop_oneof![
        random,
        repeated.prop_map(|(unit, times)| unit.repeat(times))
    ]
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(&CODECS[..])
}

proptest! {
    #[test]
    fn every_object_unpacks_to_its_content(
        contents in vec(content(), 1..4),
        codec in codec(),
        parts in vec(1_usize..300, 1..8),
        rooms in vec(1_usize..5_000, 1..8),
    ) {
        let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
        let object = pack(codec, &contents);
        prop_assert_eq!(Codec::of(&object), Some(codec));
        let unpacked = Unpacked::of(codec, &object, &parts, &rooms);
        prop_assert_eq!(unpacked, Unpacked { content: contents.concat(), end: Ok(Vec::new()) });
    }

    #[test]
    fn files_of_archives_unpack_whether_their_sizes_come_first_or_last(
        content in content(),
        part in 1_usize..300,
        is_large: bool,
        is_streamed: bool,
    ) {
        let make = if is_streamed { streamed_zip } else { zip };
        let files: [(&str, &[u8]); 2] = [("__MACOSX/._a.csv", b"more"), ("a/a.csv", &content)];
        let object = make(&files, deflated().large_file(is_large));
        let unpacked = Unpacked::of(Codec::Zip, &object, &[part], &[100]);
        prop_assert_eq!(unpacked, Unpacked { content, end: Ok(Vec::new()) });
    }

    #[test]
    fn the_start_of_an_object_unpacks_to_the_start_of_its_content(
        content in content(),
        codec in codec(),
        at in 0.0..1.0_f64,
        limit in 1_usize..5_000,
    ) {
        let object = pack(codec, &[&content]);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let cut = 10 + ((object.len() - 10) as f64 * at) as usize;
        let start = unpack_start(&object[..cut], limit).unwrap();
        prop_assert!(start.len() <= limit && content.starts_with(&start));
        let whole = unpack_start(&object, limit).unwrap();
        prop_assert_eq!(&whole, &content[..content.len().min(limit)]);
    }
}

#[test]
fn zero_bytes_after_the_end_are_padding_and_a_few_others_a_warning() {
    for codec in CODECS {
        let object = pack(codec, &[b"a,b\n", b"1,2\n"]);
        if codec != Codec::Zip {
            let padded = [&object, &[0; 10_000][..], &object, &[0; 512]].concat();
            let content = Unpacked::of(codec, &padded, &[7], &[100]).content();
            assert_eq!(content, b"a,b\n1,2\na,b\n1,2\n", "{codec}");
        }
        let followed = [&object, &b"\0\nsigned"[..]].concat();
        let unpacked = Unpacked::of(codec, &followed, &[5], &[100]);
        assert_eq!(unpacked.content, b"a,b\n1,2\n", "{codec}");
        let warnings = unpacked.end.unwrap();
        assert_eq!(warnings.len(), 1, "{codec}");
        assert_eq!(warnings[0].code, WarningCode::TrailingBytes);
        assert!(
            warnings[0].message.starts_with("7 bytes"),
            "{}",
            warnings[0].message
        );
    }
}
