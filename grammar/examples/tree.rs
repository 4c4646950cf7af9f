//! Prints how a Caddyfile is understood: `cargo run --example tree -- Caddyfile`.

use tollgate_grammar::{DiskFiles, ProcessEnv, decode, parse};

fn main() -> std::process::ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        eprintln!("usage: tree FILE");
        return std::process::ExitCode::from(2);
    };
    let bytes = match std::fs::read(&name) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("{name}: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    match parse(&name, &decode(&bytes), &ProcessEnv, &DiskFiles) {
        Ok(parsed) => {
            print!("{parsed}");
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", error.render(true));
            eprintln!("one line: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
