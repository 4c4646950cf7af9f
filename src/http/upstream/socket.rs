//! Opening a TCP connection: by whose word, from which of our addresses, to which of theirs.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

use super::TransportOptions;
use super::error::in_lookup;
use crate::dns::Families;

/// Connects to a host.
pub(super) async fn open(host: &str, port: u16, options: &TransportOptions) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = match &options.resolver {
        None => {
            let found = tokio::net::lookup_host((host, port)).await;
            found.map_err(|error| in_lookup(host, error))?.collect()
        }
        Some(resolver) => {
            let families = options.local_address.map_or(Families::BOTH, |local| Families::of(local.ip()));
            let addresses = resolver.addresses(host, families).await;
            let addresses = addresses.map_err(|error| in_lookup(host, error))?;
            addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
        }
    };
    let stream = open_any(&addresses, options.local_address, options.fallback_delay).await?;
    stream.set_nodelay(true)?;
    if let Some(interval) = options.probe_interval {
        let probes = TcpKeepalive::new().with_time(interval).with_interval(interval);
        SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    }
    Ok(stream)
}

/// Connects to the first address that can be reached. If there are some of both families, the second
/// family gets its chance after `fallback_delay` (RFC 8305), so that a route that swallows packets
/// costs no more than that.
async fn open_any(
    addresses: &[SocketAddr],
    local: Option<SocketAddr>,
    fallback_delay: Option<Duration>,
) -> io::Result<TcpStream> {
    // From an address of ours, only those of its family can be reached.
    let fits = |address: &&SocketAddr| local.is_none_or(|local| local.is_ipv4() == address.is_ipv4());
    let addresses: Vec<SocketAddr> = addresses.iter().filter(fits).copied().collect();
    let first_family = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.iter().partition(|address| address.is_ipv4() == first_family);
    let (Some(delay), false) = (fallback_delay, second.is_empty()) else {
        return open_first(&addresses, local).await;
    };
    let mut preferred = pin!(open_first(&first, local));
    tokio::select! {
        result = &mut preferred => match result {
            Ok(stream) => return Ok(stream),
            Err(_) => return open_first(&second, local).await,
        },
        () = tokio::time::sleep(delay) => {}
    }
    let mut fallback = pin!(open_first(&second, local));
    tokio::select! {
        result = &mut preferred => match result {
            Ok(stream) => Ok(stream),
            Err(_) => fallback.await,
        },
        result = &mut fallback => match result {
            Ok(stream) => Ok(stream),
            Err(_) => preferred.await,
        },
    }
}

/// Tries one address after the other.
async fn open_first(addresses: &[SocketAddr], local: Option<SocketAddr>) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no such host");
    for address in addresses {
        match connect(*address, local).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn connect(address: SocketAddr, local: Option<SocketAddr>) -> io::Result<TcpStream> {
    let Some(local) = local else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // With a fixed port, a connection that has just ended must not stand in the way.
    socket.set_reuseaddr(true)?;
    socket.bind(local)?;
    socket.connect(address).await
}
