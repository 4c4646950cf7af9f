//! Bytes that are, or are not, Caddyfiles: what they mean in JSON.
#![no_main]

#[path = "../../tests/reading/mod.rs"]
mod reading;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| reading::adapt_anything(bytes));
