//! Ports at which authorities look and where nobody listens: they are opened for as long as a challenge is open.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;

use crate::tls::challenges;

/// So many connections are served at once; others wait.
const CONNECTIONS_MAX: usize = 64;
/// A connection lasts no longer.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// What is spoken at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Speaks {
    Http,
    Tls,
}

/// A port that is open until this is dropped.
#[derive(Debug)]
pub(super) struct Opened(tokio::task::JoinHandle<()>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Key = (String, u16, Speaks);
static OPENED: Mutex<Option<HashMap<Key, Weak<Opened>>>> = Mutex::new(None);

/// Opens a port if nobody listens there. `None` if somebody does, most likely our own server.
pub(super) async fn open(host: &str, port: u16, speaks: Speaks) -> Option<Arc<Opened>> {
    let key = (host.to_owned(), port, speaks);
    let known = || {
        let mut all = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        let all = all.get_or_insert_default();
        all.retain(|_, opened| opened.strong_count() > 0);
        all.get(&key).and_then(Weak::upgrade)
    };
    if let Some(opened) = known() {
        return Some(opened);
    }
    let listener = match bind(host, port).await {
        Ok(listener) => listener,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return known(),
        Err(error) => {
            tracing::warn!(
                target: "tls.issuance.acme", host, port, %error,
                "nobody listens where the authority is going to look, and neither can we"
            );
            return None;
        }
    };
    let opened = Arc::new(Opened(tokio::spawn(accept(listener, speaks))));
    let mut all = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    all.get_or_insert_default().insert(key, Arc::downgrade(&opened));
    Some(opened)
}

async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    if !host.is_empty() {
        return TcpListener::bind((host, port)).await;
    }
    match TcpListener::bind(("::", port)).await {
        // There may be no IPv6.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind(("0.0.0.0", port)).await,
        bound => bound,
    }
}

async fn accept(listener: TcpListener, speaks: Speaks) {
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // It is never closed.
        let turn = turns.clone().acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            // Without descriptors there is nothing to do but to wait.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        tokio::spawn(async move {
            let served = async {
                match speaks {
                    Speaks::Http => speak_http(stream).await,
                    Speaks::Tls => speak_tls(stream).await,
                }
            };
            _ = tokio::time::timeout(CONNECTION_TIME_MAX, served).await;
            drop(turn);
        });
    }
}

async fn speak_http(stream: TcpStream) {
    let service =
        service_fn(|request: Request<Incoming>| async move { Ok::<_, io::Error>(answer(&request)) });
    let mut builder = hyper::server::conn::http1::Builder::new();
    let connection =
        builder.timer(TokioTimer::new()).keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // Whoever it was, it has gone.
    _ = connection.await;
}

fn answer<B>(request: &Request<B>) -> Response<Full<Bytes>> {
    let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or_default();
    let name = crate::config::split_host_port(host).map_or(host, |(name, _)| name);
    let answer = match *request.method() {
        Method::GET => challenges::http_answer(name, request.uri().path()),
        _ => None,
    };
    let mut response = Response::new(Full::from(answer.clone().unwrap_or_default()));
    if answer.is_none() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

async fn speak_tls(stream: TcpStream) {
    let Ok(start) = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await else {
        return;
    };
    let config = {
        let hello = start.client_hello();
        hello.server_name().filter(|_| challenges::is_asked_for(&hello)).and_then(challenges::tls_answer)
    };
    if let Some(config) = config {
        // The authority has seen what it wanted to see once the handshake is done.
        _ = start.into_stream(config).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn open_while_it_is_needed_and_only_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let port = {
                let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
                free.local_addr().unwrap().port()
            };
            let first = open("127.0.0.1", port, Speaks::Http).await.unwrap();
            let second = open("127.0.0.1", port, Speaks::Http).await.unwrap();
            assert!(Arc::ptr_eq(&first, &second));
            let shown = challenges::show(challenges::Challenge {
                kind: "http-01".into(),
                token: "t".into(),
                key_authorization: "t.thumb".into(),
                identifier: challenges::Identifier { kind: "dns".into(), value: "a.listener.test".into() },
                ..challenges::Challenge::default()
            });
            for (path, expected) in [("t", "HTTP/1.1 200"), ("x", "HTTP/1.1 404")] {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let request = format!(
                    "GET /.well-known/acme-challenge/{path} HTTP/1.1\r\nHost: a.listener.test:80\r\n\r\n"
                );
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                let mut limited = stream.take(4096);
                #[allow(clippy::disallowed_methods)] // It has a limit.
                limited.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with(expected), "{answer}");
                assert_eq!(answer.ends_with("\r\nt.thumb"), path == "t", "{answer}");
            }
            drop(shown);
            drop((first, second));
            tokio::task::yield_now().await;
            let again = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
            assert!(open("127.0.0.1", port, Speaks::Tls).await.is_none(), "somebody listens there");
            drop(again);
        });
    }
}
