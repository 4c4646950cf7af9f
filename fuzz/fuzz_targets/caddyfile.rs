//! Texts that are, or are not, Caddyfiles.
#![no_main]

#[path = "../../grammar/tests/reading/mod.rs"]
mod reading;

use libfuzzer_sys::fuzz_target;
use tollgate_grammar::{NoFiles, decode};

/// Variables that are set; each shows another danger.
fn env(name: &str) -> Option<String> {
    match name {
        "HOST" => Some("example.com".to_owned()),
        "EMPTY" => Some(String::new()),
        "KEY" => Some("sk-\" {\n}#\\".to_owned()),
        _ => None,
    }
}

fuzz_target!(|bytes: &[u8]| reading::read_in_every_way(&decode(bytes), &env, &NoFiles));
