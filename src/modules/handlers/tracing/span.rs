//! Spans while they last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{StatusCode, Version};
use smallvec::SmallVec;
use tokio::sync::mpsc;

use super::context::Context;
use crate::http::{Exchange, Watch};

/// Where spans go when they end.
pub(super) type Spans = mpsc::Sender<Span>;

/// What an attribute says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Text(String),
    Number(i64),
}

/// A span that has ended.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) context: Context,
    pub(super) parent: Option<Context>,
    pub(super) state: String,
    pub(super) name: String,
    /// Nanoseconds since 1970.
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) attributes: Vec<(Arc<str>, Attribute)>,
    pub(super) has_failed: bool,
}

/// A span that lasts for as long as anybody holds this.
#[derive(Clone)]
pub(super) struct Running(Arc<Inner>);

struct Inner {
    spans: Spans,
    span: Mutex<Option<Span>>,
}

/// A span is over when the answer's body is.
impl Watch for Running {}

/// The spans that a request is in, the innermost last.
#[derive(Clone)]
struct Stack(SmallVec<[Running; 1]>);

impl Running {
    pub(super) fn begin(
        spans: Spans,
        context: Context,
        parent: Option<Context>,
        name: String,
        x: &Exchange,
    ) -> Self {
        let state = x.headers.get(super::TRACESTATE).and_then(|state| state.to_str().ok());
        let span = Span {
            context,
            parent,
            state: state.unwrap_or_default().to_owned(),
            name,
            begin: now(),
            end: 0,
            attributes: attributes(x),
            has_failed: false,
        };
        Self(Arc::new(Inner { spans, span: Mutex::new(Some(span)) }))
    }

    /// There is an answer.
    pub(super) fn answered(&self, status: StatusCode, more: Vec<(Arc<str>, String)>) {
        let mut span = self.0.span.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(span) = span.as_mut() else { return };
        span.attributes.push(("http.response.status_code".into(), Attribute::Number(status.as_u16().into())));
        span.attributes.extend(more.into_iter().map(|(name, value)| (name, Attribute::Text(value))));
        span.has_failed = status.is_server_error();
    }
}

/// A text of a span has so many bytes when it is sent.
const TEXT_BYTES_MAX: usize = 1024;
/// A `tracestate` may have so many bytes (W3C Trace Context section 3.3.1.5 asks for no more).
const STATE_BYTES_MAX: usize = 512;

impl Drop for Inner {
    fn drop(&mut self) {
        let span = self.span.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut span) = span else { return };
        span.end = now();
        span.cut();
        if self.spans.try_send(span).is_err() {
            super::export::dropped();
        }
    }
}

impl Span {
    /// Cuts what clients may have made long: spans wait in a queue, which is bounded by their number.
    fn cut(&mut self) {
        cut(&mut self.name);
        let texts = self.attributes.iter_mut().filter_map(|(_, value)| match value {
            Attribute::Text(text) => Some(text),
            Attribute::Number(_) => None,
        });
        texts.for_each(cut);
        // Half a list of vendors' states would be none.
        if self.state.len() > STATE_BYTES_MAX {
            self.state.clear();
        }
    }
}

fn cut(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.shrink_to_fit();
    }
}

/// The request is in this span from now on.
pub(super) fn enter(x: &mut Exchange, running: Running) {
    match x.extensions.get_mut::<Stack>() {
        Some(stack) => stack.0.push(running),
        None => drop(x.extensions.insert(Stack(SmallVec::from_iter([running])))),
    }
}

/// The innermost span that the request is in; it is in it no longer.
pub(super) fn leave(x: &mut Exchange) -> Option<Running> {
    x.extensions.get_mut::<Stack>()?.0.pop()
}

/// What is told of a request. Its query is not: there may be keys in it.
fn attributes(x: &Exchange) -> Vec<(Arc<str>, Attribute)> {
    let mut attributes = Vec::with_capacity(10);
    let mut text = |name: &str, value: &str| {
        if !value.is_empty() {
            attributes.push((Arc::from(name), Attribute::Text(value.to_owned())));
        }
    };
    let field = |name| x.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    text("http.request.method", x.method.as_str());
    text("url.scheme", if x.conn.tls.is_some() { "https" } else { "http" });
    text("url.path", x.uri.path());
    text("server.address", x.hostname());
    text("user_agent.original", field(http::header::USER_AGENT).unwrap_or_default());
    text("client.address", &x.client_ip.map(|ip| ip.to_canonical().to_string()).unwrap_or_default());
    text(
        "network.protocol.version",
        match x.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            Version::HTTP_3 => "3",
            _ => "1.1",
        },
    );
    if let Some(peer) = x.conn.peer {
        text("network.peer.address", &peer.ip().to_canonical().to_string());
        attributes.push(("network.peer.port".into(), Attribute::Number(peer.port().into())));
    }
    attributes
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_makes_long_is_cut_before_it_waits() {
        let context = Context::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let (spans, mut waiting) = mpsc::channel(1);
        let span = Span {
            context,
            parent: None,
            state: "a=b,".repeat(200),
            name: "n".into(),
            begin: 1,
            end: 0,
            attributes: vec![
                ("long".into(), Attribute::Text("é".repeat(600) + "x")),
                ("short".into(), Attribute::Text("kept".into())),
                ("number".into(), Attribute::Number(5)),
            ],
            has_failed: false,
        };
        drop(Inner { spans, span: Mutex::new(Some(span)) });
        let span = waiting.try_recv().unwrap();
        let texts: Vec<_> = span.attributes.into_iter().map(|(_, value)| value).collect();
        let expected =
            [Attribute::Text("é".repeat(512)), Attribute::Text("kept".into()), Attribute::Number(5)];
        assert_eq!((texts.as_slice(), span.name.as_str(), span.state.as_str()), (&expected[..], "n", ""));
        assert!(span.end > span.begin);
    }
}
