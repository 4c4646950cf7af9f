//! `reverse_proxy` as a Caddyfile writes it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::address::UpstreamAddress;
use super::json::{ResponseHandler, ReverseProxy, SOURCE_TAG, TRANSPORT_TAG, Upstream};
use super::{dynamic, parse_health};
use crate::adapt::{Cursor, Error, Helper, header_op};
use crate::config::headers::{HeaderOps, ResponseHeaderOps};
use crate::config::{Duration, ModuleJson, parse_bytes, parse_integer};
use crate::http::ResponseMatcher;
use crate::modules::transports::NAMESPACE as TRANSPORTS;
use crate::modules::transports::http::{self as http_transport, HttpTransport};

pub(super) const SYNTAX: &str = "reverse_proxy [<matcher>] [<upstreams...>] {
	to      <upstreams...>
	dynamic <module> [<options...>]

	lb_policy       <policy> [<options...>]
	lb_retries      <retries>
	lb_try_duration <duration>
	lb_try_interval <interval>
	lb_retry_match  <request-matcher>

	health_uri          <uri>
	health_upstream     <host:port>
	health_port         <port>
	health_interval     <interval>
	health_passes       <count>
	health_fails        <count>
	health_timeout      <duration>
	health_status       <status>
	health_body         <regexp>
	health_method       <method>
	health_request_body <body>
	health_follow_redirects
	health_headers {
		<field> [<values...>]
	}

	fail_duration     <duration>
	max_fails         <count>
	unhealthy_status  <statuses...>
	unhealthy_latency <duration>
	unhealthy_request_count <count>

	flush_interval     <duration>
	request_buffers    <size>
	response_buffers   <size>
	stream_buffer_size <size>
	stream_timeout     <duration>
	stream_close_delay <duration>
	verbose_logs

	trusted_proxies [private_ranges] <ranges...>
	header_up   [+|-]<field> [<value|regexp> [<replacement>]]
	header_down [+|-]<field> [<value|regexp> [<replacement>]]
	method      <method>
	rewrite     <to>

	transport <name> {
		...
	}

	@name {
		status <codes...>
		header <field> [<value>]
	}
	replace_status  [<matcher>] <status>
	handle_response [<matcher>] {
		<directives...>
	}
}";

/// Addresses that are never routed on the internet, which `private_ranges` stands for.
const PRIVATE_RANGES: [&str; 6] =
    ["192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.1/8", "fd00::/8", "::1"];

/// What has been read of a proxy.
struct Reader<'h, 'a> {
    h: &'h mut Helper<'a>,
    proxy: ReverseProxy,
    /// The scheme of the upstreams so far.
    scheme: String,
    transport: Option<ModuleJson>,
    response_matchers: BTreeMap<String, ResponseMatcher>,
    /// The blocks of `handle_response`, read when all matchers are known.
    handle_response: Vec<Cursor>,
}

/// Reads a proxy into `proxy`, which may say something already. The cursor of `h` stands before the
/// directive's name.
pub(in crate::modules::handlers) fn read(
    h: &mut Helper<'_>,
    proxy: ReverseProxy,
) -> Result<ReverseProxy, Error> {
    let mut reader = Reader {
        h,
        proxy,
        scheme: String::new(),
        transport: None,
        response_matchers: BTreeMap::new(),
        handle_response: Vec::new(),
    };
    reader.h.cursor.next();
    let name = reader.h.cursor.token().cloned();
    reader.upstreams()?;
    while reader.h.cursor.next_block(0) {
        reader.subdirective()?;
    }
    reader.finish_transport()?;
    reader.finish_handle_response()?;
    if reader.proxy.upstreams.is_empty()
        && reader.proxy.dynamic_upstreams.is_none()
        && let Some(name) = name
    {
        reader.h.warn_at(&name, "without an upstream, each request is answered with an error");
    }
    Ok(reader.proxy)
}

impl Reader<'_, '_> {
    fn cursor(&mut self) -> &mut Cursor {
        &mut self.h.cursor
    }

    fn subdirective(&mut self) -> Result<(), Error> {
        let name = self.cursor().val().to_owned();
        if name.starts_with('@') {
            let (name, matcher) = ResponseMatcher::parse(self.cursor())?;
            if self.response_matchers.insert(name.clone(), matcher).is_some() {
                return Err(self.cursor().err(format!("matcher is defined more than once: {name}")));
            }
            return Ok(());
        }
        let known = self.routing(&name)?
            || parse_health::active(&name, &mut self.h.cursor, &mut self.proxy)?
            || parse_health::passive(&name, &mut self.h.cursor, &mut self.proxy)?
            || self.balancing(&name)?
            || self.streaming(&name)?
            || self.changes(&name)?
            || self.answers(&name)?;
        if known {
            return Ok(());
        }
        let message = format!("unrecognized subdirective {name}");
        Err(self.cursor().err(message).did_you_mean(&name, subdirectives()))
    }

    /// Where upstreams are and how they are reached; false if it is something else.
    fn routing(&mut self, name: &str) -> Result<bool, Error> {
        match name {
            "to" => {
                if self.h.cursor.count_remaining_args() == 0 {
                    return Err(self.cursor().arg_err());
                }
                self.upstreams()?;
            }
            "dynamic" => {
                self.next_arg()?;
                self.warn_of_another(self.proxy.dynamic_upstreams.is_some());
                self.proxy.dynamic_upstreams = Some(self.h.submodule(dynamic::NAMESPACE, SOURCE_TAG)?);
            }
            "transport" => {
                self.next_arg()?;
                self.warn_of_another(self.transport.is_some());
                self.transport = Some(self.h.submodule(TRANSPORTS, TRANSPORT_TAG)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The upstreams that the rest of the line names.
    fn upstreams(&mut self) -> Result<(), Error> {
        while self.cursor().next_arg() {
            let text = self.cursor().val().to_owned();
            self.upstream(&text).map_err(|error| error.context(format!("parsing upstream '{text}'")))?;
        }
        Ok(())
    }

    fn upstream(&mut self, text: &str) -> Result<(), Error> {
        let address = UpstreamAddress::parse(text).map_err(|error| self.cursor().err(error.to_string()))?;
        if !self.scheme.is_empty() && address.scheme != self.scheme {
            let message = format!(
                "for now, all proxy upstreams must use the same scheme (transport protocol); expecting '{}://' but \
                 got '{}://'",
                self.scheme, address.scheme
            );
            return Err(self.cursor().err(message));
        }
        let dials = address.dials().map_err(|error| self.cursor().err(error.to_string()))?;
        self.scheme = address.scheme;
        self.proxy.upstreams.extend(dials.into_iter().map(|dial| Upstream { dial, max_requests: 0 }));
        Ok(())
    }

    /// Load balancing; false if it is something else.
    fn balancing(&mut self, name: &str) -> Result<bool, Error> {
        if !name.starts_with("lb_") {
            return Ok(false);
        }
        let already = self.proxy.load_balancing.as_ref().is_some_and(|lb| lb.selection_policy.is_some());
        match name {
            "lb_policy" => {
                self.next_arg()?;
                if already {
                    return Err(self.cursor().err("load balancing selection policy already specified"));
                }
                let policy = self.h.submodule(super::policy::NAMESPACE, super::json::POLICY_TAG)?;
                self.proxy.load_balancing.get_or_insert_default().selection_policy = Some(policy);
            }
            "lb_retries" => {
                let [text] = self.cursor().args()?;
                let retries = parse_integer(&text)
                    .map_err(|error| self.cursor().err(format!("bad lb_retries number '{text}': {error}")))?;
                self.proxy.load_balancing.get_or_insert_default().retries = retries;
            }
            "lb_try_duration" => {
                let [text] = self.cursor().args()?;
                let span = text
                    .parse()
                    .map_err(|error| self.cursor().err(format!("bad duration value {text}: {error}")))?;
                self.proxy.load_balancing.get_or_insert_default().try_duration = span;
            }
            "lb_try_interval" => {
                let span = duration(self.cursor(), "bad interval value")?;
                self.proxy.load_balancing.get_or_insert_default().try_interval = span;
            }
            "lb_retry_match" => {
                let set = self
                    .h
                    .nested_matcher_set()
                    .map_err(|error| error.context("failed to parse lb_retry_match"))?;
                self.proxy.load_balancing.get_or_insert_default().retry_match.push(set);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// How bodies and tunnels pass through; false if it is something else.
    fn streaming(&mut self, name: &str) -> Result<bool, Error> {
        match name {
            "flush_interval" => self.proxy.flush_interval = duration_or_nanos(self.cursor())?,
            "stream_timeout" => self.proxy.stream_timeout = duration_or_nanos(self.cursor())?,
            "stream_close_delay" => self.proxy.stream_close_delay = duration_or_nanos(self.cursor())?,
            "request_buffers" => self.proxy.request_buffers = size(self.cursor())?,
            "response_buffers" => self.proxy.response_buffers = size(self.cursor())?,
            "stream_buffer_size" => self.proxy.stream_buffer_size = size(self.cursor())?,
            "verbose_logs" if self.proxy.verbose_logs => {
                return Err(self.cursor().err("verbose_logs already specified"));
            }
            "verbose_logs" => self.proxy.verbose_logs = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Changes to requests and answers; false if it is something else.
    fn changes(&mut self, name: &str) -> Result<bool, Error> {
        match name {
            "trusted_proxies" => {
                while self.cursor().next_arg() {
                    match self.h.cursor.val() {
                        "private_ranges" => {
                            self.proxy.trusted_proxies.extend(PRIVATE_RANGES.map(str::to_owned));
                        }
                        range => self.proxy.trusted_proxies.push(range.to_owned()),
                    }
                }
            }
            "header_up" => {
                let headers = self.proxy.headers.get_or_insert_default();
                change_header(self.h, headers.request.get_or_insert_default())?;
                self.warn_of_needless_header();
            }
            "header_down" => {
                let down = self.proxy.headers.get_or_insert_default().response.get_or_insert_default();
                let mut ops = down.ops();
                change_header(self.h, &mut ops)?;
                let HeaderOps { add, set, delete, replace } = ops;
                let (require, deferred) = (down.require.take(), down.deferred);
                *down = ResponseHeaderOps { add, set, delete, replace, require, deferred };
            }
            "method" => {
                let [method] = self.cursor().last_args()?;
                self.rewrite("method", method);
            }
            "rewrite" => {
                let [uri] = self.cursor().last_args()?;
                self.rewrite("uri", uri);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is empty leaves the request as it is, and is not said.
    fn rewrite(&mut self, what: &str, value: String) {
        let rewrite = self.proxy.rewrite.get_or_insert_default();
        if value.is_empty() {
            rewrite.remove(what);
        } else {
            rewrite.insert(what.to_owned(), Value::String(value));
        }
    }

    /// Of a transport, and of a source of upstreams, only the last counts.
    fn warn_of_another(&self, is_another: bool) {
        if is_another {
            self.h.warn("this replaces the one before: there can be only one");
        }
    }

    /// Setting a header that the proxy sets so anyway is no mistake, but it confuses readers.
    fn warn_of_needless_header(&self) {
        let Some(set) = self.proxy.headers.as_ref().and_then(|headers| headers.request.as_ref()) else {
            return;
        };
        let needless: [(&str, &[&str]); 3] = [
            ("X-Forwarded-For", &["{http.request.remote}", "{http.request.remote.host}"]),
            ("X-Forwarded-Proto", &["{http.request.scheme}"]),
            ("X-Forwarded-Host", &["{http.request.host}", "{http.request.hostport}"]),
        ];
        for (field, values) in needless {
            let said = set.set.get(field).and_then(|values| values.first());
            if said.is_some_and(|value| values.contains(&value.as_str())) {
                self.h.warn(format!("Unnecessary header_up {field}: the proxy sets it by itself"));
            }
        }
    }

    /// What to do with answers; false if it is something else.
    fn answers(&mut self, name: &str) -> Result<bool, Error> {
        match name {
            // Its directives may need matchers that are defined further down.
            "handle_response" => {
                let segment = self.cursor().new_from_next_segment();
                self.handle_response.push(segment);
            }
            "replace_status" => {
                let args = self.cursor().remaining_args();
                let (matcher, status) = match args.as_slice() {
                    [status] => (None, status),
                    [matcher, status] => (Some(self.response_matcher(matcher)?), status),
                    _ => {
                        let message =
                            "must have one or two arguments: an optional response matcher, and a status code";
                        return Err(self.cursor().err(message));
                    }
                };
                let nesting = self.cursor().nesting();
                if self.cursor().next_block(nesting) {
                    let message = "cannot define routes for 'replace_status', use 'handle_response' instead.";
                    return Err(self.cursor().err(message));
                }
                self.proxy.handle_response.push(ResponseHandler {
                    matcher,
                    status_code: status.as_str().into(),
                    ..ResponseHandler::default()
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn response_matcher(&mut self, name: &str) -> Result<ResponseMatcher, Error> {
        let Some(bare) = name.strip_prefix('@') else {
            return Err(self.cursor().err("must use a named response matcher, starting with '@'"));
        };
        match self.response_matchers.get(name) {
            Some(matcher) => Ok(matcher.clone()),
            None => {
                let message = format!("no named response matcher defined with name '{bare}'");
                Err(self.cursor().err(message))
            }
        }
    }

    /// The transport has to fit the upstreams' scheme, which may be all that is said of it.
    fn finish_transport(&mut self) -> Result<(), Error> {
        let (https, h2c) = (self.scheme == "https", self.scheme == "h2c");
        let Some(said) = self.transport.take() else {
            if https || h2c {
                let mut transport = HttpTransport::default();
                transport.fit(https, h2c);
                self.proxy.transport = Some(http_transport_json(&transport));
            }
            return Ok(());
        };
        if said.name(TRANSPORT_TAG).ok() != Some(http_transport::NAME) {
            if https {
                let message = "upstreams are configured for HTTPS but transport module does not support TLS";
                return Err(self.cursor().err(message));
            }
            self.proxy.transport = Some(said);
            return Ok(());
        }
        let mut transport: HttpTransport =
            said.decode(TRANSPORT_TAG).map_err(|error| self.cursor().err(error.to_string()))?;
        transport.fit(https, h2c);
        if self.scheme == "http" && transport.tls.is_some() {
            let message = "upstream address scheme is HTTP but transport is configured for HTTP+TLS (HTTPS)";
            return Err(self.cursor().err(message));
        }
        if transport != HttpTransport::default() {
            self.proxy.transport = Some(http_transport_json(&transport));
        }
        Ok(())
    }

    fn finish_handle_response(&mut self) -> Result<(), Error> {
        for mut cursor in std::mem::take(&mut self.handle_response) {
            cursor.next();
            let args = cursor.remaining_args();
            let matcher = match args.as_slice() {
                [] => None,
                [name] => Some(self.response_matcher(name)?),
                _ => {
                    let message = format!(
                        "too many arguments for 'handle_response': only a single response matcher name is allowed, \
                         but got: [{}]",
                        args.join(" ")
                    );
                    return Err(cursor.err(message));
                }
            };
            let routes =
                self.h.with_cursor(cursor.new_from_next_segment()).parse_segment_as_subroute()?.routes;
            self.proxy.handle_response.push(ResponseHandler {
                matcher,
                routes,
                ..ResponseHandler::default()
            });
        }
        // What matches everything comes last, or the rest would never have its turn.
        self.proxy.handle_response.sort_by_key(|handler| handler.matcher.is_none());
        Ok(())
    }

    fn next_arg(&mut self) -> Result<(), Error> {
        if self.cursor().next_arg() { Ok(()) } else { Err(self.cursor().arg_err()) }
    }
}

fn http_transport_json(transport: &HttpTransport) -> ModuleJson {
    ModuleJson::new(TRANSPORT_TAG, http_transport::NAME, transport)
}

/// One change to a header field: name, value or pattern, replacement.
fn change_header(h: &mut Helper<'_>, ops: &mut HeaderOps) -> Result<(), Error> {
    let changed = match h.cursor.remaining_args().as_slice() {
        [field] => header_op(ops, field, "", None),
        [field, value] => header_op(ops, field, value, None),
        [field, pattern, replacement] => header_op(ops, field, pattern, Some(replacement)),
        _ => return Err(h.cursor.arg_err()),
    };
    changed.map_err(|error| h.cursor.err(error.to_string()))
}

/// The names of all subdirectives, as the syntax lists them.
fn subdirectives() -> impl Iterator<Item = &'static str> {
    let lines = SYNTAX.lines().filter(|line| line.starts_with('\t') && !line.starts_with("\t\t"));
    lines
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.len() > 1 && !word.starts_with('@'))
}

/// The next argument as a span of time.
pub(super) fn duration(cursor: &mut Cursor, complaint: &str) -> Result<Duration, Error> {
    let [text] = cursor.args()?;
    text.parse().map_err(|error| cursor.err(format!("{complaint} '{text}': {error}")))
}

/// A span of time; a bare number counts nanoseconds, which makes `-1` possible.
fn duration_or_nanos(cursor: &mut Cursor) -> Result<Duration, Error> {
    let [text] = cursor.args()?;
    if let Ok(nanos) = parse_integer(&text) {
        return Ok(Duration::from_nanos(nanos));
    }
    text.parse().map_err(|error| cursor.err(format!("bad duration value '{text}': {error}")))
}

/// A size in bytes; -1 for `unlimited`.
fn size(cursor: &mut Cursor) -> Result<i64, Error> {
    let [text] = cursor.last_args()?;
    if text == "unlimited" {
        return Ok(-1);
    }
    let bytes =
        parse_bytes(&text).map_err(|error| cursor.err(format!("invalid byte size '{text}': {error}")))?;
    Ok(i64::try_from(bytes).unwrap_or(i64::MAX))
}
