//! `reverse_proxy`: passes requests on to other servers, and their answers back.

mod active;
mod address;
pub(super) mod answer;
mod balance;
mod bodies;
mod cookie;
mod dynamic;
mod forward;
pub(super) mod handle_response;
mod health;
pub(super) mod hop_by_hop;
mod hosts;
pub(super) mod json;
mod overlay;
pub(super) mod parse;
mod parse_health;
mod policy;
mod provision;
mod random;
mod request;
mod retry;
mod rewrite;
mod source;
mod tunnel;
mod upstreams;
mod xxhash;

pub use address::{UpstreamAddress, UpstreamAddressError};
pub use hosts::{HostStatus, statuses};

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::http::HandlerType;
use crate::module::Module;
pub(super) use dynamic::MODULE as SOURCES;
pub(super) use policy::MODULE as POLICIES;

use json::ReverseProxy;

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision: provision::provision }),
    directives: &[Directive { name: NAME, syntax: parse::SYNTAX, parse: Parse::Handler(parse) }],
    schemas: &[ModuleSchema::of::<json::ReverseProxy>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The name in JSON and in Caddyfiles.
pub(super) const NAME: &str = "reverse_proxy";

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let proxy = parse::read(h, ReverseProxy::default())?;
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &proxy))
}
