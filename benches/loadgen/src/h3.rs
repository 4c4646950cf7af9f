//! Small requests over HTTP/3, several streams at a time on each connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::answer::invalid;
use crate::client::{Tally, together, within};
use crate::options::Options;

/// The name in the gateway's certificate.
const NAME: &str = "localhost";

type Sender = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

/// Asks for `/` until the time is over, with `streams` requests under way on each connection. Unit: an
/// answered request.
pub async fn run(options: &Options) -> io::Result<()> {
    let deadline = Instant::now() + options.duration;
    let config = config(options)?;
    together(options, move |options, tally| {
        let config = config.clone();
        async move {
            if let Err(error) = connection(&options, config, deadline, &tally).await {
                tally.borrow_mut().record(Err(error));
            }
        }
    })
    .await
}

/// A client that trusts the certificate in the file `--trust`, and nothing else.
fn config(options: &Options) -> io::Result<quinn::ClientConfig> {
    let certificate = CertificateDer::from_pem_file(&options.trust).map_err(io::Error::other)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let tls = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    Ok(quinn::ClientConfig::new(Arc::new(tls)))
}

async fn connection(
    options: &Options,
    config: quinn::ClientConfig,
    deadline: Instant,
    tally: &Rc<RefCell<Tally>>,
) -> io::Result<()> {
    // One socket for each connection, so that the kernel spreads them as it does those of many clients.
    let endpoint = quinn::Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
    let connecting = endpoint.connect_with(config, options.to, NAME).map_err(io::Error::other)?;
    let connection = within(async { connecting.await.map_err(io::Error::other) }).await?;
    let http = h3::client::new(h3_quinn::Connection::new(connection)).await;
    let (mut driver, send) = http.map_err(io::Error::other)?;
    let driver = tokio::task::spawn_local(async move { poll_fn(|cx| driver.poll_close(cx)).await });
    let streams: Vec<_> = (0..options.streams)
        .map(|_| {
            let (options, tally, send) = (options.clone(), Rc::clone(tally), send.clone());
            tokio::task::spawn_local(async move { repeat(&options, send, deadline, &tally).await })
        })
        .collect();
    for stream in streams {
        stream.await.map_err(io::Error::other)?;
    }
    // The connection ends with its last sender.
    drop(send);
    driver.await.map_err(io::Error::other)?;
    endpoint.wait_idle().await;
    Ok(())
}

async fn repeat(options: &Options, mut send: Sender, deadline: Instant, tally: &RefCell<Tally>) {
    while Instant::now() < deadline {
        let outcome = within(ask(options, &mut send)).await;
        let failed = outcome.is_err();
        tally.borrow_mut().record(outcome);
        if failed {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Asks once, and checks the answer.
async fn ask(options: &Options, send: &mut Sender) -> io::Result<u64> {
    let request = http::Request::get(format!("https://{NAME}:{}/", options.to.port()));
    let request = request.header("user-agent", "ollama-python/0.6").header("accept", "*/*");
    let request = request.body(()).map_err(io::Error::other)?;
    let mut stream = send.send_request(request).await.map_err(io::Error::other)?;
    stream.finish().await.map_err(io::Error::other)?;
    let head = stream.recv_response().await.map_err(io::Error::other)?;
    if head.status() != 200 {
        return Err(invalid(format!("status {} instead of 200", head.status())));
    }
    let mut left = options.expect.as_bytes();
    while let Some(mut data) = stream.recv_data().await.map_err(io::Error::other)? {
        while data.has_remaining() {
            let part = data.chunk();
            left = left.strip_prefix(part).ok_or_else(|| invalid("a body with other content"))?;
            let length = part.len();
            data.advance(length);
        }
    }
    if left.is_empty() { Ok(1) } else { Err(invalid("a body cut short")) }
}
