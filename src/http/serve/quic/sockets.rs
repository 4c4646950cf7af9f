//! The UDP sockets of QUIC: one for each worker at the same address, and a connection's packets always
//! for the same one.
//!
//! The kernel spreads packets by the ends they come from and go to, and a client's address may change.
//! So a program in the kernel picks the socket by the connection id that a packet is for, where the
//! worker that has made the id up has left its number ([`WorkerIds`]). A new connection's first packets
//! are for an id that the client has made up, and so for any worker, but all for the same one.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, Runtime as _, TokioRuntime, UdpPoller};
use socket2::{Domain, Protocol, Socket, Type};

/// A connection id of ours: one byte that tells the worker, and chance.
const ID_BYTES: usize = 8;
/// So many workers can be told by one byte; further ones get no packets.
const WORKERS_MAX: usize = 255;
/// So much may wait in a socket, in bytes; the kernel lowers it to its own bound.
const QUEUE_BYTES: usize = 1024 * 1024;

/// Opens UDP sockets at an address: one for each worker in their order, or one alone if another
/// process has some there too, since nobody knows their order then.
///
/// Returns the address too: if the port was to be chosen, it has been.
pub(in super::super) fn listen(
    address: SocketAddr,
    workers: usize,
) -> io::Result<(Vec<UdpSocket>, SocketAddr)> {
    let is_alone = socket(address, false).is_ok();
    let first = socket(address, true)?;
    let local = first.local_addr()?;
    let mut sockets = vec![first];
    if !is_alone {
        tracing::warn!(target: "http", %address, "others have the UDP port too: one worker serves HTTP/3 there");
        return Ok((sockets, local));
    }
    for _ in 1..workers.min(WORKERS_MAX) {
        sockets.push(socket(local, true)?);
    }
    if sockets.len() > 1
        && let Err(error) = steer(&sockets[0], sockets.len())
    {
        tracing::warn!(target: "http", %address, %error, "telling packets apart: one worker serves HTTP/3 there");
        sockets.truncate(1);
    }
    Ok((sockets, local))
}

fn socket(address: SocketAddr, is_shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    if is_shared {
        socket.set_recv_buffer_size(QUEUE_BYTES)?;
        socket.set_send_buffer_size(QUEUE_BYTES)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Has the kernel pick, among the sockets that were bound to the same address, the one whose place in
/// that order is the first byte of a packet's destination connection id, modulo their number.
#[cfg(target_os = "linux")]
fn steer(first: &UdpSocket, workers: usize) -> io::Result<()> {
    use libc::{BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_MOD, BPF_RET};
    /// The first byte of a packet with a long header has this bit (RFC 8999 section 5.1).
    const LONG: u32 = 0x80;
    /// Where the id begins behind a long header's version and the id's length, and in a short header.
    const ID_IN_LONG: u32 = 6;
    const ID_IN_SHORT: u32 = 1;
    let workers = u32::try_from(workers).map_err(io::Error::other)?;
    let step = |code: u32, jt, jf, k| -> io::Result<libc::sock_filter> {
        Ok(libc::sock_filter { code: u16::try_from(code).map_err(io::Error::other)?, jt, jf, k })
    };
    // What is too short for this ends the program with 0.
    let program = [
        step(BPF_LD | BPF_B | BPF_ABS, 0, 0, 0)?,
        step(BPF_JMP | BPF_JSET | BPF_K, 0, 2, LONG)?,
        step(BPF_LD | BPF_B | BPF_ABS, 0, 0, ID_IN_LONG)?,
        step(BPF_JMP | libc::BPF_JA, 0, 0, 1)?,
        step(BPF_LD | BPF_B | BPF_ABS, 0, 0, ID_IN_SHORT)?,
        step(BPF_ALU | BPF_MOD | BPF_K, 0, 0, workers)?,
        step(BPF_RET | BPF_A, 0, 0, 0)?,
    ];
    let mut program = program;
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    set_option(first, libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &filter)
}

#[cfg(not(target_os = "linux"))]
fn steer(_: &UdpSocket, _: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Has the kernel hand over packets one by one. Gathered ones come to the socket of the first of them,
/// and a client may send those of several connections from one port.
#[cfg(target_os = "linux")]
fn ungather(socket: &UdpSocket) -> io::Result<()> {
    const OFF: libc::c_int = 0;
    set_option(socket, libc::SOL_UDP, libc::UDP_GRO, &OFF)
}

#[cfg(not(target_os = "linux"))]
fn ungather(_: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Sets an option that neither the standard library nor socket2 has.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "there is no safe call for these options")]
fn set_option<T>(socket: &UdpSocket, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, since `socket` is borrowed. The kernel only reads the `length` bytes
    // of `value`, which is borrowed too, and what a program's `filter` points to, which its one caller
    // keeps until after the call; it has copied both when it returns.
    let outcome = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes up connection ids that lead to one worker.
pub(super) struct WorkerIds {
    /// The worker's place.
    pub(super) worker: u8,
    /// How many have a place.
    pub(super) workers: usize,
}

impl ConnectionIdGenerator for WorkerIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0_u8; ID_BYTES];
        getrandom::fill(&mut id).expect("invariant: the system has random numbers, or TLS would have none");
        id[0] = steering(id[0], self.worker, self.workers);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// A byte that is `worker` modulo `workers`, and otherwise chance.
fn steering(chance: u8, worker: u8, workers: usize) -> u8 {
    let workers = u8::try_from(workers).unwrap_or(u8::MAX).max(1);
    let base = chance - chance % workers;
    // The last step may lead out of a byte.
    base.checked_add(worker).unwrap_or(worker)
}

/// A socket that hands over packets one by one.
pub(super) struct Datagrams(Arc<dyn AsyncUdpSocket>);

impl Datagrams {
    /// Enlists a socket with the runtime.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let same = socket.try_clone()?;
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        // It has just been switched on.
        ungather(&same)?;
        Ok(Self(inner))
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsyncUdpSocket for Datagrams {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.0.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        1
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_to_its_worker_and_is_chance_otherwise() {
        for workers in [1_usize, 2, 3, 7, 64, 255] {
            for worker in 0..workers.min(8) {
                let worker = u8::try_from(worker).unwrap();
                for chance in 0..=u8::MAX {
                    let byte = steering(chance, worker, workers);
                    assert_eq!(usize::from(byte) % workers, usize::from(worker), "{chance} of {workers}");
                }
            }
        }
        let mut ids = WorkerIds { worker: 1, workers: 2 };
        let (first, second) = (ids.generate_cid(), ids.generate_cid());
        assert!(first != second && first.len() == ID_BYTES);
    }
}
