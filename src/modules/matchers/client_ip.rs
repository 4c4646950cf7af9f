//! `client_ip`: requests by the address of the client, as far as `trusted_proxies` lets it be known.
//!
//! ```caddyfile
//! :8080 {
//! 	@outside not client_ip private_ranges
//! 	respond @outside 403
//! }
//! ```

use serde_json::Value;

use super::ip_ranges::{self, IpRanges};
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::{Exchange, HandlerError, Matcher, MatcherType, Provision, ProvisionError};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax { name: NAME, syntax: "client_ip <ranges...>|private_ranges", parse }],
    schemas: &[ModuleSchema::of::<ip_ranges::RangesJson>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "client_ip";

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    ip_ranges::parse(&mut reader.cursor, NAME, None)
}

struct ClientIp(IpRanges);

fn provision(json: &Value, _: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    Ok(Box::new(ClientIp(IpRanges::provision(NAME, json)?)))
}

impl Matcher for ClientIp {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        Ok(self.0.contains(x.client_ip))
    }
}
