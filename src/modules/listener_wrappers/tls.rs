//! `tls`: the place where TLS stands among the other wrappers.

use serde_json::json;

use super::NAMESPACE;
use crate::adapt::SubmoduleSyntax;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "tls",
        syntax: "tls",
        parse: |_| Ok(json!({})),
    }],
    ..Module::EMPTY
};
