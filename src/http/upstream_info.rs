//! What placeholders can tell of the upstream that a request went to (`{http.reverse_proxy.*}`).

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};

use super::placeholder::join;
use crate::config;

/// An upstream's address in the forms that placeholders show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(align(128))] // Each worker's has its own cache lines.
pub struct DialText {
    /// With its network, `tcp/127.0.0.1:80` for instance.
    pub address: String,
    /// Without it; a Unix socket's path.
    pub hostport: String,
    /// The host alone; a Unix socket's path.
    pub host: String,
    /// The port alone; 0 for a Unix socket.
    pub port: String,
}

/// The upstream of the latest attempt, and its answer if there was one.
#[derive(Debug)]
pub struct UpstreamInfo {
    /// Its address.
    pub dial: Arc<DialText>,
    /// Requests in flight to it when it was chosen.
    pub requests: usize,
    /// So many it may have; 0 is no limit.
    pub max_requests: usize,
    /// Its recent failures when it was chosen.
    pub fails: usize,
    /// Attempts before this one.
    pub retries: usize,
    /// From the attempt's beginning to the answer's head.
    pub latency: Option<Duration>,
    /// How long all attempts took together.
    pub duration: Option<Duration>,
    /// The answer's status.
    pub status: Option<StatusCode>,
    /// The words behind it, if they are not the usual ones.
    pub reason: Option<Bytes>,
    /// The answer's header fields, as they came.
    pub headers: HeaderMap,
    /// While `lb_retry_match` is asked about a request that got no answer.
    pub is_transport_error: bool,
}

impl UpstreamInfo {
    /// What is known of an upstream that has just been chosen.
    pub fn new(dial: Arc<DialText>) -> Self {
        Self {
            dial,
            requests: 0,
            max_requests: 0,
            fails: 0,
            retries: 0,
            latency: None,
            duration: None,
            status: None,
            reason: None,
            headers: HeaderMap::new(),
            is_transport_error: false,
        }
    }
}

/// A placeholder about the upstream, by what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamField {
    /// `upstream.address`
    Address,
    /// `upstream.hostport`
    Hostport,
    /// `upstream.host`
    Host,
    /// `upstream.port`
    Port,
    /// `upstream.requests`
    Requests,
    /// `upstream.max_requests`
    MaxRequests,
    /// `upstream.fails`
    Fails,
    /// `upstream.latency`
    Latency,
    /// `upstream.latency_ms`
    LatencyMs,
    /// `duration`
    Duration,
    /// `duration_ms`
    DurationMs,
    /// `retries`
    Retries,
    /// `status_code`
    StatusCode,
    /// `status_text`
    StatusText,
    /// `header.NAME`
    Header(HeaderName),
    /// `is_transport_error`
    IsTransportError,
}

static HEADERS_ARE_WANTED: AtomicBool = AtomicBool::new(false);
static REQUESTS_ARE_WANTED: AtomicBool = AtomicBool::new(false);

impl UpstreamField {
    /// The placeholder of this name behind `http.reverse_proxy.`, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "upstream.address" => Self::Address,
            "upstream.hostport" => Self::Hostport,
            "upstream.host" => Self::Host,
            "upstream.port" => Self::Port,
            "upstream.requests" => {
                REQUESTS_ARE_WANTED.store(true, Ordering::Relaxed);
                Self::Requests
            }
            "upstream.max_requests" => Self::MaxRequests,
            "upstream.fails" => Self::Fails,
            "upstream.latency" => Self::Latency,
            "upstream.latency_ms" => Self::LatencyMs,
            "duration" => Self::Duration,
            "duration_ms" => Self::DurationMs,
            "retries" => Self::Retries,
            "status_code" => Self::StatusCode,
            "status_text" => Self::StatusText,
            "is_transport_error" => Self::IsTransportError,
            _ => {
                let name = name.strip_prefix("header.")?.parse().ok()?;
                HEADERS_ARE_WANTED.store(true, Ordering::Relaxed);
                Self::Header(name)
            }
        })
    }

    /// Whether anything that was ever configured asks for an answer's header fields. They are copied
    /// into [`UpstreamInfo`] only then.
    pub fn headers_are_wanted() -> bool {
        HEADERS_ARE_WANTED.load(Ordering::Relaxed)
    }

    /// Says that any of them may be asked for, by what is read only with a request.
    pub fn want_all() {
        HEADERS_ARE_WANTED.store(true, Ordering::Relaxed);
        REQUESTS_ARE_WANTED.store(true, Ordering::Relaxed);
    }

    /// Whether anything that was ever configured asks for an upstream's requests in flight. All workers'
    /// are counted together only then.
    pub fn requests_are_wanted() -> bool {
        REQUESTS_ARE_WANTED.load(Ordering::Relaxed)
    }

    /// Its value; `None` while there is none, which is as if there were no such placeholder.
    pub fn value<'a>(&self, info: &'a UpstreamInfo) -> Option<Cow<'a, [u8]>> {
        let text = |text: String| Some(Cow::Owned(text.into_bytes()));
        match self {
            Self::Address => Some(Cow::Borrowed(info.dial.address.as_bytes())),
            Self::Hostport => Some(Cow::Borrowed(info.dial.hostport.as_bytes())),
            Self::Host => Some(Cow::Borrowed(info.dial.host.as_bytes())),
            Self::Port => Some(Cow::Borrowed(info.dial.port.as_bytes())),
            Self::Requests => text(info.requests.to_string()),
            Self::MaxRequests => text(info.max_requests.to_string()),
            Self::Fails => text(info.fails.to_string()),
            Self::Latency => text(shown(info.latency?)),
            Self::LatencyMs => text(millis(info.latency?)),
            Self::Duration => text(shown(info.duration?)),
            Self::DurationMs => text(millis(info.duration?)),
            Self::Retries => text(info.retries.to_string()),
            Self::StatusCode => Some(Cow::Borrowed(info.status.as_ref()?.as_str().as_bytes())),
            Self::StatusText => Some(Cow::Owned(status_text(info.status?, info.reason.as_deref()))),
            Self::Header(name) if info.headers.contains_key(name) => {
                Some(join(info.headers.get_all(name).iter().map(|value| value.as_bytes())))
            }
            Self::Header(_) => None,
            Self::IsTransportError => info.is_transport_error.then_some(Cow::Borrowed(b"true")),
        }
    }
}

/// A status line's end: the code and the words behind it.
fn status_text(status: StatusCode, reason: Option<&[u8]>) -> Vec<u8> {
    let reason = reason.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().as_bytes());
    [status.as_str().as_bytes(), if reason.is_empty() { b"" } else { b" " }, reason].concat()
}

fn shown(duration: Duration) -> String {
    config::Duration::from_nanos(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)).to_string()
}

fn millis(duration: Duration) -> String {
    (duration.as_secs_f64() * 1e3).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> UpstreamInfo {
        UpstreamInfo::new(Arc::new(DialText {
            address: "tcp/localhost:80".into(),
            hostport: "localhost:80".into(),
            host: "localhost".into(),
            port: "80".into(),
        }))
    }

    fn value(name: &str, info: &UpstreamInfo) -> Option<String> {
        let value = UpstreamField::parse(name).unwrap().value(info)?;
        Some(String::from_utf8(value.into_owned()).unwrap())
    }

    #[test]
    fn the_address_is_known_from_the_start() {
        for (name, expected) in [
            ("upstream.address", "tcp/localhost:80"),
            ("upstream.hostport", "localhost:80"),
            ("upstream.host", "localhost"),
            ("upstream.port", "80"),
            ("upstream.requests", "0"),
            ("retries", "0"),
        ] {
            assert_eq!(value(name, &info()).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_yet_is_as_if_unknown() {
        for name in ["upstream.latency", "status_code", "status_text", "header.X-A", "is_transport_error"] {
            assert_eq!(value(name, &info()), None, "{name}");
        }
        assert_eq!(UpstreamField::parse("upstream.colour"), None);
        assert_eq!(UpstreamField::parse("header.not a name"), None);
    }

    #[test]
    fn the_answer_shows() {
        let mut info = info();
        info.status = Some(StatusCode::NOT_FOUND);
        info.latency = Some(Duration::from_micros(1500));
        info.headers.append("x-a", "1".parse().unwrap());
        info.headers.append("x-a", "2".parse().unwrap());
        for (name, expected) in [
            ("status_code", "404"),
            ("status_text", "404 Not Found"),
            ("upstream.latency", "1.5ms"),
            ("upstream.latency_ms", "1.5"),
            ("header.X-A", "1,2"),
        ] {
            assert_eq!(value(name, &info).as_deref(), Some(expected), "{name}");
        }
        info.reason = Some(Bytes::from_static(b"Gone Fishing"));
        assert_eq!(value("status_text", &info).as_deref(), Some("404 Gone Fishing"));
    }
}
