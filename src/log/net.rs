//! Logs sent to a socket: a collector's TCP port, a UDP port, a unix socket.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use super::modules::default_encoder;
use super::outlet::{Batch, Outlet, Output};
use super::stream::stderr;
use crate::config::NetworkAddress;

/// Connecting takes no longer than this unless the configuration says otherwise.
const DIAL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// A collector that takes nothing for so long is as good as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that broke is tried anew this often at most.
const REDIAL_INTERVAL: Duration = Duration::from_secs(10);

/// A socket as the configuration wants it.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// Where it is.
    pub address: NetworkAddress,
    /// How long connecting may take.
    pub dial_timeout: Option<Duration>,
    /// Whether a collector that is not there yet is no error.
    pub soft_start: bool,
}

/// A connection to a collector. While there is none, entries go to standard error.
pub struct NetOutput {
    options: NetOptions,
    connection: Option<Connection>,
    dialed: Instant,
    /// Standard error, once it has been needed.
    instead: Option<Arc<Outlet>>,
}

enum Connection {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Unix(UnixStream),
    UnixDatagram(UnixDatagram),
}

impl NetOutput {
    /// Connects.
    ///
    /// # Errors
    /// The collector can't be reached, and `soft_start` is off.
    pub fn open(options: NetOptions) -> io::Result<Self> {
        let connection = match Connection::dial(&options) {
            Ok(connection) => Some(connection),
            Err(error) if options.soft_start => {
                let address = options.address.to_string();
                tracing::warn!(
                    target: "log", %address, %error,
                    "connecting to the log collector failed; entries go to standard error until it is there"
                );
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self { options, connection, dialed: Instant::now(), instead: None })
    }

    fn send(&mut self, batch: &Batch) -> io::Result<()> {
        let Some(connection) = &mut self.connection else { return Err(io::ErrorKind::NotConnected.into()) };
        connection.send(batch)
    }

    /// Writes to standard error instead, by its own queue.
    fn divert(&mut self, batch: &Batch) {
        if self.instead.is_none() {
            self.instead = Outlet::open(stderr(), default_encoder(false)).ok();
        }
        if let Some(outlet) = &self.instead {
            batch.entries().for_each(|entry| outlet.push(entry));
        }
    }
}

impl Output for NetOutput {
    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        let Err(error) = self.send(batch) else {
            self.instead = None;
            return Ok(());
        };
        if self.dialed.elapsed() >= REDIAL_INTERVAL || self.connection.is_some() {
            self.dialed = Instant::now();
            self.connection = Connection::dial(&self.options).ok();
            if self.connection.is_some() && self.send(batch).is_ok() {
                self.instead = None;
                return Ok(());
            }
            self.connection = None;
        }
        self.divert(batch);
        Err(error)
    }
}

impl Connection {
    fn dial(options: &NetOptions) -> io::Result<Self> {
        let timeout = options.dial_timeout.unwrap_or(DIAL_TIMEOUT_DEFAULT);
        let address = &options.address;
        let host_port = address.join_host_port();
        let path = || address.unix_path().map(|(path, _)| path).map_err(io::Error::other);
        match address.network.as_str() {
            "unix" => {
                let path = path()?.to_owned();
                let stream = within(timeout, move || UnixStream::connect(path))?;
                stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                Ok(Self::Unix(stream))
            }
            "unixgram" => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path()?)?;
                socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
                Ok(Self::UnixDatagram(socket))
            }
            "udp" | "udp4" | "udp6" => {
                let to = *resolve(&host_port, timeout)?.first().ok_or(io::ErrorKind::AddrNotAvailable)?;
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                socket.connect(to)?;
                Ok(Self::Udp(socket))
            }
            "tcp" | "tcp4" | "tcp6" => {
                let mut error = io::ErrorKind::AddrNotAvailable.into();
                for to in resolve(&host_port, timeout)? {
                    match TcpStream::connect_timeout(&to, timeout) {
                        Ok(stream) => {
                            stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                            return Ok(Self::Tcp(stream));
                        }
                        Err(failed) => error = failed,
                    }
                }
                Err(error)
            }
            other => {
                Err(io::Error::new(io::ErrorKind::Unsupported, format!("logs can't be sent by {other}")))
            }
        }
    }

    /// Sends a batch: as it is by a stream, one entry a datagram otherwise.
    fn send(&mut self, batch: &Batch) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(batch.bytes()),
            Self::Unix(stream) => stream.write_all(batch.bytes()),
            Self::Udp(socket) => batch.entries().try_for_each(|entry| socket.send(entry).map(drop)),
            Self::UnixDatagram(socket) => batch.entries().try_for_each(|entry| socket.send(entry).map(drop)),
        }
    }
}

/// The addresses of a host. The system looks names up as long as it likes; we wait so long.
fn resolve(host_port: &str, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host_port.parse() {
        return Ok(vec![address]);
    }
    let host_port = host_port.to_owned();
    within(limit, move || host_port.to_socket_addrs().map(Iterator::collect))
}

/// Does what may block on a thread of its own, and waits for it so long. A thread that hangs ends with
/// what it hangs on.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, outcome) = sync_channel(1);
    std::thread::Builder::new().name("log-dial".into()).spawn(move || {
        // Nobody may be waiting any more.
        let _ = done.send(work());
    })?;
    match outcome.recv_timeout(limit) {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;

    fn options(address: &str, soft_start: bool) -> NetOptions {
        let address = NetworkAddress::parse_with_defaults(address, "tcp", 0).unwrap();
        NetOptions { address, dial_timeout: Some(Duration::from_secs(5)), soft_start }
    }

    #[test]
    fn what_hangs_is_given_up_in_time() {
        assert_eq!(within(Duration::from_secs(5), || Ok(7)).unwrap(), 7);
        let hanging = || {
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        };
        let error = within(Duration::from_millis(50), hanging).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(resolve("127.0.0.1:9", Duration::ZERO).unwrap(), [address]);
        assert!(resolve("localhost:9", Duration::from_secs(5)).unwrap().contains(&address));
    }

    fn batch(entries: &[&str]) -> Batch {
        let mut batch = Batch::default();
        entries.iter().for_each(|entry| batch.push(entry.as_bytes()));
        batch
    }

    #[test]
    fn entries_reach_a_collector_and_a_broken_connection_is_made_anew() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut output = NetOutput::open(options(&format!("tcp/{address}"), false)).unwrap();
        let (first, _) = listener.accept().unwrap();
        output.write(&batch(&["a\n", "b\n"])).unwrap();
        let mut lines = BufReader::new(first).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "a");
        assert_eq!(lines.next().unwrap().unwrap(), "b");
        drop(lines);
        // The first write after the other side has gone may still be taken by the kernel.
        let deadline = Instant::now() + Duration::from_secs(10);
        listener.set_nonblocking(true).unwrap();
        let second = loop {
            output.write(&batch(&["c\n"])).unwrap();
            if let Ok((second, _)) = listener.accept() {
                break second;
            }
            assert!(Instant::now() < deadline, "no second connection");
            std::thread::sleep(Duration::from_millis(5));
        };
        second.set_nonblocking(false).unwrap();
        assert_eq!(BufReader::new(second).lines().next().unwrap().unwrap(), "c");
    }

    #[test]
    fn an_entry_is_a_datagram() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let address = socket.local_addr().unwrap();
        let mut output = NetOutput::open(options(&format!("udp/{address}"), false)).unwrap();
        output.write(&batch(&["a\n", "b\n"])).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 2);
        assert_eq!(&buffer[..2], b"a\n");
    }

    #[test]
    fn a_collector_that_is_not_there() {
        // A port that was just free.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(NetOutput::open(options(&address.to_string(), false)).is_err());
        let mut output = NetOutput::open(options(&address.to_string(), true)).unwrap();
        assert!(output.write(&batch(&[])).is_err());
    }
}
