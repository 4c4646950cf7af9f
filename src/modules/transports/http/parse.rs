//! `transport http` as a Caddyfile writes it.

use serde_json::{Value, json};

use super::{HttpTransport, Resolver, TRUST_POOL_TAG, TRUST_POOLS};
use crate::adapt::{Cursor, Error, SubmoduleReader};
use crate::config::{Duration, ModuleJson, NETWORK_PROXIES, NETWORK_PROXY_TAG, parse_bytes, parse_integer};

pub(super) const SYNTAX: &str = "http {
	read_buffer             <size>
	write_buffer            <size>
	max_response_header     <size>
	proxy_protocol          v1|v2
	network_proxy           <module> [<options...>]
	dial_timeout            <duration>
	dial_fallback_delay     <duration>
	response_header_timeout <duration>
	expect_continue_timeout <duration>
	read_timeout            <duration>
	write_timeout           <duration>
	resolvers               <addresses...>
	tls
	tls_client_auth <automate_name> | <cert_file> <key_file>
	tls_insecure_skip_verify
	tls_curves              <curves...>
	tls_timeout             <duration>
	tls_trusted_ca_certs    <pem_files...>
	tls_trust_pool          <module> [<options...>]
	tls_server_name         <name>
	tls_renegotiation       never|once|freely
	tls_except_ports        <ports...>
	keepalive               off|<duration>
	keepalive_interval      <duration>
	keepalive_idle_conns    <count>
	keepalive_idle_conns_per_host <count>
	versions                <versions...>
	compression             off
	max_conns_per_host      <count>
	local_address           <address>
}";

pub(super) fn no_proxy(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    reader.cursor.next();
    let [] = reader.cursor.all_args()?;
    Ok(json!({}))
}

pub(super) fn proxy_url(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    reader.cursor.next();
    let [url] = reader.cursor.args()?;
    Ok(json!({ "url": url }))
}

pub(super) fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let mut transport = HttpTransport::default();
    reader.cursor.next();
    while reader.cursor.next_block(0) {
        let option = reader.cursor.val().to_owned();
        let known = parse_connection(&option, reader, &mut transport)?
            || parse_tls(&option, reader, &mut transport)?
            || parse_keep_alive(&option, &mut reader.cursor, &mut transport)?;
        if !known {
            let message = format!("unrecognized subdirective {option}");
            return Err(reader.cursor.err(message).did_you_mean(&option, options()));
        }
    }
    Ok(json!(transport))
}

/// The names of all options, as the syntax lists them.
fn options() -> impl Iterator<Item = &'static str> {
    SYNTAX.lines().skip(1).filter_map(|line| line.split_whitespace().next())
}

/// Options of the connection itself; false if it is none of them.
fn parse_connection(
    option: &str,
    reader: &mut SubmoduleReader<'_>,
    transport: &mut HttpTransport,
) -> Result<bool, Error> {
    let cursor = &mut reader.cursor;
    match option {
        "read_buffer" => transport.read_buffer_size = size(cursor, "read buffer")?,
        "write_buffer" => transport.write_buffer_size = size(cursor, "write buffer")?,
        "max_response_header" => transport.max_response_header_size = size(cursor, "max response header")?,
        "read_timeout" => transport.read_timeout = duration(cursor, "invalid read timeout duration")?,
        "write_timeout" => transport.write_timeout = duration(cursor, "invalid write timeout duration")?,
        "dial_timeout" => transport.dial_timeout = duration(cursor, "bad timeout value")?,
        "dial_fallback_delay" => {
            transport.dial_fallback_delay = duration(cursor, "bad fallback delay value")?
        }
        "response_header_timeout" => {
            transport.response_header_timeout = duration(cursor, "bad timeout value")?
        }
        "expect_continue_timeout" => {
            transport.expect_continue_timeout = duration(cursor, "bad timeout value")?
        }
        "proxy_protocol" => {
            let [version] = cursor.args()?;
            if !matches!(&*version, "v1" | "v2") {
                return Err(cursor.err(format!("invalid proxy protocol version '{version}'")));
            }
            transport.proxy_protocol = version;
        }
        "forward_proxy_url" => {
            let [url] = cursor.args()?;
            transport.network_proxy = Some(ModuleJson::new(NETWORK_PROXY_TAG, "url", &json!({ "url": url })));
        }
        "network_proxy" => {
            if !cursor.next_arg() {
                return Err(cursor.arg_err());
            }
            transport.network_proxy = Some(reader.submodule(NETWORK_PROXIES, NETWORK_PROXY_TAG)?);
        }
        "resolvers" => {
            let addresses = cursor.remaining_args();
            if addresses.is_empty() {
                return Err(cursor.err("must specify at least one resolver address"));
            }
            transport.resolver = Some(Resolver { addresses });
        }
        "versions" => transport.versions = list(cursor)?,
        "compression" => {
            if cursor.next_arg() && cursor.val() == "off" {
                transport.compression = Some(false);
            }
        }
        "max_conns_per_host" => transport.max_conns_per_host = integer(cursor)?,
        "local_address" => [transport.local_address] = cursor.args()?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Options of TLS; false if it is none of them.
fn parse_tls(
    option: &str,
    reader: &mut SubmoduleReader<'_>,
    transport: &mut HttpTransport,
) -> Result<bool, Error> {
    if option != "tls" && !option.starts_with("tls_") || !options().any(|name| name == option) {
        return Ok(false);
    }
    let tls = transport.tls.get_or_insert_default();
    let cursor = &mut reader.cursor;
    match option {
        "tls_client_auth" => match cursor.remaining_args().as_slice() {
            [name] => tls.client_certificate_automate.clone_from(name),
            [certificate, key] => {
                tls.client_certificate_file.clone_from(certificate);
                tls.client_certificate_key_file.clone_from(key);
            }
            _ => return Err(cursor.arg_err()),
        },
        "tls_insecure_skip_verify" => {
            let [] = cursor.all_args()?;
            tls.insecure_skip_verify = true;
        }
        "tls_curves" => tls.curves = list(cursor)?,
        "tls_timeout" => tls.handshake_timeout = duration(cursor, "bad timeout value")?,
        "tls_trusted_ca_certs" => {
            let files = list(cursor)?;
            if tls.ca.is_some() {
                let message = "cannot specify both 'tls_trust_pool' and 'tls_trusted_ca_certs'";
                return Err(cursor.err(message));
            }
            tls.root_ca_pem_files = files;
        }
        "tls_trust_pool" => {
            if !cursor.next_arg() {
                return Err(cursor.arg_err());
            }
            let pool = reader.submodule(TRUST_POOLS, TRUST_POOL_TAG)?;
            if !tls.root_ca_pem_files.is_empty() {
                let message = "cannot specify both 'tls_trust_pool' and 'tls_trusted_ca_certs'";
                return Err(reader.cursor.err(message));
            }
            if tls.ca.is_some() {
                return Err(reader.cursor.err("cannot specify \"tls_trust_pool\" twice in caddyfile"));
            }
            tls.ca = Some(pool);
        }
        "tls_server_name" => [tls.server_name] = cursor.args()?,
        "tls_renegotiation" => {
            let [level] = cursor.args()?;
            if !matches!(&*level, "never" | "once" | "freely") {
                return Err(cursor.arg_err());
            }
            tls.renegotiation = level;
        }
        "tls_except_ports" => tls.except_ports = list(cursor)?,
        // `tls` alone only switches it on.
        _ => {}
    }
    Ok(true)
}

/// Options of idle connections; false if it is none of them.
fn parse_keep_alive(option: &str, cursor: &mut Cursor, transport: &mut HttpTransport) -> Result<bool, Error> {
    match option {
        "keepalive" => {
            let keep_alive = transport.keep_alive.get_or_insert_default();
            if cursor.peek().is_some_and(|next| &*next.text == "off") && cursor.next_arg() {
                keep_alive.enabled = Some(false);
            } else {
                keep_alive.idle_timeout = duration(cursor, "bad duration value")?;
            }
        }
        "keepalive_interval" => {
            let interval = duration(cursor, "bad interval value")?;
            transport.keep_alive.get_or_insert_default().probe_interval = interval;
        }
        "keepalive_idle_conns" => {
            transport.keep_alive.get_or_insert_default().max_idle_conns = integer(cursor)?;
        }
        "keepalive_idle_conns_per_host" => {
            transport.keep_alive.get_or_insert_default().max_idle_conns_per_host = integer(cursor)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn list(cursor: &mut Cursor) -> Result<Vec<String>, Error> {
    let all = cursor.remaining_args();
    if all.is_empty() { Err(cursor.arg_err()) } else { Ok(all) }
}

fn duration(cursor: &mut Cursor, complaint: &str) -> Result<Duration, Error> {
    let [text] = cursor.args()?;
    text.parse().map_err(|error| cursor.err(format!("{complaint} '{text}': {error}")))
}

fn integer(cursor: &mut Cursor) -> Result<i64, Error> {
    let [text] = cursor.args()?;
    parse_integer(&text).map_err(|error| cursor.err(format!("bad integer value '{text}': {error}")))
}

fn size(cursor: &mut Cursor, what: &str) -> Result<i64, Error> {
    let [text] = cursor.args()?;
    let bytes =
        parse_bytes(&text).map_err(|error| cursor.err(format!("invalid {what} size '{text}': {error}")))?;
    Ok(i64::try_from(bytes).unwrap_or(i64::MAX))
}
