//! `static`: addresses and CIDR ranges that are written down.
//!
//! ```caddyfile
//! {
//! 	servers {
//! 		trusted_proxies static private_ranges 203.0.113.0/24
//! 	}
//! }
//! ```

use serde_json::{Value, json};

use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::PRIVATE_RANGES;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax {
        namespace: "http.ip_sources",
        name: "static",
        syntax: "static [private_ranges] <ranges...>",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let mut ranges = Vec::new();
    reader.cursor.next();
    for range in reader.cursor.remaining_args() {
        match range.as_str() {
            "private_ranges" => ranges.extend(PRIVATE_RANGES.map(str::to_owned)),
            _ => ranges.push(range),
        }
    }
    Ok(if ranges.is_empty() { json!({}) } else { json!({ "ranges": ranges }) })
}
