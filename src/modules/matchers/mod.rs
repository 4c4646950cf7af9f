//! Request matchers.

mod client_ip;
mod expression;
pub(super) mod file;
mod glob;
mod header;
mod header_regexp;
mod host;
mod ip_ranges;
mod method;
mod not;
mod path;
mod path_regexp;
mod pattern;
mod protocol;
mod query;
mod remote_ip;
mod tls;
mod url_pattern;
mod vars;
mod vars_regexp;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::adapt::{Cursor, Error, matcher_text};
use crate::http::ProvisionError;
use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[
    &client_ip::MODULE,
    &expression::MODULE,
    &file::MODULE,
    &header::MODULE,
    &header_regexp::MODULE,
    &host::MODULE,
    &method::MODULE,
    &not::MODULE,
    &path::MODULE,
    &path_regexp::MODULE,
    &protocol::MODULE,
    &query::MODULE,
    &remote_ip::MODULE,
    &tls::MODULE,
    &url_pattern::MODULE,
    &vars::MODULE,
    &vars_regexp::MODULE,
];
