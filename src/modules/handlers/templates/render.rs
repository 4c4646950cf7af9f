//! Rendering beside the workers: a thread carries the template out, and asks the worker for what only
//! it knows.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED, TRAILER,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::context::{Failure, Job};
use super::request::Snapshot;
use super::{Data, Provisioned, context};
use crate::http::files;
use crate::http::{Body, ConnInfo, Exchange, HandlerError, Intercepted, Response, Template, Unknown};

/// An answer that is a template may have so many bytes, and a file or answer that one includes.
pub(super) const TEMPLATE_BYTES_MAX: usize = 16 << 20;
/// So many templates are rendered at a time, besides those that they include by requests of their own.
const RENDERINGS_MAX: usize = 32;
/// A template waits so long for its turn, and a request within one for its answer.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Requests within templates within requests: this deep, as in Caddy.
const REQUESTS_MAX: u32 = 3;
/// The stack of a thread that renders; nesting is bounded to fit in it.
const STACK_BYTES: usize = 16 << 20;
/// The header field that tells how deep a request within a template is, as in Caddy.
const DEPTH_FIELD: &str = "caddy-templates-include";

static RENDERINGS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(RENDERINGS_MAX)));

/// What a template asks the worker for.
pub(super) enum Ask {
    /// The value of a placeholder.
    Placeholder(String, SyncSender<Vec<u8>>),
    /// The answer to a request of its own, or what is wrong with it.
    Request(String, SyncSender<Result<Vec<u8>, String>>),
}

/// How deep a request is within templates. Only a request of our own has it, whatever a client sends.
#[derive(Clone, Copy)]
struct Depth(u32);

/// Ends a rendering that nobody waits for any more.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Provisioned {
    /// Renders an answer.
    pub(super) async fn render<'p>(&'p self, x: &mut Exchange, answer: Response) -> Intercepted<'p> {
        let (mut parts, body) = answer.into_parts();
        let text = match Limited::new(body, TEMPLATE_BYTES_MAX).collect().await {
            Ok(text) => text.to_bytes(),
            Err(error) => {
                x.response_headers = without_own(parts.headers);
                return Intercepted::Fail(HandlerError::new(StatusCode::BAD_GATEWAY, error));
            }
        };
        // Placeholders find the fields of the answer here.
        x.response_headers = parts.headers;
        match self.rendered(x, text, None).await {
            Ok((text, headers)) => {
                parts.headers = headers;
                for name in [ACCEPT_RANGES, LAST_MODIFIED, ETAG, TRAILER] {
                    parts.headers.remove(name);
                }
                let has_none = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
                parts.headers.remove(CONTENT_LENGTH);
                if !has_none {
                    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
                }
                x.response_headers = HeaderMap::new();
                Intercepted::Pass(Response::from_parts(
                    parts,
                    if has_none { Body::Empty } else { text.into() },
                ))
            }
            Err(error) => {
                x.response_headers = without_own(std::mem::take(&mut x.response_headers));
                Intercepted::Fail(error)
            }
        }
    }

    /// The text of a template, with what it is about if it is about something; and the answer's fields.
    pub(super) async fn rendered(
        &self,
        x: &mut Exchange,
        text: Bytes,
        data: Option<Arc<dyn Data>>,
    ) -> Result<(Vec<u8>, HeaderMap), HandlerError> {
        let depth = x.extensions.get::<Depth>().map_or(0, |depth| depth.0);
        let permit = if depth == 0 { Some(turn().await?) } else { None };
        let root = files::render_root(&self.root, x).into_owned();
        let (asks, mut asked) = mpsc::channel(1);
        let (done, mut outcome) = oneshot::channel();
        let cancel = Cancel(Arc::new(AtomicBool::new(false)));
        let job = Job {
            text,
            data,
            root: std::os::unix::ffi::OsStringExt::from_vec(root),
            delimiters: self.delimiters.clone(),
            request: Snapshot::of(x),
            headers: x.response_headers.clone(),
            asks,
            cancelled: cancel.0.clone(),
        };
        std::thread::Builder::new()
            .name("template".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _ = done.send(context::run(job));
                drop(permit);
            })
            .map_err(HandlerError::internal)?;
        let deadline = tokio::time::sleep(WAIT_MAX + WAIT_MAX / 10);
        tokio::pin!(deadline);
        let outcome = loop {
            tokio::select! {
                outcome = &mut outcome => break outcome,
                Some(ask) = asked.recv() => self.answer(x, ask, depth).await,
                () = &mut deadline => return Err(HandlerError::internal("the template takes too long")),
            }
        };
        match outcome {
            Ok(Ok(rendered)) => Ok(rendered),
            Ok(Err((Failure::Status(status), mut headers))) => {
                headers.remove(CONTENT_TYPE);
                x.response_headers = headers;
                Err(HandlerError::new(status, ""))
            }
            Ok(Err((Failure::Broken(message), headers))) => {
                x.response_headers = headers;
                Err(HandlerError::internal(message))
            }
            Err(_) => Err(HandlerError::internal("the template could not be rendered")),
        }
    }

    async fn answer(&self, x: &mut Exchange, ask: Ask, depth: u32) {
        // Whoever asked may have gone; then nobody hears the answer.
        match ask {
            Ask::Placeholder(name, reply) => {
                let _ = reply.try_send(placeholder(x, &name));
            }
            Ask::Request(target, reply) => {
                let answer = tokio::time::timeout(WAIT_MAX, self.include(x, &target, depth)).await;
                let answer = answer.unwrap_or_else(|_| Err("timed out".into()));
                let _ = reply.try_send(answer);
            }
        }
    }

    /// The body of the answer to a request of a template's own.
    async fn include(&self, x: &mut Exchange, target: &str, depth: u32) -> Result<Vec<u8>, String> {
        if depth >= REQUESTS_MAX {
            return Err("virtual request cycle".into());
        }
        let mut request = http::Request::new(Body::Empty);
        *request.method_mut() = Method::GET;
        let target = if target.contains("://") || target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        };
        *request.uri_mut() = target.parse().map_err(|error| format!("parse {target:?}: {error}"))?;
        let headers = request.headers_mut();
        headers.clone_from(&x.headers);
        for gone in
            [CONTENT_LENGTH, http::header::TRANSFER_ENCODING, http::header::EXPECT, http::header::UPGRADE]
        {
            headers.remove(gone);
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(DEPTH_FIELD, HeaderValue::from(depth + 1));
        request.extensions_mut().insert(Depth(depth + 1));
        let conn = ConnInfo::new(Some((Ipv4Addr::LOCALHOST, 10_000).into()), x.conn.local, None);
        let mut inner = Exchange::new(request, Arc::new(conn));
        inner.client_ip = x.client_ip;
        inner.trusted_proxy = x.trusted_proxy;
        let answer = self.server.ask(&mut inner).await.ok_or("there is no server to ask")?;
        if answer.status().as_u16() >= 400 {
            return Err(format!("http {}", answer.status().as_u16()));
        }
        let body = Limited::new(answer.into_body(), TEMPLATE_BYTES_MAX).collect().await;
        Ok(body.map_err(|error| error.to_string())?.to_bytes().to_vec())
    }
}

/// Waits until a template may be rendered.
async fn turn() -> Result<OwnedSemaphorePermit, HandlerError> {
    let permit = tokio::time::timeout(WAIT_MAX, RENDERINGS.clone().acquire_owned()).await;
    let unavailable = |error| HandlerError::new(StatusCode::SERVICE_UNAVAILABLE, error);
    match permit {
        Ok(permit) => permit.map_err(|_| unavailable("templates are at an end")),
        Err(_) => Err(unavailable("too many templates are being rendered")),
    }
}

/// The value of a placeholder, empty if there is none. Files are left out, as in Caddy: whoever wrote
/// the template need not be who wrote the configuration.
fn placeholder(x: &Exchange, name: &str) -> Vec<u8> {
    if name.starts_with("file.") || name.contains(['{', '}', '\\']) {
        return Vec::new();
    }
    Template::compile(&format!("{{{name}}}"), Unknown::Empty).render(x).into_owned()
}

/// The fields of an answer without those that tell of a body that won't come.
fn without_own(mut headers: HeaderMap) -> HeaderMap {
    for name in [CONTENT_LENGTH, ETAG, LAST_MODIFIED, ACCEPT_RANGES, TRAILER] {
        headers.remove(name);
    }
    headers
}
