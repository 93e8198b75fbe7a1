use landfall_domain::{Codec, ProblemCode};

use crate::Unpacked;
use crate::pack::{deflated, stored, streamed_zip, zip};

#[track_caller]
fn refused(object: &[u8]) -> String {
    let problem = Unpacked::of(Codec::Zip, object, &[13], &[100]).problem();
    assert_eq!(problem.code, ProblemCode::FormatMismatch, "{problem}");
    let reason = problem.message.strip_prefix("the content is zip: ");
    reason.unwrap_or_else(|| panic!("{problem}")).to_owned()
}

#[test]
fn stored_files_are_unpacked() {
    for content in [&b"a,b\n1,2\n"[..], b""] {
        for options in [stored(), stored().large_file(true)] {
            let object = zip(&[("a.csv", content)], options);
            assert_eq!(
                Unpacked::of(Codec::Zip, &object, &[3], &[2]).content(),
                content
            );
        }
    }
    let object = streamed_zip(&[("a.csv", b"a\n")], stored());
    assert!(refused(&object).starts_with("its file is stored, with the size after it"));
}

#[test]
fn an_archive_without_a_file_or_with_several_is_refused() {
    let several = zip(
        &[("x/", b""), ("x/a.csv", b"a\n"), ("x/b.csv", b"b\n")],
        deflated(),
    );
    assert_eq!(
        refused(&several),
        "it contains several files, \"x/a.csv\" and \"x/b.csv\": upload each of them by itself"
    );
    for files in [&[][..], &[("x/.DS_Store", &b"1"[..])]] {
        assert_eq!(refused(&zip(files, deflated())), "it contains no file");
    }
}

#[test]
fn workbooks_are_named() {
    let excel = zip(
        &[
            ("[Content_Types].xml", b"<a/>"),
            ("xl/workbook.xml", b"<a/>"),
        ],
        deflated(),
    );
    assert_eq!(
        refused(&excel),
        "it is an Excel workbook: export the sheet as CSV"
    );
    let open = zip(
        &[(
            "mimetype",
            b"application/vnd.oasis.opendocument.spreadsheet",
        )],
        stored(),
    );
    assert_eq!(
        refused(&open),
        "it is an OpenDocument file: export the sheet as CSV"
    );
}

#[test]
fn an_archive_that_is_too_short_for_its_file_is_refused_before_its_first_row() {
    let rows: Vec<String> = (0..1_000).map(|row| format!("{row}\n")).collect();
    let content = rows.concat();
    let object = zip(&[("a.csv", content.as_bytes())], deflated());
    let unpacked = Unpacked::whole(Codec::Zip, &object[..200]);
    assert_eq!(unpacked.content, b"");
    let message = unpacked.problem().message;
    assert!(
        message.contains("its file is longer than the rest of it"),
        "{message}"
    );
}

/// Replaces bytes of an archive.
fn patched(mut object: Vec<u8>, patches: &[(usize, u8)]) -> Vec<u8> {
    for (at, byte) in patches {
        object[*at] = *byte;
    }
    object
}

#[test]
fn encrypted_files_and_other_methods_are_refused() {
    let object = zip(&[("a.csv", b"a\n1\n")], deflated());
    let encrypted = patched(object.clone(), &[(6, 1)]);
    assert_eq!(
        refused(&encrypted),
        "it is encrypted: upload it without a password"
    );
    for (method, name) in [
        (9, "Deflate64"),
        (12, "bzip2"),
        (14, "LZMA"),
        (93, "zstd"),
        (77, "an unknown"),
    ] {
        let reason = refused(&patched(object.clone(), &[(8, method)]));
        assert!(
            reason.starts_with(&format!("its file is compressed with {name}")),
            "{reason}"
        );
        assert!(
            reason.ends_with("use Deflate, or gzip instead of zip"),
            "{reason}"
        );
    }
}

#[test]
fn an_archive_whose_directory_lacks_entries_is_damaged() {
    let object = zip(&[("a.csv", b"a\n1\n")], deflated());
    let directory = object
        .windows(4)
        .position(|bytes| bytes == b"PK\x01\x02")
        .unwrap();
    let end = object
        .windows(4)
        .position(|bytes| bytes == b"PK\x05\x06")
        .unwrap();
    let without = [&object[..directory], &object[end..]].concat();
    let problem = Unpacked::whole(Codec::Zip, &without).problem();
    assert_eq!(problem.code, ProblemCode::Malformed);
    assert!(
        problem.message.contains("has 1 entries, but lists 0"),
        "{problem}"
    );
}
