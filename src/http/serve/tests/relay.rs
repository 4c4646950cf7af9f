//! What the tests put behind the gate: a handler that relays to a scripted upstream, and one that
//! never answers.

use std::net::TcpListener;
use std::sync::{Mutex, PoisonError, mpsc};

use serde::Deserialize;

use super::*;
use crate::http::upstream::{Dial, Outgoing, Transport, TransportOptions};

/// Passes every request on as it is.
struct Relay {
    transport: Transport,
    dial: Dial,
}

pub(super) static RELAY: HandlerType = HandlerType {
    id: "relay",
    provision: |json, _| {
        #[derive(Deserialize)]
        struct Said {
            port: u16,
            #[serde(default)]
            h2c: bool,
        }
        let Said { port, h2c } = json.decode("handler")?;
        let dial = Dial::Tcp { host: "127.0.0.1".into(), port };
        let transport = Transport::new(TransportOptions { h2c, ..TransportOptions::default() });
        Ok(Box::new(Relay { transport, dial }))
    },
};

impl Handler for Relay {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Later(Box::pin(async move {
            let target = x.request_uri().into_owned();
            let upgrade = x.headers.contains_key(header::UPGRADE);
            let omit = if upgrade { &[][..] } else { &[header::CONNECTION, header::UPGRADE] };
            let request = Outgoing {
                method: &x.method,
                target: &target,
                headers: &x.headers,
                omit,
                extra: &[],
                upgrade,
                client: None,
            };
            let mut body = std::mem::take(&mut x.body);
            match self.transport.round_trip(&self.dial, request, &mut body, &mut |_, _| {}).await {
                Ok(mut response) => {
                    response.headers_mut().remove(header::TRANSFER_ENCODING);
                    response.headers_mut().remove(header::CONNECTION);
                    Outcome::Respond(response)
                }
                Err(error) => Outcome::Fail(HandlerError::new(StatusCode::BAD_GATEWAY, error)),
            }
        }))
    }
}

/// Where those are told of whose request is dropped without an answer.
static DROPPED: Mutex<Option<mpsc::SyncSender<()>>> = Mutex::new(None);

/// Takes a request, never reads its body and never answers.
pub(super) struct Silent;

pub(super) static SILENT: HandlerType = HandlerType { id: "silent", provision: |_, _| Ok(Box::new(Silent)) };

impl Silent {
    /// Tells when a request is given up. One test at a time uses it.
    pub(super) fn watch() -> mpsc::Receiver<()> {
        let (sender, receiver) = mpsc::sync_channel(16);
        *DROPPED.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }
}

struct Told;

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(sender) = &*DROPPED.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = sender.try_send(());
        }
    }
}

impl Handler for Silent {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Later(Box::pin(async move {
            let _told = Told;
            let _body = std::mem::take(&mut x.body);
            std::future::pending().await
        }))
    }
}

/// Answers with the status that the path names; any other path ends the connection.
struct Status;

pub(super) static STATUS: HandlerType = HandlerType { id: "status", provision: |_, _| Ok(Box::new(Status)) };

impl Handler for Status {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        let status = x.uri.path()[1..].parse();
        x.close_connection = status.is_err();
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = status.unwrap_or(StatusCode::OK);
        Step::Now(Outcome::Respond(response))
    }
}

/// An upstream whose connections the test itself reads from and writes to.
pub(super) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(super) fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    /// The settings of a server that relays to this upstream.
    pub(super) fn settings(&self) -> String {
        let port = self.listener.local_addr().unwrap().port();
        format!(r#"{{"routes":[{{"handle":[{{"handler":"relay","port":{port}}}]}}]}}"#)
    }

    /// The next connection; there must be one.
    pub(super) fn accept(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The next connection, once a head has come on it.
    pub(super) fn accept_head(&self) -> TcpStream {
        let mut stream = self.accept();
        read_until(&mut stream, "\r\n\r\n");
        stream
    }
}

/// How long it takes until the other side closes a connection on which nothing comes any more, or
/// what comes is thrown away.
pub(super) fn time_to_end(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut buffer = [0; 65536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return began.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return began.elapsed(),
            Err(error) => panic!("the connection goes on: {error}"),
        }
    }
}
