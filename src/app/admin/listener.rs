//! The socket of the admin endpoint.

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::config::NetworkAddress;
use crate::http::serve::{LOOKUP_TIMEOUT, listen_unix};

/// So many connections may wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket that listens, and that nobody accepts from yet.
pub struct Bound {
    /// The address as it was asked for.
    pub(super) address: NetworkAddress,
    pub(super) socket: Listening,
}

/// The listening socket itself.
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "the file lives as long as the socket")] SocketFile),
}

/// A byte stream of a client.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The file of a Unix socket; it goes when this is dropped.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(target: "admin", file = %self.0.display(), %error, "removing the socket failed");
        }
    }
}

impl Bound {
    /// Opens the socket. Unlike those of sites it isn't shared with another process, so that two
    /// instances never answer at one admin address in turn.
    ///
    /// # Errors
    /// The address can't be had, or its name takes too long to look up.
    pub async fn open(address: &NetworkAddress) -> io::Result<Self> {
        let address = address.clone();
        // Looking up a name may take any time.
        let opening = tokio::task::spawn_blocking(move || Self::open_now(&address));
        match tokio::time::timeout(LOOKUP_TIMEOUT, opening).await {
            Ok(opened) => opened.map_err(io::Error::other)?,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "looking up the name took too long")),
        }
    }

    fn open_now(address: &NetworkAddress) -> io::Result<Self> {
        let socket = if address.is_unix() {
            let (path, mode) = address.unix_path().map_err(io::Error::other)?;
            let path = Path::new(path);
            let listener = UnixListener::from_std(listen_unix(path, mode)?)?;
            Listening::Unix(listener, SocketFile(path.to_owned()))
        } else {
            Listening::Tcp(open_tcp(address)?)
        };
        Ok(Self { address: address.clone(), socket })
    }

    /// The address with the port that the system has chosen, if it was to choose.
    pub(super) fn actual_address(&self) -> NetworkAddress {
        let mut address = self.address.clone();
        if let Listening::Tcp(listener) = &self.socket
            && address.start_port == 0
            && let Ok(local) = listener.local_addr()
        {
            (address.start_port, address.end_port) = (local.port(), local.port());
        }
        address
    }
}

impl Listening {
    /// The next client, with its address for the log.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Box::new(stream), peer.to_string()))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), String::new()))
            }
        }
    }
}

fn open_tcp(address: &NetworkAddress) -> io::Result<TcpListener> {
    let target = resolve(address)?;
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    if target.is_ipv6() {
        socket.set_only_v6(!target.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&target.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The first address of a name, IPv4 before IPv6 as in Go; every interface if there is no name.
fn resolve(address: &NetworkAddress) -> io::Result<SocketAddr> {
    let host = if address.host.is_empty() { "::" } else { address.host.as_str() };
    let mut found: Vec<SocketAddr> = (host, address.start_port).to_socket_addrs()?.collect();
    found.retain(|found| match address.network.as_str() {
        "tcp4" => found.is_ipv4(),
        "tcp6" => found.is_ipv6(),
        _ => true,
    });
    found.sort_by_key(SocketAddr::is_ipv6);
    found.into_iter().next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    async fn open(address: &str) -> io::Result<Bound> {
        Bound::open(&address.parse().unwrap()).await
    }

    #[tokio::test]
    async fn localhost_is_its_ipv4_address() {
        let bound = open("localhost:0").await.unwrap();
        let actual = bound.actual_address();
        assert_ne!(actual.start_port, 0);
        let Listening::Tcp(listener) = &bound.socket else { panic!("no TCP socket") };
        assert_eq!(listener.local_addr().unwrap().ip(), std::net::Ipv4Addr::LOCALHOST);
        let again = open(&actual.to_string()).await;
        assert_eq!(again.err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
    }

    #[tokio::test]
    async fn a_unix_socket_is_its_owner_s_and_goes_with_us() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let address = format!("unix/{}", path.display());
        let bound = open(&address).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o200);
        let again = open(&address).await;
        assert_eq!(again.err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_but_no_other_file() {
        let directory = tempfile::tempdir().unwrap();
        let dead = directory.path().join("dead.sock");
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        assert!(open(&format!("unix/{}|0220", dead.display())).await.is_ok());
        let file = directory.path().join("file");
        fs::write(&file, "kept").unwrap();
        assert!(open(&format!("unix/{}", file.display())).await.is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    }
}
