#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

use landfall_domain::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((setup, data)) = oracle::Setup::from_fuzz(Format::Ndjson, &[], input) {
        oracle::check(&setup, &data);
    }
});
