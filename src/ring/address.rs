//! Peer and local addresses of a connection.

use nix::errno::Errno;
use nix::sys::socket::{SockaddrStorage, getpeername, getsockname};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What one call costs.
pub(super) const SYSCALLS: u64 = 2;

/// Peer first. `Unsupported` for a socket without IP addresses, `NotConnected` when the peer is gone.
pub(super) fn addresses(fd: BorrowedFd<'_>) -> io::Result<(SocketAddr, SocketAddr)> {
    let peer = getpeername::<SockaddrStorage>(fd.as_raw_fd())?;
    let local = getsockname::<SockaddrStorage>(fd.as_raw_fd())?;
    Ok((ip_address(&peer)?, ip_address(&local)?))
}

fn ip_address(address: &SockaddrStorage) -> io::Result<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Ok(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    if let Some(v6) = address.as_sockaddr_in6() {
        return Ok(SocketAddr::new(v6.ip().into(), v6.port()));
    }
    Err(Errno::EAFNOSUPPORT.into())
}
