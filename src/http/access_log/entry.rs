//! One request on its way into an access log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, Uri, Version};

use super::Access;
use super::fields::{HeaderFields, RequestFields};
use crate::http::error::CLIENT_LEFT;
use crate::http::{Body, ConnInfo, Exchange, Value, Watch};
use crate::log::{Fields, Level, Logger, Value as LogValue, Visitor};

/// Counts the bytes of a request's body as they are read.
struct BytesRead(Arc<AtomicU64>);

impl Watch for BytesRead {
    fn passed(&mut self, data: &[u8]) {
        self.0.fetch_add(data.len() as u64, Ordering::Relaxed);
    }
}

/// A request that is being logged. It is written when it is dropped, which is when the answer's body
/// has gone or the client has.
pub struct AccessEntry {
    access: Arc<Access>,
    request: Request,
    started: Instant,
    /// How much of the request's body was read; `None` if it has none.
    bytes_read: Option<Arc<AtomicU64>>,
    early: Vec<LogField>,
    late: Vec<Arc<dyn LateField>>,
    body: Option<Box<BodyFields>>,
    outcome: Outcome,
}

/// Of a longer body only so much is logged.
pub const LOGGED_BODY_BYTES_MAX: usize = 1 << 20;

/// Fields that show the answer's body.
#[derive(Default)]
struct BodyFields {
    fields: Vec<(Arc<str>, BodyForm)>,
    /// The body as far as it has gone.
    seen: Vec<u8>,
}

/// How a body is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// As text.
    Text,
    /// In base64.
    Base64,
}

impl BodyForm {
    /// The body in this form.
    pub fn show(self, body: &[u8]) -> Vec<u8> {
        let body = &body[..body.len().min(LOGGED_BODY_BYTES_MAX)];
        match self {
            Self::Text => body.to_vec(),
            Self::Base64 => STANDARD.encode(body).into_bytes(),
        }
    }
}

impl BodyFields {
    fn see(&mut self, data: &[u8]) {
        let room = LOGGED_BODY_BYTES_MAX - self.seen.len();
        self.seen.extend_from_slice(&data[..data.len().min(room)]);
    }
}

/// The request as it was before any handler changed it.
struct Request {
    conn: Arc<ConnInfo>,
    client_ip: Option<std::net::IpAddr>,
    version: Version,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// What became of it.
enum Outcome {
    /// Nothing yet.
    Open,
    /// It has been written, or is not logged after all.
    Done,
    /// There is an answer, of whose body `size` bytes were taken.
    Answered { answer: Box<Answered>, size: u64 },
}

/// What is known once there is an answer.
struct Answered {
    loggers: Arc<[Logger]>,
    message: &'static str,
    status: u16,
    headers: HeaderMap,
    user_id: Vec<u8>,
    uuid: Option<Box<str>>,
    fields: Vec<LogField>,
}

/// A field that a handler adds to a request's log entry.
#[derive(Clone, Debug, PartialEq)]
pub struct LogField {
    /// Its key.
    pub key: Arc<str>,
    /// Its value; `null` if there is none.
    pub value: Option<Value>,
}

/// A field that is worked out when there is an answer.
pub trait LateField: Send + Sync {
    /// The field. The answer's header fields are those of `x.response_headers`.
    fn field(&self, x: &Exchange) -> LogField;
}

impl AccessEntry {
    /// Begins to log a request, before any handler has seen it.
    pub(super) fn begin(access: Arc<Access>, x: &mut Exchange) -> Box<Self> {
        let request = Request {
            conn: x.conn.clone(),
            client_ip: x.client_ip,
            version: x.version,
            method: x.method.clone(),
            uri: x.uri.clone(),
            headers: x.headers.clone(),
        };
        let bytes_read = match std::mem::take(&mut x.body) {
            Body::Empty => None,
            body => {
                let count = Arc::new(AtomicU64::new(0));
                x.body = body.watched(BytesRead(count.clone()));
                Some(count)
            }
        };
        let started = x.started;
        let (early, late, body) = (Vec::new(), Vec::new(), None);
        Box::new(Self { access, request, started, bytes_read, early, late, body, outcome: Outcome::Open })
    }

    /// Adds a field.
    pub fn add(&mut self, field: LogField) {
        self.early.push(field);
    }

    /// Adds a field that is worked out later.
    pub fn add_late(&mut self, field: Arc<dyn LateField>) {
        self.late.push(field);
    }

    /// Adds a field that shows the answer's body, as far as the client took it.
    pub fn add_body(&mut self, key: Arc<str>, form: BodyForm) {
        self.body.get_or_insert_default().fields.push((key, form));
    }

    /// Works out the fields that were to be worked out later, because the routes that added them have
    /// come to an end.
    pub(in crate::http) fn settle(x: &mut Exchange) {
        if let Some(mut entry) = x.log.take() {
            entry.early = entry.fields(x);
            entry.late.clear();
            x.log = Some(entry);
        }
    }

    /// The request as it was before any handler changed it.
    pub(super) fn request(&self) -> RequestFields<'_> {
        let Request { conn, client_ip, version, method, uri, headers } = &self.request;
        let (client_ip, version) = (*client_ip, *version);
        RequestFields { conn, client_ip, version, method, uri, headers, redaction: &self.access.redaction }
    }

    /// It is not logged after all.
    pub(super) fn skip(mut self: Box<Self>) {
        self.outcome = Outcome::Done;
    }

    /// Takes down what became of the request, of whose answer `x.response_headers` are the header
    /// fields; `loggers` are those that it asked for itself. The entry is written once the body that
    /// this gives back, which takes the place of the answer's own, has gone.
    pub(super) fn answered(
        mut self: Box<Self>,
        x: &mut Exchange,
        loggers: Option<Arc<[Logger]>>,
        status: u16,
        body: Body,
    ) -> Body {
        let mut answer = Answered {
            loggers: loggers.unwrap_or_else(|| self.access.loggers_of(&self.request.headers).clone()),
            message: if x.unhandled { "NOP" } else { "handled request" },
            status: if x.unhandled || x.abort { 0 } else { status },
            headers: HeaderMap::new(),
            user_id: x.named.get("http.auth.user.id").map(|id| id.to_text().into_owned()).unwrap_or_default(),
            fields: self.fields(x),
            uuid: x.uuid_if_made().map(Into::into),
        };
        let size = match &body {
            Body::Empty => 0,
            // For HEAD too, as in Caddy: what would have been sent.
            Body::Full(bytes) => {
                if let Some(fields) = &mut self.body {
                    fields.see(bytes);
                }
                bytes.len() as u64
            }
            _ => {
                answer.headers.clone_from(&x.response_headers);
                self.outcome = Outcome::Answered { answer: Box::new(answer), size: 0 };
                return body.watched(self);
            }
        };
        answer.headers = std::mem::take(&mut x.response_headers);
        let (size, duration) = if x.abort { (0, Duration::ZERO) } else { (size, self.started.elapsed()) };
        self.write_answered(&answer, size, duration);
        self.outcome = Outcome::Done;
        x.response_headers = answer.headers;
        body
    }

    /// All added fields: the early ones, then the late ones, the last handler's first.
    fn fields(&mut self, x: &Exchange) -> Vec<LogField> {
        let mut fields = std::mem::take(&mut self.early);
        fields.extend(self.late.iter().rev().map(|field| field.field(x)));
        fields
    }

    fn write_answered(&self, answer: &Answered, size: u64, duration: Duration) {
        let record = Record {
            user_id: &answer.user_id,
            size,
            status: answer.status,
            headers: &answer.headers,
            uuid: answer.uuid.as_deref(),
            fields: &answer.fields,
            ..self.record(duration)
        };
        record.write(&answer.loggers, answer.message);
    }

    /// The fields of a request that has no answer.
    fn record(&self, duration: Duration) -> Record<'_> {
        static NO_HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
        Record {
            request: self.request(),
            bytes_read: self.bytes_read.as_ref().map_or(0, |count| count.load(Ordering::Relaxed)),
            user_id: b"",
            duration,
            size: 0,
            status: CLIENT_LEFT,
            headers: &NO_HEADERS,
            uuid: None,
            fields: &self.early,
            body: self.body.as_deref(),
        }
    }
}

impl Drop for AccessEntry {
    fn drop(&mut self) {
        match &self.outcome {
            Outcome::Done => {}
            Outcome::Open => {
                let loggers = self.access.loggers_of(&self.request.headers);
                self.record(self.started.elapsed()).write(loggers, "handled request");
            }
            Outcome::Answered { answer, size } => {
                self.write_answered(answer, *size, self.started.elapsed());
            }
        }
    }
}

/// The fields of an entry, in Caddy's order.
struct Record<'a> {
    request: RequestFields<'a>,
    bytes_read: u64,
    user_id: &'a [u8],
    duration: Duration,
    size: u64,
    status: u16,
    headers: &'a HeaderMap,
    uuid: Option<&'a str>,
    fields: &'a [LogField],
    body: Option<&'a BodyFields>,
}

impl Record<'_> {
    fn write(&self, loggers: &[Logger], message: &str) {
        let level = if self.status >= 500 { Level::Error } else { Level::Info };
        for logger in loggers {
            logger.log(level, message, self);
        }
    }
}

impl Fields for Record<'_> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        let redaction = self.request.redaction;
        visitor.field("request", LogValue::Object(&self.request));
        visitor.field("bytes_read", LogValue::Uint(self.bytes_read));
        visitor.field("user_id", LogValue::Text(self.user_id));
        visitor.field("duration", LogValue::Duration(self.duration));
        visitor.field("size", LogValue::Uint(self.size));
        visitor.field("status", LogValue::Uint(self.status.into()));
        let headers = HeaderFields { headers: self.headers, of_request: false, redaction };
        visitor.field("resp_headers", LogValue::Object(&headers));
        if let Some(uuid) = self.uuid {
            visitor.field("uuid", LogValue::text(uuid));
        }
        if let Some(BodyFields { fields, seen }) = self.body {
            for (key, form) in fields {
                visitor.field(key, LogValue::Text(&form.show(seen)));
            }
        }
        for LogField { key, value } in self.fields {
            match value {
                None => visitor.field(key, LogValue::Json(&serde_json::Value::Null)),
                Some(Value::Text(text)) => visitor.field(key, LogValue::Text(text)),
                Some(Value::Int(number)) => visitor.field(key, LogValue::Int(*number)),
                Some(Value::Float(number)) => visitor.field(key, LogValue::Float(*number)),
                Some(Value::Bool(truth)) => visitor.field(key, LogValue::Bool(*truth)),
                Some(Value::List(items)) => {
                    let texts: Vec<_> = items.iter().map(Value::to_text).collect();
                    let texts: Vec<&[u8]> = texts.iter().map(|text| &**text).collect();
                    visitor.field(key, LogValue::Texts(&texts));
                }
            }
        }
    }
}

/// The answer's body as the client gets it.
impl Watch for Box<AccessEntry> {
    fn passed(&mut self, data: &[u8]) {
        if let Outcome::Answered { size, .. } = &mut self.outcome {
            *size += data.len() as u64;
        }
        if let Some(fields) = &mut self.body {
            fields.see(data);
        }
    }
}
