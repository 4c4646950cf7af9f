//! What comes in on a stream of HTTP/3. The first bytes say how the others are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, &[u8])| {
    let (lengths, bytes) = input;
    tollgate::http::serve::http3_laws::check(bytes, &lengths);
});
