//! Bytes that are, or are not, a configuration in JSON.
#![no_main]

#[path = "../../tests/reading/mod.rs"]
mod reading;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| reading::load_anything(bytes));
