//! Lays out a Caddyfile: `cargo run --example fmt -- fmt FILE`, with `-` for standard input.
//!
//! Prints the result; the status is 1 if a file was laid out otherwise.

use std::io::{Read, Write};
use std::process::ExitCode;

fn main() -> std::io::Result<ExitCode> {
    let name = std::env::args().nth(2).unwrap_or_else(|| "-".to_owned());
    let mut bytes = Vec::new();
    match name.as_str() {
        "-" => std::io::stdin().read_to_end(&mut bytes)?,
        path => std::fs::File::open(path)?.read_to_end(&mut bytes)?,
    };
    let laid_out = tollgate_grammar::format(&tollgate_grammar::decode(&bytes));
    std::io::stdout().write_all(laid_out.as_bytes())?;
    let changed = name != "-" && laid_out.as_bytes() != bytes;
    Ok(if changed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
