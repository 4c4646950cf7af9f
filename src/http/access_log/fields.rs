//! Requests and header fields as logs show them.

use std::io::Write as _;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method, Uri, Version, header};
use smallvec::SmallVec;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::redaction::{REDACTED, Redaction};
use crate::http::ConnInfo;
use crate::http::conn_info::TlsInfo;
use crate::log::{Fields, Value, Visitor};

/// A request as it came in.
#[derive(Clone, Copy)]
pub(super) struct RequestFields<'a> {
    pub(super) conn: &'a ConnInfo,
    pub(super) client_ip: Option<IpAddr>,
    pub(super) version: Version,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) redaction: &'a Redaction,
}

impl Fields for RequestFields<'_> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        let mut text = Scratch::default();
        match self.conn.peer {
            Some(peer) => {
                visitor.field("remote_ip", text.set(peer.ip().to_canonical()));
                visitor.field("remote_port", text.set(peer.port()));
            }
            // What Go calls a unix socket without a name.
            None => {
                visitor.field("remote_ip", Value::text("@"));
                visitor.field("remote_port", Value::text(""));
            }
        }
        match self.client_ip {
            Some(ip) => visitor.field("client_ip", text.set(ip.to_canonical())),
            None => visitor.field("client_ip", Value::text("")),
        }
        visitor.field("proto", Value::text(proto(self.version)));
        visitor.field("method", Value::text(self.method.as_str()));
        let host = self.headers.get(header::HOST).map_or(&b""[..], |host| host.as_bytes());
        visitor.field("host", Value::Text(host));
        let target = self.uri.path_and_query().map_or("", |target| target.as_str());
        visitor.field("uri", Value::Text(&self.redaction.url(target.as_bytes())));
        let headers = HeaderFields { headers: self.headers, of_request: true, redaction: self.redaction };
        visitor.field("headers", Value::Object(&headers));
        if self.headers.contains_key(header::TRANSFER_ENCODING) {
            // The only transfer coding that gets this far.
            visitor.field("transfer_encoding", Value::Texts(&[b"chunked"]));
        }
        if let Some(tls) = &self.conn.tls {
            visitor.field("tls", Value::Object(&TlsFields(tls)));
        }
    }
}

fn proto(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// A short text on the stack: addresses and ports need no allocation.
struct Scratch([u8; 64]);

impl Default for Scratch {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl Scratch {
    fn set(&mut self, text: impl std::fmt::Display) -> Value<'_> {
        let mut rest = &mut self.0[..];
        // An address is never that long; if it were, its end would be missing.
        let _ = write!(rest, "{text}");
        let left = rest.len();
        Value::Text(&self.0[..64 - left])
    }
}

/// Header fields by name, each with all of its values.
pub(super) struct HeaderFields<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) of_request: bool,
    pub(super) redaction: &'a Redaction,
}

impl Fields for HeaderFields<'_> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        let mut key = String::new();
        for name in self.headers.keys() {
            if self.of_request && self.stands_elsewhere(name) {
                continue;
            }
            canonical(name, &mut key);
            if self.redaction.hides_header(name) {
                visitor.field(&key, Value::Texts(&[REDACTED.as_bytes()]));
                continue;
            }
            let values: SmallVec<[_; 2]> =
                self.headers.get_all(name).iter().map(|value| self.redaction.url(value.as_bytes())).collect();
            let values: SmallVec<[&[u8]; 2]> = values.iter().map(|value| &**value).collect();
            visitor.field(&key, Value::Texts(&values));
        }
    }
}

impl HeaderFields<'_> {
    /// Whether a request's field is shown in another place, or belongs to the framing.
    fn stands_elsewhere(&self, name: &HeaderName) -> bool {
        let chunked = || self.headers.contains_key(header::TRANSFER_ENCODING);
        name == header::HOST || name == header::TRANSFER_ENCODING || (name == header::TRAILER && chunked())
    }
}

/// The name with a capital at the start of each word, as Go keeps header names.
fn canonical(name: &HeaderName, key: &mut String) {
    key.clear();
    let mut starts_word = true;
    for ch in name.as_str().chars() {
        key.push(if starts_word { ch.to_ascii_uppercase() } else { ch });
        starts_word = ch == '-';
    }
}

/// What a handshake settled.
struct TlsFields<'a>(&'a TlsInfo);

impl Fields for TlsFields<'_> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        let tls = self.0;
        visitor.field("resumed", Value::Bool(tls.resumed));
        visitor.field("version", Value::Uint(tls.version.map_or(0, u16::from).into()));
        visitor.field("cipher_suite", Value::Uint(tls.cipher_suite.map_or(0, u16::from).into()));
        visitor.field("proto", Value::Text(tls.alpn.as_deref().unwrap_or_default()));
        visitor.field("server_name", Value::text(tls.server_name.as_deref().unwrap_or_default()));
        visitor.field("ech", Value::Bool(false));
        let certificate = tls.client_certificates.first().map(|der| X509Certificate::from_der(der));
        if let Some(Ok((_, certificate))) = certificate {
            let name = certificate.subject().iter_common_name().last().and_then(|name| name.as_str().ok());
            visitor.field("client_common_name", Value::text(name.unwrap_or_default()));
            visitor.field("client_serial", Value::text(&certificate.serial.to_string()));
        }
    }
}
