//! Tollgate: a Caddy-compatible gateway for model servers.
//!
//! One pipeline, one direction. Each layer imports only from the layers listed above it here, and
//! `tests/it/tidy.rs` holds this order:
//!
//! | layer | what it is | what it never does |
//! |---|---|---|
//! | `tollgate_grammar` | text to tokens to blocks, with spans | know a directive, do I/O by itself |
//! | [`memory`] | the allocator | know who asks |
//! | [`config`] | Caddy's JSON as types | behave |
//! | [`adapt`] | blocks to config | know the runtime |
//! | [`log`] | writers, encoders, redaction | know HTTP routing |
//! | [`metrics`] | what has been counted, and its text | know what is counted, take a lock where requests pass |
//! | [`fetch`] | what the gateway itself asks by HTTP | serve, or know who asks |
//! | [`dns`] | names looked up and changed | know who asks, or why |
//! | [`tls`] | certificates, the local CA, resolvers | know a directive |
//! | [`acme`] | certificates from authorities by ACME | know a directive, keep what it gets |
//! | [`gotemplate`] | the language of Go's templates | know HTTP, do I/O |
//! | [`http`] | one request's vocabulary and the engine that runs it | name a directive, scan for `{` at request time |
//! | [`module`] | what one file of [`modules`] offers | hold a table |
//! | [`modules`] | one file for each thing a user can write | start or stop anything |
//! | [`app`] | load, provision, swap, drain, admin API | parse a Caddyfile by itself |
//! | [`demo`] | a stand-in for a model server, to try the gate on | know that there is a gate |
//! | [`cli`] | one file for each command | serve a request |

pub mod acme;
pub mod adapt;
pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dns;
pub mod fetch;
pub mod gotemplate;
pub mod http;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod module;
pub mod modules;
pub mod tls;
