//! One rendering: what `.` is in templates, and the functions that Caddy gives them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::OsString;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::mpsc;

use super::files::Files;
use super::render::Ask;
use super::request::{Request, Snapshot, field_map, field_member};
use super::{Data, front_matter, functions, markdown, sprig};
use crate::gotemplate::{Budget, Delimiters, Error, Host, Object, Run, Templates, Value};

/// What a thread gets to render.
pub(super) struct Job {
    pub(super) text: Bytes,
    /// What the template is about, besides the request.
    pub(super) data: Option<Arc<dyn Data>>,
    pub(super) root: OsString,
    pub(super) delimiters: Arc<Delimiters>,
    pub(super) request: Snapshot,
    pub(super) headers: HeaderMap,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) cancelled: Arc<AtomicBool>,
}

/// Why there is nothing to send.
pub(super) enum Failure {
    /// The template has said so (`httpError`).
    Status(StatusCode),
    /// The template is broken.
    Broken(String),
}

/// What a rendering comes to: text, or a failure; with the answer's header fields.
pub(super) type Outcome = Result<(Vec<u8>, HeaderMap), (Failure, HeaderMap)>;

/// Renders an answer's text.
pub(super) fn run(job: Job) -> Outcome {
    let name = String::from_utf8_lossy(&job.request.path).into_owned();
    let context = Rc::new(Context {
        files: Files::new(job.root),
        delimiters: job.delimiters,
        request: Rc::new(job.request),
        headers: RefCell::new(job.headers),
        asks: job.asks,
        budget: Budget::new(job.cancelled),
    });
    let rendered = context.budget.take(job.text.len()).and_then(|()| {
        // Its own copy is in the tree by now.
        Context::execute(&context, &name, &job.text, Vec::new(), job.data)
    });
    context.budget.end();
    let headers = context.headers.take();
    match rendered {
        Ok(text) => Ok((text, headers)),
        Err(Error::Host(error)) => match error.downcast::<StatusError>() {
            Ok(error) => Err((Failure::Status(error.0), headers)),
            Err(error) => Err((Failure::Broken(error.to_string()), headers)),
        },
        Err(error) => Err((Failure::Broken(error.to_string()), headers)),
    }
}

/// `httpError`: the request fails with this status.
#[derive(Debug, thiserror::Error)]
#[error("HTTP {}", .0.as_u16())]
struct StatusError(StatusCode);

/// What all templates of one rendering share.
struct Context {
    files: Files,
    delimiters: Arc<Delimiters>,
    request: Rc<Snapshot>,
    /// The answer's header fields, which templates may change.
    headers: RefCell<HeaderMap>,
    asks: mpsc::Sender<Ask>,
    budget: Budget,
}

impl Context {
    /// Renders a text with these arguments.
    fn execute(
        context: &Rc<Self>,
        name: &str,
        text: &[u8],
        arguments: Vec<Value>,
        data: Option<Arc<dyn Data>>,
    ) -> Result<Vec<u8>, Error> {
        let host = Functions(context.clone());
        let templates = Templates::new(name, &context.delimiters);
        templates.read(text, &host)?;
        let dot = Value::Object(Rc::new(Dot { context: context.clone(), arguments: arguments.into(), data }));
        Run::render(&templates, &host, &context.budget, &dot)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let bytes = self.files.read(name)?;
        self.budget.take(bytes.len())?;
        Ok(bytes)
    }

    /// Asks the worker, and waits for what it says.
    fn ask<T>(&self, ask: Ask, reply: &Receiver<T>) -> Result<T, Error> {
        let gone = || Error::new("nobody waits for it any more");
        self.budget.look()?;
        self.asks.blocking_send(ask).map_err(|_| gone())?;
        let left = self.budget.deadline().saturating_duration_since(Instant::now());
        reply.recv_timeout(left.max(Duration::from_millis(1))).map_err(|_| gone())
    }
}

/// `.`: the request, and what templates can do with it.
struct Dot {
    context: Rc<Context>,
    arguments: Value,
    data: Option<Arc<dyn Data>>,
}

impl std::fmt::Debug for Dot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dot").field("request", &self.context.request).finish_non_exhaustive()
    }
}

impl Object for Dot {
    fn type_name(&self) -> &'static str {
        "*templates.TemplateContext"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        if let Some(found) = self.data.as_ref().and_then(|data| data.member(name, arguments)) {
            return Some(found);
        }
        let request = &self.context.request;
        Some(Ok(match (name, arguments) {
            ("Req", []) => Value::Object(Rc::new(Request(request.clone()))),
            ("OriginalReq", []) => Value::Object(Rc::new(Request::original(request))),
            ("RespHeader", []) => Value::Object(Rc::new(ResponseFields(self.context.clone()))),
            ("Args", []) => self.arguments.clone(),
            ("Host", []) => return Some(request.hostname().map(Value::from)),
            ("RemoteIP", []) => request.remote_ip.as_str().into(),
            ("ClientIP", []) => request.client_ip.as_str().into(),
            ("Cookie", [Value::Str(name)]) => {
                request.cookie(&String::from_utf8_lossy(name)).unwrap_or_default().into()
            }
            _ => return None,
        }))
    }

    fn holds(&self) -> Option<&Value> {
        Some(&self.arguments)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// `.RespHeader`
struct ResponseFields(Rc<Context>);

impl std::fmt::Debug for ResponseFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ResponseFields").field(&self.0.headers).finish()
    }
}

impl Object for ResponseFields {
    fn type_name(&self) -> &'static str {
        "templates.WrappedHeader"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        let headers = &self.0.headers;
        let field = || {
            let text = arguments.first().map(|name| name.text().into_owned()).unwrap_or_default();
            text.parse::<HeaderName>().map_err(|_| Error::new(format!("invalid header name {text:?}")))
        };
        let value = || {
            let text = arguments.get(1).map(|value| value.text().into_owned()).unwrap_or_default();
            HeaderValue::from_str(&text).map_err(|_| Error::new("invalid header value"))
        };
        let change = match (name, arguments.len()) {
            ("Header", 0) => return Some(Ok(field_map(&headers.borrow()))),
            ("Set" | "Add", 2) => field().and_then(|field| {
                let value = value()?;
                self.0.budget.take(field.as_str().len() + value.len())?;
                let mut headers = headers.borrow_mut();
                let done = match name {
                    "Set" => headers.try_insert(field, value).map(drop),
                    _ => headers.try_append(field, value).map(drop),
                };
                done.map_err(|_| Error::new("too many header fields"))
            }),
            ("Del", 1) => field().map(|name| drop(headers.borrow_mut().remove(name))),
            _ => return field_member(&headers.borrow(), name, arguments),
        };
        Some(change.map(|()| "".into()))
    }

    fn as_plain(&self) -> Option<Value> {
        Some(field_map(&self.0.headers.borrow()))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// The functions that templates have besides Go's.
struct Functions(Rc<Context>);

/// Those that are Caddy's own.
const NAMES: [&str; 17] = [
    "include",
    "readFile",
    "import",
    "httpInclude",
    "stripHTML",
    "markdown",
    "splitFrontMatter",
    "listFiles",
    "fileStat",
    "env",
    "placeholder",
    "ph",
    "fileExists",
    "httpError",
    "humanize",
    "maybe",
    "pathEscape",
];

impl Host for Functions {
    fn knows(&self, name: &str) -> bool {
        NAMES.contains(&name) || sprig::find(name).is_some()
    }

    fn call(&self, name: &str, arguments: &[Value], templates: &Templates) -> Result<Value, Error> {
        let context = &self.0;
        let text = |index: usize| sprig::text(arguments, index).map(Cow::into_owned);
        let any = || arguments.first().map(|value| value.text().into_owned()).unwrap_or_default();
        match name {
            "include" => {
                let body = context.read(&text(0)?)?;
                Context::execute(context, &text(0)?, &body, arguments[1..].to_vec(), None).map(Value::bytes)
            }
            "readFile" => context.read(&text(0)?).map(Value::bytes),
            "import" => {
                templates.read(&context.read(&text(0)?)?, self)?;
                Ok("".into())
            }
            "httpInclude" => {
                let target = text(0)?;
                let (reply, answer) = sync_channel(1);
                let body = context.ask(Ask::Request(target.clone(), reply), &answer)?.map_err(Error::new)?;
                context.budget.take(body.len())?;
                Context::execute(context, &target, &body, Vec::new(), None).map(Value::bytes)
            }
            "placeholder" | "ph" => {
                let (reply, answer) = sync_channel(1);
                context.ask(Ask::Placeholder(text(0)?, reply), &answer).map(Value::bytes)
            }
            "listFiles" => context.files.list(&text(0)?),
            "fileStat" => context.files.stat(&text(0)?),
            "fileExists" => Ok(context.files.exists(&text(0)?).into()),
            "env" => Ok(sprig::environment(&text(0)?).into()),
            "markdown" => Ok(markdown::to_html(&any()).into()),
            "splitFrontMatter" => front_matter::split(&any()),
            "stripHTML" => Ok(functions::strip_html(&text(0)?).into()),
            "humanize" => functions::humanize(&text(0)?, &text(1)?).map(Value::from),
            "pathEscape" => Ok(functions::path_escape(text(0)?.as_bytes()).into()),
            "httpError" => Err(self.http_error(arguments)),
            "maybe" => {
                tracing::warn!(name = text(0)?, "template function could not be found; ignoring invocation");
                Ok("".into())
            }
            name => match sprig::find(name) {
                Some(function) => function(arguments),
                None => Err(Error::new(format!("function {name:?} not defined"))),
            },
        }
    }
}

impl Functions {
    fn http_error(&self, arguments: &[Value]) -> Error {
        let status = match arguments {
            [Value::Int(status)] => {
                u16::try_from(*status).ok().and_then(|status| StatusCode::from_u16(status).ok())
            }
            _ => None,
        };
        match status {
            Some(status) => Error::Host(Box::new(StatusError(status))),
            None => Error::new("httpError: no such status"),
        }
    }
}
