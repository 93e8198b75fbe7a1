//! Definitions of any text are read, or refused with a line that exists.

#![no_main]

use landfall_domain::Dataset;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = Dataset::from_toml("fuzz.toml", text) {
        assert!(error.line <= text.lines().count() + 1);
    }
});
