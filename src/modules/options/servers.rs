//! `servers`: timeouts, limits, protocols and trusted proxies of some servers or all.

use super::unrecognized;
use crate::adapt::{Cursor, Error, GlobalOption, OptionReader, ServerOptions};
use crate::config::http::{Metrics, Server};
use crate::config::{Duration, parse_bytes};
use crate::module::Module;

pub(super) static MODULE: Module =
    Module { options: &[GlobalOption { name: "servers", syntax: SYNTAX, parse }], ..Module::EMPTY };

const SYNTAX: &str = "servers [<listener_address>] {
	name <name>
	listener_wrappers {
		<module> ...
	}
	packet_conn_wrappers {
		<module> ...
	}
	timeouts {
		read_body <duration>
		read_body_idle <duration> [<bytes_per_second>]
		read_header <duration>
		write <duration>
		write_idle <duration> [<bytes_per_second>]
		write_max_chunk <size>
		idle <duration>
	}
	keepalive_interval <duration>
	keepalive_idle <duration>
	keepalive_count <count>
	max_header_size <size>
	enable_full_duplex
	expected_underscore_headers <names...>
	expected_dot_headers <names...>
	log_credentials
	protocols h1|h2|h2c|h3...
	strict_sni_host [on|insecure_off]
	trusted_proxies <module> ...
	trusted_proxies_strict
	trusted_proxies_unix
	client_ip_headers <names...>
	trace
	0rtt off
}";

/// The words of the block, for suggestions.
const WORDS: &[&str] = &[
    "name",
    "listener_wrappers",
    "packet_conn_wrappers",
    "timeouts",
    "keepalive_interval",
    "keepalive_idle",
    "keepalive_count",
    "max_header_size",
    "enable_full_duplex",
    "expected_underscore_headers",
    "expected_dot_headers",
    "log_credentials",
    "protocols",
    "strict_sni_host",
    "trusted_proxies",
    "trusted_proxies_strict",
    "trusted_proxies_unix",
    "client_ip_headers",
    "metrics",
    "trace",
    "0rtt",
];

fn parse(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let mut said = ServerOptions::default();
    reader.cursor.next();
    if reader.cursor.next_arg() {
        reader.cursor.val().clone_into(&mut said.listener_address);
        if reader.cursor.next_arg() {
            return Err(reader.cursor.arg_err());
        }
    }
    while reader.cursor.next_block(0) {
        if !module_option(reader, &mut said.server)? && !plain_option(&mut reader.cursor, &mut said)? {
            return Err(unrecognized(&reader.cursor, "servers option", WORDS));
        }
    }
    reader.options.servers.push(said);
    Ok(())
}

/// Reads an option that holds modules. False if the word is something else.
fn module_option(reader: &mut OptionReader<'_>, server: &mut Server) -> Result<bool, Error> {
    match reader.cursor.val() {
        "listener_wrappers" => {
            let nesting = reader.cursor.nesting();
            while reader.cursor.next_block(nesting) {
                server.listener_wrappers.push(reader.submodule("caddy.listeners", "wrapper")?);
            }
        }
        "packet_conn_wrappers" => {
            let nesting = reader.cursor.nesting();
            while reader.cursor.next_block(nesting) {
                server.packet_conn_wrappers.push(reader.submodule("caddy.packetconns", "wrapper")?);
            }
        }
        "trusted_proxies" => {
            if !reader.cursor.next_arg() {
                let message = "trusted_proxies expects an IP range source module name as its first argument";
                return Err(reader.cursor.err(message));
            }
            server.trusted_proxies = Some(reader.submodule("http.ip_sources", "source")?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads any other option. False if there is none of that name.
fn plain_option(cursor: &mut Cursor, said: &mut ServerOptions) -> Result<bool, Error> {
    let server = &mut said.server;
    match cursor.val() {
        "name" => {
            if said.listener_address.is_empty() {
                return Err(cursor.err("cannot set a name for a server without a listener address"));
            }
            [said.name] = cursor.args()?;
        }
        "timeouts" => timeouts(cursor, server)?,
        "keepalive_interval" => server.keepalive_interval = duration(cursor, "keepalive interval")?,
        "keepalive_idle" => server.keepalive_idle = duration(cursor, "keepalive idle")?,
        "keepalive_count" => {
            let [text] = cursor.args()?;
            server.keepalive_count = i64::from(integer::<i32>(cursor, &text, "keepalive count int")?);
        }
        "max_header_size" => server.max_header_bytes = size(cursor, "max_header_size")?,
        "enable_full_duplex" => server.enable_full_duplex = flag(cursor)?,
        "expected_underscore_headers" => server.expected_underscore_headers = names(cursor)?,
        "expected_dot_headers" => server.expected_dot_headers = names(cursor)?,
        "log_credentials" => said.log_credentials = flag(cursor)?,
        "protocols" => protocols(cursor, server)?,
        "strict_sni_host" => {
            let mut strict = true;
            if cursor.next_arg() {
                strict = match cursor.val() {
                    "on" => true,
                    "insecure_off" => false,
                    other => {
                        return Err(cursor.err(format!(
                            "strict_sni_host only supports 'on' or 'insecure_off', got '{other}'"
                        )));
                    }
                };
            }
            server.strict_sni_host = Some(strict);
        }
        "trusted_proxies_strict" => server.trusted_proxies_strict = i64::from(flag(cursor)?),
        "trusted_proxies_unix" => server.trusted_proxies_unix = flag(cursor)?,
        "client_ip_headers" => client_ip_headers(cursor, server)?,
        "metrics" => server.metrics = Some(metrics(cursor)?),
        "trace" => said.trace = flag(cursor)?,
        "0rtt" => {
            let [word] = cursor.args()?;
            if word != "off" {
                return Err(
                    cursor.err(format!("unsupported 0rtt argument '{word}' (only 'off' is supported)"))
                );
            }
            server.allow_0rtt = Some(false);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn timeouts(cursor: &mut Cursor, server: &mut Server) -> Result<(), Error> {
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        match cursor.val() {
            "read_body" => server.read_timeout = duration(cursor, "read_body timeout")?,
            "read_body_idle" => {
                (server.read_idle_timeout, server.read_min_rate) =
                    idle(cursor, "read_body_idle", server.read_min_rate)?;
            }
            "read_header" => server.read_header_timeout = duration(cursor, "read_header timeout")?,
            "write" => server.write_timeout = duration(cursor, "write timeout")?,
            "write_idle" => {
                (server.write_idle_timeout, server.write_min_rate) =
                    idle(cursor, "write_idle", server.write_min_rate)?;
            }
            "write_max_chunk" => server.max_write_chunk = size(cursor, "write_max_chunk")?,
            "idle" => server.idle_timeout = duration(cursor, "idle timeout")?,
            _ => {
                let known = [
                    "read_body",
                    "read_body_idle",
                    "read_header",
                    "write",
                    "write_idle",
                    "write_max_chunk",
                    "idle",
                ];
                return Err(unrecognized(cursor, "timeouts option", &known));
            }
        }
    }
    Ok(())
}

/// Reads how long a side may be silent, and how slow it may be in bytes a second.
fn idle(cursor: &mut Cursor, name: &str, rate: i64) -> Result<(Duration, i64), Error> {
    let args = cursor.remaining_args();
    let (time, rate) = match args.as_slice() {
        [time] => (time, rate),
        [time, rate] => (time, integer(cursor, rate, &format!("{name} min_rate bytes/second"))?),
        _ => return Err(cursor.arg_err()),
    };
    let time =
        time.parse().map_err(|error| cursor.err(format!("parsing {name} timeout duration: {error}")))?;
    Ok((time, rate))
}

fn duration(cursor: &mut Cursor, what: &str) -> Result<Duration, Error> {
    let [text] = cursor.args()?;
    text.parse().map_err(|error| cursor.err(format!("parsing {what} duration: {error}")))
}

fn size(cursor: &mut Cursor, what: &str) -> Result<i64, Error> {
    let [text] = cursor.all_args()?;
    let bytes = parse_bytes(&text).map_err(|error| cursor.err(format!("parsing {what}: {error}")))?;
    i64::try_from(bytes).map_err(|_| cursor.err(format!("parsing {what}: too large: {text}")))
}

fn integer<T: std::str::FromStr>(cursor: &Cursor, text: &str, what: &str) -> Result<T, Error> {
    text.parse().map_err(|_| {
        let problem = if text.parse::<i128>().is_ok() { "value out of range" } else { "invalid syntax" };
        cursor.err(format!("parsing {what}: strconv.ParseInt: parsing {text:?}: {problem}"))
    })
}

fn flag(cursor: &mut Cursor) -> Result<bool, Error> {
    if cursor.next_arg() { Err(cursor.arg_err()) } else { Ok(true) }
}

fn names(cursor: &mut Cursor) -> Result<Vec<String>, Error> {
    let names = cursor.remaining_args();
    if names.is_empty() { Err(cursor.arg_err()) } else { Ok(names) }
}

fn protocols(cursor: &mut Cursor, server: &mut Server) -> Result<(), Error> {
    for protocol in cursor.remaining_args() {
        if !["h1", "h2", "h2c", "h3"].contains(&protocol.as_str()) {
            return Err(cursor.err(format!("unknown protocol '{protocol}': expected h1, h2, h2c, or h3")));
        }
        if server.protocols.contains(&protocol) {
            return Err(cursor.err(format!("protocol {protocol} specified more than once")));
        }
        server.protocols.push(protocol);
    }
    no_block(cursor)
}

fn client_ip_headers(cursor: &mut Cursor, server: &mut Server) -> Result<(), Error> {
    for header in cursor.remaining_args() {
        if server.client_ip_headers.contains(&header) {
            return Err(cursor.err(format!("client IP header {header} specified more than once")));
        }
        server.client_ip_headers.push(header);
    }
    no_block(cursor)
}

fn no_block(cursor: &mut Cursor) -> Result<(), Error> {
    if cursor.next_block(cursor.nesting()) { Err(cursor.arg_err()) } else { Ok(()) }
}

fn metrics(cursor: &mut Cursor) -> Result<Metrics, Error> {
    let mut metrics = Metrics::default();
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        match cursor.val() {
            "per_host" => metrics.per_host = true,
            _ => return Err(unrecognized(cursor, "metrics option", &["per_host"])),
        }
    }
    Ok(metrics)
}
