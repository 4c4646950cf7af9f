//! What an HTTP/1 upstream answers. The first bytes say how the others are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, &[u8])| {
    let (lengths, bytes) = input;
    tollgate::http::upstream::laws::check(bytes, &lengths);
});
