//! `http_redirect`: plain HTTP on a port for HTTPS is answered with a redirect.

use serde_json::json;

use super::NAMESPACE;
use crate::adapt::SubmoduleSyntax;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "http_redirect",
        syntax: "http_redirect",
        parse: |_| Ok(json!({})),
    }],
    ..Module::EMPTY
};
