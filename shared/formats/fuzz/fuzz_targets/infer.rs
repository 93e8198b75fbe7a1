//! A definition that is inferred from any bytes is accepted.

#![no_main]

use std::convert::Infallible;

use landfall_domain::Dataset;
use landfall_formats::infer::{Source, infer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (file, content) = input;
    let file = ["a.csv", "a.tsv", "a.json", "a.ndjson", "a.txt"][usize::from(file % 5)];
    let source = Source {
        dataset: "fuzz",
        file,
        size: content.len() as u64,
    };
    let Ok(inferred) = infer(source, |_| Ok::<_, Infallible>(content.to_vec()));
    if let Ok(inferred) = inferred
        && inferred.fields.len() <= 500
    {
        let text = inferred.to_string();
        if let Err(error) = Dataset::from_toml("fuzz.toml", &text) {
            panic!("{error}\n{text}");
        }
    }
});
