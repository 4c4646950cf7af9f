//! Handlers and the directives that make them, in Caddy's directive order: the position is the order.

mod abort;
mod acme_server;
mod basic_auth;
pub(super) mod bind;
mod copy_response;
mod copy_response_headers;
mod encode;
mod error;
mod file_server;
mod forward_auth;
mod fs;
mod handle;
mod handle_errors;
mod header;
mod intercept;
mod invoke;
mod log;
mod log_append;
mod log_name;
mod log_skip;
mod map;
mod metrics;
mod php_fastcgi;
mod push;
mod redir;
mod request_body;
mod request_header;
mod respond;
mod reverse_proxy;
mod rewrite;
mod root;
mod route;
mod subroute;
mod templates;
mod timeouts;
mod tls;
mod tracing;
mod try_files;
mod vars;

pub use file_server::browse_template;
pub use reverse_proxy::{HostStatus, UpstreamAddress, UpstreamAddressError, statuses as upstream_statuses};

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[
    &bind::MODULE,
    &handle_errors::MODULE,
    &tls::MODULE,
    &log::MODULE,
    // From here on the order is that of handlers.
    &tracing::MODULE,
    &map::MODULE,
    &vars::MODULE,
    &fs::MODULE,
    &root::MODULE,
    &log_append::MODULE,
    &log_skip::MODULE,
    &log_name::MODULE,
    &header::MODULE,
    &copy_response_headers::MODULE,
    &request_body::MODULE,
    &timeouts::MODULE,
    &redir::MODULE,
    &rewrite::MODULE,
    &try_files::MODULE,
    &basic_auth::MODULE,
    &forward_auth::MODULE,
    &request_header::MODULE,
    &encode::MODULE,
    &push::MODULE,
    &intercept::MODULE,
    &templates::MODULE,
    &invoke::MODULE,
    &handle::MODULE,
    &route::MODULE,
    &abort::MODULE,
    &error::MODULE,
    &copy_response::MODULE,
    &respond::MODULE,
    &metrics::MODULE,
    &reverse_proxy::MODULE,
    &php_fastcgi::MODULE,
    &file_server::MODULE,
    &acme_server::MODULE,
    // Without directives.
    &reverse_proxy::POLICIES,
    &reverse_proxy::SOURCES,
    &subroute::MODULE,
];
