//! What comes in on an HTTP/1 connection. The first bytes say how the others are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<u8>, &[u8])| {
    let (primed, lengths, bytes) = input;
    tollgate::http::serve::laws::check(bytes, primed.into(), &lengths);
});
