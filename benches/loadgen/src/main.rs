//! Load for `benches/compare.py` and `benches/tls.py`: an upstream shaped like a model server, and clients that check every
//! answer they get.
//!
//! It speaks HTTP/1.1 by hand (and HTTP/3 by libraries) on one thread, so that it costs little beside the gateway it measures: both
//! share two cores. A client prints one line of JSON when it is done; `errors` there counts answers that
//! were wrong in any way, and the driver refuses a measurement that has one.

mod answer;
mod client;
mod h3;
mod options;
mod tunnels;
mod upstream;

use std::process::ExitCode;

use options::{Options, Role};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("tollgate-loadgen: {message}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tollgate-loadgen: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let local = tokio::task::LocalSet::new();
    let outcome = local.block_on(&runtime, async {
        match options.role {
            Role::Upstream => upstream::run().await,
            Role::Kept => client::kept(&options).await,
            Role::Refused => client::refused(&options).await,
            Role::Stream => client::stream(&options).await,
            Role::FirstByte => client::first_byte(&options).await,
            Role::Hold => client::hold(&options).await,
            Role::File => client::file(&options).await,
            Role::Download => client::download(&options).await,
            Role::Upload => client::upload(&options).await,
            Role::Tunnels => tunnels::run(&options).await,
            Role::H3 => h3::run(&options).await,
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tollgate-loadgen: {error}");
            ExitCode::FAILURE
        }
    }
}
