//! The `tollgate` program: hands its arguments to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    tollgate::cli::main(std::env::args_os())
}
