//! One DNS server: where it is, and how it is asked.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::message::{self, Answer, Kind, UDP_BYTES_MAX};
use super::{PORT, no_such};
use crate::config::{NetworkAddress, join_host_port};

/// A DNS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) over_tcp: bool,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join_host_port(&self.host, &self.port.to_string()))
    }
}

impl Server {
    /// Reads an address, whose port is 53 unless it says another.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |problem: String| format!("resolver '{text}': {problem}");
        // Without a network, an address that is nothing but a host gets the usual port.
        let bare: Result<IpAddr, _> = text.trim_start_matches('[').trim_end_matches(']').parse();
        if let Ok(ip) = bare {
            return Ok(Self { host: ip.to_string(), port: PORT, over_tcp: false });
        }
        let address: NetworkAddress = text.parse().map_err(|error| wrong(format!("{error}")))?;
        let is_default = !text.contains('/');
        let over_tcp = match &*address.network {
            "tcp" | "tcp4" | "tcp6" => !is_default,
            "udp" | "udp4" | "udp6" => false,
            network => return Err(wrong(format!("network {network} can't be asked"))),
        };
        if address.port_count() > 1 {
            return Err(wrong("resolver address must have exactly one address; cannot be a range".into()));
        }
        let port = if address.start_port == 0 { PORT } else { address.start_port };
        let host = address.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, over_tcp })
    }

    /// The first address of the server.
    pub(super) async fn address(&self) -> io::Result<SocketAddr> {
        let mut addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        addresses.next().ok_or_else(|| no_such(&self.host))
    }

    /// What the server says; over TCP if it does not fit otherwise.
    pub(super) async fn ask(&self, question: &[u8], kind: Kind) -> io::Result<Answer> {
        let address = self.address().await?;
        if !self.over_tcp {
            match ask_udp(address, question, kind).await? {
                Answer::Truncated => {}
                answer => return Ok(answer),
            }
        }
        ask_tcp(address, question, kind).await
    }
}

async fn ask_udp(server: SocketAddr, question: &[u8], kind: Kind) -> io::Result<Answer> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    // The kernel drops what comes from anyone else.
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; usize::from(UDP_BYTES_MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What is no answer to the question may be a forgery: the real one is still waited for.
        if let Some(answer) = message::answer(question, &buffer[..length], kind) {
            return Ok(answer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, question: &[u8], kind: Kind) -> io::Result<Answer> {
    let bytes = exchange_tcp(server, question).await?;
    message::answer(question, &bytes, kind).ok_or_else(malformed)
}

/// Sends one message and reads one (RFC 1035 4.2.2). The caller has the deadline.
pub(super) async fn exchange_tcp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], message].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    Ok(buffer)
}

pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a malformed DNS answer")
}
