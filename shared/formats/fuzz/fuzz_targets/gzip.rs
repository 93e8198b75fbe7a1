#![no_main]

mod packed;

use landfall_domain::Codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| packed::check(Codec::Gzip, bytes));
