//! Placeholders by what they ask for. Their names are read at load; a request only looks up.

mod clock;
mod file;
mod parse;
mod request;
mod tls;

use std::borrow::Cow;

use http::HeaderName;

pub use clock::Clock;
pub use file::FileValue;
pub(super) use request::{host_of, path as request_path, request_uri};
pub use tls::{CertificateField, TlsField};

use super::regexp::GroupKey;
use super::upstream_info::UpstreamField;
use super::{Exchange, Value};
use crate::config;

/// A placeholder by what it asks for.
#[derive(Debug, Clone)]
pub enum Placeholder {
    /// `{http.request.*}`: something of the request itself.
    Request(RequestField),
    /// `{http.request.orig_*}`: the request before the first change.
    Original(OriginalField),
    /// `{http.request.header.NAME}`
    Header(HeaderName),
    /// `{http.request.cookie.NAME}`
    Cookie(Box<str>),
    /// `{http.request.uri.query.KEY}`
    QueryKey(Box<[u8]>),
    /// `{http.request.uri.path.N}`
    PathSegment(usize),
    /// `{http.request.host.labels.N}`, counted from the right
    HostLabel(usize),
    /// `{http.request.remote.host/V4,V6}`: the client's network, by how many bits its mask has;
    /// `None` if the configuration names no number
    RemoteNetwork(Option<u8>, Option<u8>),
    /// `{http.request.tls.*}`
    Tls(TlsField),
    /// `{http.vars.NAME}`
    Var(Box<str>),
    /// `{http.error.*}`
    Error(ErrorField),
    /// `{http.reverse_proxy.*}`
    Upstream(UpstreamField),
    /// `{http.intercept.status_code}`
    InterceptedStatus,
    /// `{http.intercept.header.NAME}`
    InterceptedHeader(HeaderName),
    /// `{http.response.header.NAME}`: what stands on the answer so far
    ResponseHeader(HeaderName),
    /// `{http.regexp.NAME.GROUP}` and `{http.regexp.GROUP}`
    Capture(Option<Box<str>>, GroupKey),
    /// `{time.now.*}`
    Time(Clock),
    /// `{file.PATH}`
    File(FileValue),
    /// A name that is always known and never has a value here.
    Nothing,
    /// Anything that a handler may have left under this name.
    Named(Box<str>),
}

/// What can be asked of the request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestField {
    Method,
    Scheme,
    Proto,
    ProtoName,
    Host,
    Port,
    HostPort,
    Local,
    LocalHost,
    LocalPort,
    Remote,
    RemoteHost,
    RemotePort,
    Uri,
    UriEscaped,
    Path,
    PathEscaped,
    File,
    Dir,
    FileBase,
    FileExtension,
    Query,
    QueryEscaped,
    PrefixedQuery,
    Duration,
    DurationMs,
    Uuid,
    Body,
    BodyBase64,
    ShuttingDown,
}

/// What can be asked of the request as it was before the first change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginalField {
    Method,
    Uri,
    Path,
    PathSegment(usize),
    File,
    Dir,
    Query,
    PrefixedQuery,
}

/// What can be asked of the error that error routes deal with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorField {
    Whole,
    StatusCode,
    StatusText,
    Message,
    Trace,
    Id,
}

impl Placeholder {
    /// Its value for one request; `None` if there is no such placeholder.
    pub fn value<'a>(&'a self, x: &'a Exchange) -> Option<Cow<'a, [u8]>> {
        Some(match self {
            Self::Request(field) => field.value(x),
            Self::Original(field) => field.value(x),
            Self::Header(name) => join(x.headers.get_all(name).iter().map(|value| value.as_bytes())),
            Self::Cookie(name) => request::cookie(&x.headers, name),
            Self::QueryKey(key) => request::query_key(x.uri.query().unwrap_or_default(), key),
            Self::PathSegment(n) => request::path_segment(x.uri.path(), *n),
            Self::HostLabel(n) => request::host_label(x, *n),
            Self::RemoteNetwork(v4, v6) => request::remote_network(x, *v4, *v6),
            Self::Tls(field) => field.value(x.conn.tls.as_deref()),
            Self::Var(name) => return Some(x.var(name)),
            Self::Error(field) => return field.value(x),
            Self::Upstream(field) => return field.value(x.upstream.as_deref()?),
            Self::InterceptedStatus => Cow::Borrowed(x.intercepted.as_ref()?.status.as_str().as_bytes()),
            Self::InterceptedHeader(name) => {
                let headers = &x.intercepted.as_ref()?.headers;
                headers.contains_key(name).then(|| joined(headers, name))?
            }
            Self::ResponseHeader(name) => joined(&x.response_headers, name),
            Self::Capture(name, key) => Cow::Borrowed(x.capture(name.as_deref(), key)?),
            Self::Time(clock) => Cow::Owned(clock.text().into_bytes()),
            Self::File(file) => file.value(),
            Self::Nothing => Cow::Borrowed(b""),
            Self::Named(name) => return x.named(name),
        })
    }

    /// Its value with the type that it has in expressions; `None` if there is no such placeholder.
    pub fn typed(&self, x: &Exchange) -> Option<Value> {
        match self {
            Self::Var(name) => {
                if let Some(value) = x.vars.get(name) {
                    return Some(value.clone());
                }
            }
            Self::Named(name) => {
                if let Some(value) = x.named.get(name) {
                    return Some(value.clone());
                }
            }
            _ => {}
        }
        let text = self.value(x)?.into_owned();
        let parsed = std::str::from_utf8(&text).ok().and_then(|text| match self.kind() {
            Kind::Text => None,
            Kind::Int => text.parse().map(Value::Int).ok(),
            Kind::Float => text.parse().map(Value::Float).ok(),
            Kind::Bool => text.parse().map(Value::Bool).ok(),
        });
        Some(parsed.unwrap_or(Value::Text(Cow::Owned(text))))
    }

    fn kind(&self) -> Kind {
        use UpstreamField as Up;
        match self {
            Self::Request(RequestField::Port | RequestField::LocalPort | RequestField::RemotePort)
            | Self::Error(ErrorField::StatusCode)
            | Self::InterceptedStatus
            | Self::Upstream(Up::Requests | Up::MaxRequests | Up::Fails | Up::Retries | Up::StatusCode) => {
                Kind::Int
            }
            Self::Request(RequestField::DurationMs) | Self::Upstream(Up::LatencyMs | Up::DurationMs) => {
                Kind::Float
            }
            Self::Request(RequestField::ShuttingDown)
            | Self::Tls(TlsField::Resumed | TlsField::Mutual)
            | Self::Upstream(Up::IsTransportError) => Kind::Bool,
            _ => Kind::Text,
        }
    }
}

/// The type that a value has in expressions.
enum Kind {
    Text,
    Int,
    Float,
    Bool,
}

impl ErrorField {
    fn value(self, x: &Exchange) -> Option<Cow<'_, [u8]>> {
        let error = x.error.as_ref()?;
        let text = match self {
            Self::Whole => Cow::Owned(format!("{{id={}}} {error}", error.id())),
            Self::StatusCode => Cow::Borrowed(error.status.as_str()),
            Self::StatusText => Cow::Borrowed(status_text(error.status)),
            Self::Message => Cow::Owned(error.message()),
            Self::Trace => Cow::Borrowed(""),
            Self::Id => Cow::Borrowed(error.id()),
        };
        Some(into_bytes(text))
    }
}

/// The reason phrase of a status, where it differs from the `http` crate's as Go has it.
pub fn status_text(status: http::StatusCode) -> &'static str {
    match status.as_u16() {
        203 => "Non-Authoritative Information",
        413 => "Request Entity Too Large",
        414 => "Request URI Too Long",
        416 => "Requested Range Not Satisfiable",
        _ => status.canonical_reason().unwrap_or_default(),
    }
}

/// A duration as Go prints it: `1.5s`, `2m3s`, `150µs`.
pub(super) fn duration_text(duration: std::time::Duration) -> String {
    config::Duration::from_nanos(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)).to_string()
}

/// Milliseconds with their fraction, as Go prints a float.
pub(super) fn millis_text(duration: std::time::Duration) -> String {
    (duration.as_secs_f64() * 1e3).to_string()
}

fn joined<'a>(headers: &'a http::HeaderMap, name: &HeaderName) -> Cow<'a, [u8]> {
    join(headers.get_all(name).iter().map(|value| value.as_bytes()))
}

/// Several values of one header field, joined as Caddy joins them.
pub(super) fn join<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Cow<'a, [u8]> {
    let Some(first) = values.next() else { return Cow::Borrowed(b"") };
    let Some(second) = values.next() else { return Cow::Borrowed(first) };
    let mut all = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        all.push(b',');
        all.extend_from_slice(value);
    }
    Cow::Owned(all)
}

pub(super) fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}
