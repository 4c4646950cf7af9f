//! Integration tests.

// A panic is how a test fails; clippy knows that only of the functions marked #[test].
#![allow(clippy::unwrap_used)]

mod acme;
mod adapt;
mod chaos;
mod cli;
mod coverage;
mod demo;
mod dns;
mod docs;
mod docs_table;
mod entrypoint;
mod errors;
mod explain;
mod files;
mod h3;
mod highlight;
mod hostile;
mod images;
mod laws;
mod logs;
mod ocsp;
mod proxy;
mod readme;
mod redis;
mod redis_servers;
mod schema;
mod support;
mod tickets;
mod tidy;
mod tls;
