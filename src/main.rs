//! The `tollgate` program: hands its arguments to the command line.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tollgate::memory::Allocator = tollgate::memory::Allocator;

fn main() -> ExitCode {
    tollgate::cli::main(std::env::args_os())
}
