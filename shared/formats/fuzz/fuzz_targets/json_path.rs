#![no_main]

mod input;

use landfall_domain::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| input::check(Format::Json, &["d", "v"], bytes));
