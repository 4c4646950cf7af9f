//! Listening sockets, and what stands behind each of them.

use std::fs::{self, Permissions};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

use super::limits::WireLimits;
use super::protocols::Protocols;
use super::quic;
use crate::config::NetworkAddress;
use crate::http::Server;
use crate::tls::ConnectionPolicies;

/// A name that is listened at must have been looked up within this time.
pub(crate) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// So many connections may wait to be accepted; the kernel lowers it to its own bound.
const BACKLOG: i32 = 4096;

/// What a listener serves at the moment.
#[repr(align(128))] // Each worker's has its own cache lines.
pub(super) struct Bound {
    pub(super) server: Arc<Server>,
    pub(super) limits: Arc<WireLimits>,
    pub(super) tls: Option<Arc<ConnectionPolicies>>,
    pub(super) protocols: Protocols,
}

impl Bound {
    pub(super) fn new(
        server: Arc<Server>,
        tls: Option<Arc<ConnectionPolicies>>,
        protocols: Protocols,
    ) -> Self {
        Self { limits: Arc::new(server.limits().clone()), server, tls, protocols }
    }

    /// The same, with what connections hold on to made anew.
    fn for_worker(&self) -> Self {
        Self::new(self.server.clone(), self.tls.clone(), self.protocols)
    }
}

/// Where an address is, as the system knows it.
pub(super) enum Place {
    Tcp(SocketAddr),
    /// Of QUIC.
    Udp(SocketAddr),
    /// The file of a Unix socket.
    Unix(PathBuf),
}

impl Place {
    fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Udp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

/// One listening address. It outlives configurations that keep it: a reload only changes what is
/// behind it, so no connection is refused and none that waits is lost.
pub(super) struct Address {
    id: u64,
    place: Place,
    slots: Box<[Arc<Slot>]>,
}

impl Address {
    /// An address with so many workers behind it.
    pub(super) fn new(id: u64, place: Place, bound: &Bound, workers: usize) -> Self {
        let local = place.local();
        let slot = || {
            let bound = ArcSwap::from_pointee(bound.for_worker());
            Arc::new(Slot { id, local, bound, closed: AtomicBool::new(false) })
        };
        Self { id, place, slots: (0..workers).map(|_| slot()).collect() }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The address with its port; nothing for a Unix socket.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.place.local()
    }

    /// Whether connections come by QUIC.
    pub(super) fn is_quic(&self) -> bool {
        matches!(self.place, Place::Udp(_))
    }

    /// The address is given up: connections on it end after their present answers. The file of a Unix
    /// socket goes.
    pub(super) fn close(&self) {
        for slot in &self.slots {
            slot.closed.store(true, Ordering::Relaxed);
        }
        if let Place::Unix(path) = &self.place
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(target: "http", file = %path.display(), %error, "removing the socket failed");
        }
    }

    /// Puts something else behind it.
    pub(super) fn rebind(&self, bound: &Bound) {
        for slot in &self.slots {
            slot.bound.store(Arc::new(bound.for_worker()));
        }
    }

    /// What the workers know of it, for each its own.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.slots.iter()
    }
}

/// What one worker knows of a listening address. Every connection and every request holds on to some of
/// it, so no two workers share one.
#[repr(align(128))]
pub(super) struct Slot {
    id: u64,
    local: Option<SocketAddr>,
    bound: ArcSwap<Bound>,
    closed: AtomicBool,
}

impl Slot {
    /// The number of the address.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The address with its port; nothing for a Unix socket.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Whether the address was given up.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// What is behind the address now.
    pub(super) fn bound(&self) -> Arc<Bound> {
        self.bound.load_full()
    }
}

/// A listening socket that one worker accepts from.
pub(super) enum Listener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
    Quic(quic::Socket),
}

/// Opens one TCP socket for each worker on the same address. The kernel spreads connections over
/// them, so that no two workers share a queue.
///
/// Returns the address too: if the port was to be chosen, it has been.
pub(super) fn listen_tcp(address: SocketAddr, workers: usize) -> io::Result<(Vec<Listener>, SocketAddr)> {
    let first = socket(address)?;
    let local = first.local_addr()?;
    let mut listeners = vec![Listener::Tcp(first)];
    for _ in 1..workers {
        listeners.push(Listener::Tcp(socket(local)?));
    }
    Ok((listeners, local))
}

/// Opens the sockets of QUIC at the same address, for as many workers as can have one.
pub(super) fn listen_quic(address: SocketAddr, workers: usize) -> io::Result<(Vec<Listener>, SocketAddr)> {
    let (sockets, local) = quic::listen(address, workers)?;
    let workers = sockets.len();
    let sockets = (0..=u8::MAX).zip(sockets);
    let listeners =
        sockets.map(|(worker, socket)| Listener::Quic(quic::Socket { socket, worker, workers })).collect();
    Ok((listeners, local))
}

/// Where an address is. A name is looked up on the blocking pool, and not for ever.
pub(super) async fn locate(address: &NetworkAddress) -> io::Result<SocketAddr> {
    let host = address.host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.parse::<IpAddr>().is_ok() {
        return resolve(address);
    }
    let address = address.clone();
    let looking = tokio::task::spawn_blocking(move || resolve(&address));
    match tokio::time::timeout(LOOKUP_TIMEOUT, looking).await {
        Ok(found) => found.map_err(io::Error::other)?,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "looking up the name took too long")),
    }
}

/// Without a host, all addresses of both families, as in Go.
fn resolve(address: &NetworkAddress) -> io::Result<SocketAddr> {
    let (host, port) = (address.host.as_str(), address.start_port);
    let fits = |found: &SocketAddr| match address.network.as_str() {
        "tcp4" => found.is_ipv4(),
        "tcp6" => found.is_ipv6(),
        _ => true,
    };
    if host.is_empty() && address.network == "tcp4" {
        return Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    if host.is_empty() {
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let has_ipv6 = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))
            .and_then(|probe| probe.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()))
            .is_ok();
        return Ok(if has_ipv6 { both } else { SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)) });
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses =
        std::net::ToSocketAddrs::to_socket_addrs(&(host, port))?.filter(fits).collect::<Vec<_>>();
    // A name such as localhost means its IPv4 address first, as in Go.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.into_iter().next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))
}

fn socket(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit this, which saves a call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    accept_with_data(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Has the kernel hand over a connection with its first bytes: of all that we speak the client says the
/// first word. So nobody is woken for a connection of which nothing can be known yet, and few have to be
/// waited for. A client that stays silent is handed over after a second or so.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[expect(unsafe_code, reason = "no crate at hand sets this option")]
fn accept_with_data(socket: &Socket) {
    use std::os::fd::AsRawFd as _;
    let seconds: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the value is an integer that lives through the call, whose size is
    // said with it.
    let set = unsafe {
        let value = (&raw const seconds).cast();
        let length = size_of_val(&seconds) as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, value, length)
    };
    if set != 0 {
        // It costs a little more without.
        let error = io::Error::last_os_error();
        tracing::debug!(target: "http", %error, "accepting connections with their data");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn accept_with_data(_: &Socket) {}

/// Opens a Unix socket, in the place of one that a dead process has left behind. It has its mode before
/// anyone can connect.
pub(crate) fn listen_unix(path: &Path, mode: u32) -> io::Result<std::os::unix::net::UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && is_dead(path)? {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // The file that `bind` makes takes over the mode of the socket, less the umask.
    fs::File::from(socket.as_fd().try_clone_to_owned()?).set_permissions(Permissions::from_mode(mode))?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether nobody listens at a socket's file any more. Somebody who is busy does not make this wait.
fn is_dead(path: &Path) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    let connected = probe.connect(&SockAddr::unix(path)?);
    Ok(connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// What connections come over.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// The address that the connection came to.
    fn local(&self) -> Option<SocketAddr>;

    /// Has the kernel ask now and then whether the client is still there.
    fn keep_alive(&self, params: &TcpKeepalive);

    /// Tells of the client's end, even if nobody reads what the client sent before.
    ///
    /// # Errors
    /// There is no descriptor left for it.
    fn gone(&self) -> io::Result<Gone>;
}

/// Is ready once a client has ended its side of the connection.
pub(super) type Gone = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whom this interest wakes learns of a peer's end, but not of every byte.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) const END: Interest = Interest::PRIORITY;
/// Elsewhere nothing tells them apart; then a stalled client counts as there until it is read from.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) const END: Interest = Interest::ERROR;

impl Transport for UnixStream {
    fn local(&self) -> Option<SocketAddr> {
        None
    }

    fn keep_alive(&self, _: &TcpKeepalive) {}

    fn gone(&self) -> io::Result<Gone> {
        let same = UnixStream::from_std(self.as_fd().try_clone_to_owned()?.into())?;
        Ok(Box::pin(async move { drop(same.ready(END).await) }))
    }
}

impl<T: Transport> Transport for Rewind<T> {
    fn local(&self) -> Option<SocketAddr> {
        self.io.local()
    }

    fn keep_alive(&self, params: &TcpKeepalive) {
        self.io.keep_alive(params);
    }

    fn gone(&self) -> io::Result<Gone> {
        self.io.gone()
    }
}

impl<T: Transport> Transport for tokio_rustls::server::TlsStream<T> {
    fn local(&self) -> Option<SocketAddr> {
        self.get_ref().0.local()
    }

    fn keep_alive(&self, params: &TcpKeepalive) {
        self.get_ref().0.keep_alive(params);
    }

    fn gone(&self) -> io::Result<Gone> {
        self.get_ref().0.gone()
    }
}

/// A stream of which the beginning has already been read.
pub(super) struct Rewind<T> {
    first: Bytes,
    io: T,
}

impl<T> Rewind<T> {
    pub(super) fn new(io: T, first: Bytes) -> Self {
        Self { first, io }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewind<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            let part = buf.remaining().min(this.first.len());
            buf.put_slice(&this.first.split_to(part));
            if this.first.is_empty() {
                this.first = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewind<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
