//! Upstreams that are looked up for each request (`dynamic`), as JSON and Caddyfile write them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::json::SOURCE_TAG;
use super::parse::duration;
use crate::adapt::{Cursor, Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::schema::{self, ModuleSchema};
use crate::config::{Duration, ModuleJson, is_default};
use crate::module::Module;
use crate::modules::transports::http::Resolver;

/// Caddy's namespace of sources of upstreams.
pub const NAMESPACE: &str = "http.reverse_proxy.upstreams";

const SRV_SYNTAX: &str = "srv [<name>] {
	service             <service>
	proto               <proto>
	name                <name>
	refresh             <interval>
	resolvers           <addresses...>
	dial_timeout        <duration>
	dial_fallback_delay <duration>
	grace_period        <duration>
}";

const A_SYNTAX: &str = "a [<name> [<port>]] {
	name                <name>
	port                <port>
	refresh             <interval>
	resolvers           <addresses...>
	dial_timeout        <duration>
	dial_fallback_delay <duration>
	versions            ipv4|ipv6
}";

const MULTI_SYNTAX: &str = "multi {
	<source> [<options...>]
}";

pub(in crate::modules::handlers) static MODULE: Module = Module {
    submodules: SYNTAX,
    schemas: &[
        ModuleSchema::of::<AUpstreams>("http.reverse_proxy.upstreams", "a"),
        ModuleSchema::of::<SrvUpstreams>("http.reverse_proxy.upstreams", "srv"),
        ModuleSchema::of::<MultiUpstreams>("http.reverse_proxy.upstreams", "multi"),
    ],
    ..Module::EMPTY
};

/// How each source is written.
const SYNTAX: &[SubmoduleSyntax] = &[
    SubmoduleSyntax { namespace: NAMESPACE, name: "srv", syntax: SRV_SYNTAX, parse: parse_srv },
    SubmoduleSyntax { namespace: NAMESPACE, name: "a", syntax: A_SYNTAX, parse: parse_a },
    SubmoduleSyntax { namespace: NAMESPACE, name: "multi", syntax: MULTI_SYNTAX, parse: parse_multi },
];

/// SRV records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SrvUpstreams {
    /// The service's label.
    #[serde(skip_serializing_if = "is_default")]
    pub service: String,
    /// The protocol's label.
    #[serde(skip_serializing_if = "is_default")]
    pub proto: String,
    /// The domain; the whole name if there is neither service nor protocol.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// How long an outcome is used; a minute unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub refresh: Duration,
    /// How long an old outcome is used if looking up fails.
    #[serde(skip_serializing_if = "is_default")]
    pub grace_period: Duration,
    /// DNS servers to ask instead of the system's.
    #[serde(skip_serializing_if = "is_default")]
    pub resolver: Option<Resolver>,
    /// How long to wait for them.
    #[serde(skip_serializing_if = "is_default")]
    pub dial_timeout: Duration,
    /// The head start of IPv6 over IPv4 towards them.
    #[serde(skip_serializing_if = "is_default")]
    pub dial_fallback_delay: Duration,
    /// The network that upstreams are dialled on.
    #[serde(skip_serializing_if = "is_default")]
    pub dial_network: String,
}

/// Addresses of a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AUpstreams {
    /// The name.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// The upstreams' port; 80 unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub port: String,
    /// How long an outcome is used; a minute unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub refresh: Duration,
    /// DNS servers to ask instead of the system's.
    #[serde(skip_serializing_if = "is_default")]
    pub resolver: Option<Resolver>,
    /// How long to wait for them.
    #[serde(skip_serializing_if = "is_default")]
    pub dial_timeout: Duration,
    /// The head start of IPv6 over IPv4 towards them.
    #[serde(skip_serializing_if = "is_default")]
    pub dial_fallback_delay: Duration,
    /// Which kinds of addresses; both unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub versions: Option<IpVersions>,
}

/// Kinds of addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IpVersions {
    /// IPv4.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv4: Option<bool>,
    /// IPv6.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv6: Option<bool>,
}

/// Several sources, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MultiUpstreams {
    /// The sources.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Vec<schema::UpstreamSource>")]
    pub sources: Vec<ModuleJson>,
}

fn parse_srv(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut srv = SrvUpstreams::default();
    cursor.next();
    match cursor.remaining_args().as_slice() {
        [] => {}
        [name] => srv.name.clone_from(name),
        _ => return Err(cursor.arg_err()),
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "service" => once(cursor, &mut srv.service, "srv service has already been specified")?,
            "proto" => once(cursor, &mut srv.proto, "srv proto has already been specified")?,
            "name" => once(cursor, &mut srv.name, "srv name has already been specified")?,
            "refresh" => srv.refresh = refresh(cursor)?,
            "resolvers" => srv.resolver = Some(resolvers(cursor)?),
            "dial_timeout" => srv.dial_timeout = duration(cursor, "bad timeout value")?,
            "dial_fallback_delay" => srv.dial_fallback_delay = duration(cursor, "bad delay value")?,
            "grace_period" => srv.grace_period = duration(cursor, "bad grace period value")?,
            other => return Err(cursor.err(format!("unrecognized srv option '{other}'"))),
        }
    }
    Ok(json!(srv))
}

fn parse_a(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut a = AUpstreams::default();
    cursor.next();
    match cursor.remaining_args().as_slice() {
        [] => {}
        [name] => a.name.clone_from(name),
        [name, port] => {
            a.name.clone_from(name);
            a.port.clone_from(port);
        }
        _ => return Err(cursor.arg_err()),
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "name" => once(cursor, &mut a.name, "a name has already been specified")?,
            "port" => once(cursor, &mut a.port, "a port has already been specified")?,
            "refresh" => a.refresh = refresh(cursor)?,
            "resolvers" => a.resolver = Some(resolvers(cursor)?),
            "dial_timeout" => a.dial_timeout = duration(cursor, "bad timeout value")?,
            "dial_fallback_delay" => a.dial_fallback_delay = duration(cursor, "bad delay value")?,
            "versions" => {
                let versions = cursor.remaining_args();
                if versions.is_empty() {
                    return Err(cursor.err("must specify at least one version"));
                }
                let said = a.versions.get_or_insert_default();
                for version in versions {
                    match &*version {
                        "ipv4" => said.ipv4 = Some(true),
                        "ipv6" => said.ipv6 = Some(true),
                        _ => return Err(cursor.err(format!("unsupported version: '{version}'"))),
                    }
                }
            }
            other => return Err(cursor.err(format!("unrecognized a option '{other}'"))),
        }
    }
    Ok(json!(a))
}

fn parse_multi(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let mut multi = MultiUpstreams::default();
    reader.cursor.next();
    let [] = reader.cursor.last_args()?;
    while reader.cursor.next_block(0) {
        multi.sources.push(reader.submodule(NAMESPACE, SOURCE_TAG)?);
    }
    Ok(json!(multi))
}

fn once(cursor: &mut Cursor, value: &mut String, complaint: &str) -> Result<(), Error> {
    let [said] = cursor.args()?;
    if !value.is_empty() {
        return Err(cursor.err(complaint));
    }
    *value = said;
    Ok(())
}

fn refresh(cursor: &mut Cursor) -> Result<Duration, Error> {
    let [text] = cursor.args()?;
    text.parse().map_err(|error| cursor.err(format!("parsing refresh interval duration: {error}")))
}

fn resolvers(cursor: &mut Cursor) -> Result<Resolver, Error> {
    match cursor.remaining_args() {
        addresses if addresses.is_empty() => Err(cursor.err("must specify at least one resolver address")),
        addresses => Ok(Resolver { addresses }),
    }
}
