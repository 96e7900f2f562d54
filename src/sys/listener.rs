//! Listening sockets: one per worker and address, all on one port (`SO_REUSEPORT`), so that the kernel spreads connections and
//! no worker ever waits for another to accept.
//!
//! Options set on a listener are inherited by what it accepts (Linux), which saves two system calls per connection.
//! Sockets that are there already, from a service manager, join in `inherited.rs`.

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How to listen.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Empty: everywhere, IPv6 and IPv4 (by one dual-stack socket, or IPv4 alone where IPv6 is off).
    pub bind: Vec<IpAddr>,
    /// 0: any free port, the same for all.
    pub port: u16,
    /// The flag that chose the port, for what is said of it.
    pub port_flag: &'static str,
    pub workers: usize,
    pub backlog: u32,
    /// Seconds until the first probe; 0: none.
    pub keepalive_s: u32,
    /// How long a taken port is tried again.
    pub retry: Duration,
}

/// What is listened on.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Per worker: for each address at least one socket.
    pub per_worker: Vec<Vec<ListenSocket>>,
    /// The addresses, with the port that was taken.
    pub addresses: Vec<SocketAddr>,
    /// Whether the sockets of an address were there before this process.
    pub inherited: Vec<bool>,
}

/// One socket of one worker.
#[derive(Debug)]
pub struct ListenSocket {
    pub fd: OwnedFd,
    /// Which of the addresses.
    pub number: u8,
    /// Whether other workers accept from it as well.
    pub shared: bool,
}

/// Why an address could not be listened on: what, likely why, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}\n  {}", source.desc(), hint(*address, *flags, *source))]
pub struct BindError {
    pub address: SocketAddr,
    /// The flags that choose port and address.
    flags: Flags,
    pub source: Errno,
}

impl BindError {
    /// Somebody else listens there.
    pub fn is_taken(&self) -> bool {
        self.source == Errno::EADDRINUSE
    }

    /// What mends it.
    pub fn mend(&self) -> String {
        hint(self.address, self.flags, self.source)
    }

    /// Why, as the system says it.
    pub fn reason(&self) -> &'static str {
        self.source.desc()
    }
}

#[derive(Clone, Copy, Debug)]
struct Flags {
    port: &'static str,
    bind: &'static str,
}

const ADMIN_FLAGS: Flags = Flags { port: "--admin-port", bind: "--admin-bind" };

fn hint(address: SocketAddr, flags: Flags, errno: Errno) -> String {
    let (port, Flags { port: port_flag, bind: bind_flag }) = (address.port(), flags);
    match errno {
        Errno::EADDRINUSE => format!(
            "Likely another server, perhaps a second kv-server, has port {port}. \
             See which with `ss -ltnp 'sport = :{port}'`, stop it, or choose another with {port_flag}."
        ),
        Errno::EACCES => format!(
            "Ports below 1024 need a privilege. Choose a higher one with {port_flag}, or allow this one with \
             `sysctl net.ipv4.ip_unprivileged_port_start={port}`."
        ),
        Errno::EADDRNOTAVAIL => {
            format!(
                "This machine has no address {}. List its addresses with `ip -brief address`, then set {bind_flag}.",
                address.ip()
            )
        }
        Errno::EAFNOSUPPORT => format!("IPv6 is turned off here. Use an IPv4 address with {bind_flag}."),
        Errno::EMFILE | Errno::ENFILE => {
            "No descriptors are left. Raise the limit with `ulimit -n 65536`.".to_string()
        }
        other => format!("The system call failed with {other:?}."),
    }
}

impl Listeners {
    /// Binds every address for every worker.
    ///
    /// With `SO_REUSEPORT` a second server of the same user would silently share the port and answer half of the
    /// connections, so each address is first claimed alone, without that option.
    pub fn bind(options: &ListenOptions) -> Result<Listeners, BindError> {
        let mut port = options.port;
        let flags = Flags { port: options.port_flag, bind: "--bind" };
        let mut addresses = Vec::new();
        if options.bind.is_empty() {
            addresses.push(claim_everywhere(&mut port, flags, options.retry)?);
        } else {
            for ip in &options.bind {
                addresses.push(claim(*ip, &mut port, flags, options.retry)?);
            }
        }
        let mut per_worker = Vec::new();
        for _ in 0..options.workers {
            let mut sockets = Vec::new();
            for (number, address) in (0u8..).zip(&addresses) {
                let fd = open(*address, options);
                let fd = fd.map_err(|source| BindError { address: *address, flags, source })?;
                sockets.push(ListenSocket { fd, number, shared: false });
            }
            per_worker.push(sockets);
        }
        let inherited = vec![false; addresses.len()];
        Ok(Listeners { per_worker, addresses, inherited })
    }

    /// Whether every address could be listened on now. Each is taken for a moment.
    pub fn try_out(options: &ListenOptions) -> Result<(), BindError> {
        Listeners::bind(&ListenOptions { workers: 0, ..options.clone() }).map(|_| ())
    }

    /// Takes further listeners of the same workers in, behind those that are here.
    pub fn extend(&mut self, more: Listeners) {
        if self.per_worker.is_empty() {
            *self = more;
            return;
        }
        // Addresses are bounded by descriptors long before; the drivers refuse a 257th.
        let first = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        for (own, more) in self.per_worker.iter_mut().zip(more.per_worker) {
            own.extend(more.into_iter().map(|mut socket| {
                socket.number = socket.number.saturating_add(first);
                socket
            }));
        }
        self.addresses.extend(more.addresses);
        self.inherited.extend(more.inherited);
    }
}

/// IPv6 with IPv4 mapped into it, or IPv4 alone where the kernel has no IPv6.
fn claim_everywhere(port: &mut u16, flags: Flags, retry: Duration) -> Result<SocketAddr, BindError> {
    match claim(Ipv6Addr::UNSPECIFIED.into(), port, flags, retry) {
        Err(BindError { source: Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL, .. }) => {
            claim(Ipv4Addr::UNSPECIFIED.into(), port, flags, retry)
        }
        other => other,
    }
}

/// One listener of its own, for the admin pages: not shared, no options.
pub fn bind_one(address: SocketAddr, retry: Duration) -> Result<TcpListener, BindError> {
    let give_up = Instant::now() + retry;
    loop {
        let failed = match socket_for(address).and_then(|fd| listen(fd, address)) {
            Ok(fd) => return Ok(TcpListener::from(fd)),
            Err(failed) => failed,
        };
        if failed != Errno::EADDRINUSE || Instant::now() >= give_up {
            return Err(BindError { address, flags: ADMIN_FLAGS, source: failed });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn listen(fd: OwnedFd, address: SocketAddr) -> Result<OwnedFd, Errno> {
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    socket::listen(&fd, Backlog::new(64)?)?;
    Ok(fd)
}

/// Finds out whether an address is free by binding it alone, and fixes the port if any would do.
fn claim(ip: IpAddr, port: &mut u16, flags: Flags, retry: Duration) -> Result<SocketAddr, BindError> {
    let address = SocketAddr::new(ip, *port);
    let give_up = Instant::now() + retry;
    loop {
        match socket_for(address).and_then(|fd| bound(&fd, address)) {
            Ok(taken) => {
                *port = taken.port();
                return Ok(taken);
            }
            Err(Errno::EADDRINUSE) if Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(5))
            }
            Err(source) => return Err(BindError { address, flags, source }),
        }
    }
}

fn socket_for(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(family, SockType::Stream, flags, None)?;
    // Connections of the last process in TIME_WAIT must not keep the port.
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        // Only the unspecified address takes IPv4 in; a named one is what it says.
        socket::setsockopt(&fd, sockopt::Ipv6V6Only, &!address.ip().is_unspecified())?;
    }
    Ok(fd)
}

fn bound(fd: &OwnedFd, address: SocketAddr) -> Result<SocketAddr, Errno> {
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    // Listening too: two sockets with SO_REUSEADDR may bind one port as long as none of them listens.
    socket::listen(fd, Backlog::new(1)?)?;
    let taken = socket::getsockname::<SockaddrStorage>(fd.as_raw_fd())?;
    let port = taken.as_sockaddr_in().map(|a| a.port()).or(taken.as_sockaddr_in6().map(|a| a.port()));
    Ok(SocketAddr::new(address.ip(), port.unwrap_or(address.port())))
}

fn open(address: SocketAddr, options: &ListenOptions) -> Result<OwnedFd, Errno> {
    let fd = socket_for(address)?;
    socket::setsockopt(&fd, sockopt::ReusePort, &true)?;
    tune(&fd, options.keepalive_s)?;
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    set_backlog(&fd, options.backlog)?;
    Ok(fd)
}

/// What accepted connections inherit.
pub(super) fn tune(fd: &impl AsFd, keepalive_s: u32) -> Result<(), Errno> {
    socket::setsockopt(fd, sockopt::TcpNoDelay, &true)?;
    socket::setsockopt(fd, sockopt::KeepAlive, &(keepalive_s > 0))?;
    if keepalive_s > 0 {
        // As Redis does it: three probes, a third of the time apart.
        socket::setsockopt(fd, sockopt::TcpKeepIdle, &keepalive_s)?;
        socket::setsockopt(fd, sockopt::TcpKeepInterval, &(keepalive_s / 3).max(1))?;
        socket::setsockopt(fd, sockopt::TcpKeepCount, &3)?;
    }
    Ok(())
}

/// Listens; where that has begun already, only the backlog changes.
pub(super) fn set_backlog(fd: &impl AsFd, backlog: u32) -> Result<(), Errno> {
    // nix takes no number beyond the headers' SOMAXCONN, 4096. What it takes for "most" the kernel cuts to net.core.somaxconn.
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    socket::listen(fd, Backlog::new(backlog).unwrap_or(Backlog::MAXALLOWABLE))
}

/// The address as people write it: an IPv4 client of a dual-stack socket is `1.2.3.4`, not `::ffff:1.2.3.4`.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether this machine itself is at the other end.
pub fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl From<BindError> for io::Error {
    fn from(error: BindError) -> io::Error {
        io::Error::new(io::Error::from(error.source).kind(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn options(bind: &[&str], port: u16, workers: usize) -> ListenOptions {
        ListenOptions {
            bind: bind.iter().map(|ip| ip.parse().unwrap()).collect(),
            port,
            port_flag: "--port",
            workers,
            backlog: 64,
            keepalive_s: 60,
            retry: Duration::from_millis(20),
        }
    }

    #[test]
    fn all_workers_share_one_port_and_options_are_inherited() {
        let listeners = Listeners::bind(&options(&["127.0.0.1"], 0, 3)).unwrap();
        assert_eq!(listeners.per_worker.len(), 3);
        let address = listeners.addresses[0];
        assert_ne!(address.port(), 0);
        // Until somebody accepts, connections wait in one of the three queues.
        let client = TcpStream::connect(address).unwrap();
        let accepted = listeners.per_worker.into_iter().flatten().find_map(|socket| {
            let listener = TcpListener::from(socket.fd);
            std::thread::sleep(Duration::from_millis(2));
            listener.accept().ok()
        });
        let (stream, peer) = accepted.expect("one of them has it");
        assert!(stream.nodelay().unwrap());
        assert!(socket::getsockopt(&stream, sockopt::KeepAlive).unwrap());
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[test]
    fn everywhere_takes_ipv4_and_shows_it_as_such() {
        let listeners = Listeners::bind(&options(&[], 0, 1)).unwrap();
        let listener = TcpListener::from(listeners.per_worker.into_iter().flatten().next().unwrap().fd);
        let port = listeners.addresses[0].port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        let (_stream, peer) = listener.accept().unwrap();
        assert!(is_local(peer));
        assert!(canonical(peer).is_ipv4());
    }

    #[test]
    fn a_second_server_is_refused_with_the_port_the_cause_and_the_mend() {
        let first = Listeners::bind(&options(&["127.0.0.1"], 0, 2)).unwrap();
        let port = first.addresses[0].port();
        let text = Listeners::bind(&options(&["127.0.0.1"], port, 2)).unwrap_err().to_string();
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
        assert!(
            text.contains("second kv-server") && text.contains(&format!("ss -ltnp 'sport = :{port}'")),
            "{text}"
        );
        drop(first);
        Listeners::bind(&options(&["127.0.0.1"], port, 2)).expect("free again");
    }

    #[test]
    fn a_port_that_is_freed_in_time_is_taken() {
        let first = Listeners::bind(&options(&["127.0.0.1"], 0, 1)).unwrap();
        let port = first.addresses[0].port();
        let holder = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60));
            drop(first);
        });
        let patient = ListenOptions { retry: Duration::from_secs(5), ..options(&["127.0.0.1"], port, 1) };
        Listeners::bind(&patient).unwrap();
        holder.join().unwrap();
    }

    #[test]
    fn a_taken_admin_port_names_its_own_flag() {
        let first = bind_one("127.0.0.1:0".parse().unwrap(), Duration::ZERO).unwrap();
        let text = bind_one(first.local_addr().unwrap(), Duration::ZERO).unwrap_err().to_string();
        assert!(text.contains("--admin-port"), "{text}");
    }

    #[test]
    fn an_address_that_is_not_ours_is_named() {
        let text = Listeners::bind(&options(&["203.0.113.7"], 0, 1)).unwrap_err().to_string();
        assert!(text.contains("203.0.113.7") && text.contains("--bind"), "{text}");
    }
}
