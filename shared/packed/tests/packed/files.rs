//! Files that other programs made of `files/goods.csv`. The names say which.

use std::fs;
use std::path::Path;

use landfall_domain::{Codec, ProblemCode};

use crate::Unpacked;

#[test]
fn files_of_other_programs_unpack_to_their_content() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    let goods = fs::read(directory.join("goods.csv")).unwrap();
    let mut unpacked = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let object = fs::read(&path).unwrap();
        let Some(codec) = Codec::of(&object) else {
            assert_eq!(name, "goods.csv");
            continue;
        };
        let refusal = match name.as_str() {
            "info-zip-encrypted.zip" => "it is encrypted",
            "info-zip-files.zip" => "it contains several files, \"goods.csv\" and \"more.csv\"",
            _ => "",
        };
        for (part, room) in [(object.len(), 1_000_000), (1, 1), (100, 7)] {
            let found = Unpacked::of(codec, &object, &[part], &[room]);
            match found.end {
                Err(problem) if !refusal.is_empty() => {
                    assert_eq!(problem.code, ProblemCode::FormatMismatch, "{name}");
                    assert!(problem.message.contains(refusal), "{name}: {problem}");
                }
                end => assert_eq!((end, &found.content), (Ok(Vec::new()), &goods), "{name}"),
            }
        }
        unpacked += 1;
    }
    assert_eq!(unpacked, 22);
}
