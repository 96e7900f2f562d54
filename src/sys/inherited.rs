//! Listening sockets that are there before the server: a service manager made them and passes them on (socket activation,
//! sd_listen_fds(3)). It keeps them too, so clients can connect, and wait, while no server runs.
//!
//! ```text
//!   one socket, three workers:     socket ──► w0, w1, w2     whoever accepts goes to the end of the queue (`Driver::listen_with_others`)
//!   as many sockets as workers:    socket ──► w0
//!   (ReusePort=, one line each)    socket ──► w1  …          each has its own, as when the server binds them itself
//! ```
//!
//! No further sockets are bound beside an inherited one: the kernel lets only the same user share a port, the manager's is root, and what
//! waits in a socket that ends with the process is lost.

use super::listener::{ListenSocket, Listeners, set_backlog, tune};
use crate::limits;
use listenfd::ListenFd;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{getsockopt, sockopt};
use std::env;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

/// A socket that was passed to this process.
#[derive(Debug)]
pub struct Inherited {
    /// What the manager calls it: `FileDescriptorName=`, or the name of the socket's unit.
    pub name: String,
    pub address: SocketAddr,
    listener: TcpListener,
}

/// Why what was passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    #[error(
        "LISTEN_FDS={fds} and LISTEN_FDNAMES={names} do not fit together.\n  \
         The first is the number of sockets, at most {}; the second has a name for each, separated by colons.",
        limits::INHERITED_SOCKETS
    )]
    Variables { fds: String, names: String },
    #[error(
        "descriptor {descriptor} (\"{name}\"), passed by the service manager, is {found}; a listening TCP socket is wanted.\n  {mend}"
    )]
    Wrong { descriptor: usize, name: String, found: &'static str, mend: &'static str },
    #[error("the inherited socket on {address} cannot be set up: {}", source.desc())]
    Setup { address: SocketAddr, source: Errno },
}

/// The first descriptor that is passed (sd_listen_fds(3), SD_LISTEN_FDS_START).
const FIRST: usize = 3;

/// Takes the sockets that were passed to this process. Call once, before any thread runs: it changes the environment, and the numbers are no
/// longer ours to take once somebody has closed them.
pub fn take() -> Result<Vec<Inherited>, InheritError> {
    let variable = |name| env::var(name).unwrap_or_default();
    // Passed to somebody else, who left the variables in our environment; or to nobody.
    if variable("LISTEN_PID").parse() != Ok(std::process::id()) {
        return Ok(Vec::new());
    }
    let (fds, names) = (variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
    let Some(names) = names_of(&fds, &names) else { return Err(InheritError::Variables { fds, names }) };
    let mut passed = ListenFd::from_env();
    names.into_iter().enumerate().map(|(index, name)| take_one(&mut passed, index, name)).collect()
}

/// A name for each socket, empty where there is none; `None` if the variables contradict each other.
fn names_of(fds: &str, names: &str) -> Option<Vec<String>> {
    let count = fds.parse::<usize>().ok().filter(|count| *count <= limits::INHERITED_SOCKETS)?;
    if names.is_empty() {
        return Some(vec![String::new(); count]);
    }
    let names: Vec<String> = names.split(':').map(str::to_string).collect();
    (names.len() == count).then_some(names)
}

fn take_one(passed: &mut ListenFd, index: usize, name: String) -> Result<Inherited, InheritError> {
    let wrong = |name, (found, mend)| InheritError::Wrong { descriptor: FIRST + index, name, found, mend };
    let Ok(Some(listener)) = passed.take_tcp_listener(index) else {
        return Err(wrong(name, other_kind(passed, index)));
    };
    let listens = getsockopt(&listener, sockopt::AcceptConn) == Ok(true);
    match listener.local_addr() {
        Ok(address) if listens => Ok(Inherited { name, address, listener }),
        _ => Err(wrong(name, ("a socket that does not listen", "The socket unit must have Accept=no."))),
    }
}

/// What a descriptor is that is no TCP socket, and what mends that.
fn other_kind(passed: &mut ListenFd, index: usize) -> (&'static str, &'static str) {
    const PORT: &str = "Give ListenStream= in the socket unit a port, or an address and a port.";
    if matches!(passed.take_udp_socket(index), Ok(Some(_))) {
        ("a UDP socket", "Write ListenStream= in the socket unit, not ListenDatagram=.")
    } else if matches!(passed.take_unix_listener(index), Ok(Some(_)))
        || matches!(passed.take_unix_datagram(index), Ok(Some(_)))
    {
        ("a unix socket", PORT)
    } else {
        ("no TCP socket", PORT)
    }
}

impl Listeners {
    /// Deals inherited sockets out to the workers: those of one address in turn; where there are fewer than workers, several workers
    /// accept from one.
    pub fn inherit(
        sockets: Vec<Inherited>,
        workers: usize,
        backlog: u32,
        keepalive_s: u32,
    ) -> Result<Listeners, InheritError> {
        let mut groups: Vec<(SocketAddr, Vec<TcpListener>)> = Vec::new();
        for Inherited { address, listener, .. } in sockets {
            match groups.iter_mut().find(|(other, _)| *other == address) {
                Some((_, group)) => group.push(listener),
                None => groups.push((address, vec![listener])),
            }
        }
        let mut per_worker: Vec<Vec<ListenSocket>> = (0..workers).map(|_| Vec::new()).collect();
        let addresses: Vec<SocketAddr> = groups.iter().map(|(address, _)| *address).collect();
        for (number, (address, group)) in (0..=u8::MAX).zip(groups) {
            let users = workers.div_ceil(group.len());
            let backlog = backlog.saturating_mul(u32::try_from(users).unwrap_or(u32::MAX));
            deal(group, number, &mut per_worker, |listener| set_up(listener, backlog, keepalive_s))
                .map_err(|source| InheritError::Setup { address, source })?;
        }
        let inherited = vec![true; addresses.len()];
        Ok(Listeners { per_worker, addresses, inherited })
    }
}

/// Each socket to at least one worker, and each worker at least one socket.
fn deal(
    group: Vec<TcpListener>,
    number: u8,
    per_worker: &mut [Vec<ListenSocket>],
    set_up: impl Fn(&TcpListener) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let (sockets, workers) = (group.len(), per_worker.len());
    for (index, listener) in group.into_iter().enumerate() {
        set_up(&listener)?;
        let further: Vec<usize> = (index + sockets..workers).step_by(sockets).collect();
        let shared = !further.is_empty();
        for worker in further {
            let fd: OwnedFd = listener.try_clone().map_err(errno)?.into();
            per_worker[worker].push(ListenSocket { fd, number, shared });
        }
        per_worker[index % workers].push(ListenSocket { fd: listener.into(), number, shared });
    }
    Ok(())
}

fn set_up(listener: &TcpListener, backlog: u32, keepalive_s: u32) -> Result<(), Errno> {
    let flags = OFlag::from_bits_retain(fcntl(listener, FcntlArg::F_GETFL)?);
    fcntl(listener, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    tune(listener, keepalive_s)?;
    set_backlog(listener, backlog)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

/// The admin port's socket.
impl From<Inherited> for TcpListener {
    fn from(inherited: Inherited) -> TcpListener {
        inherited.listener
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::sockopt::{KeepAlive, TcpNoDelay};
    use std::net::TcpStream;

    fn socket(name: &str) -> Inherited {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Inherited { name: name.into(), address: listener.local_addr().unwrap(), listener }
    }

    /// (listener's number, shared) of each worker's sockets.
    fn dealt(listeners: &Listeners) -> Vec<Vec<(u8, bool)>> {
        let of_worker = |sockets: &Vec<ListenSocket>| sockets.iter().map(|s| (s.number, s.shared)).collect();
        listeners.per_worker.iter().map(of_worker).collect()
    }

    #[test]
    fn the_variables_say_how_many_and_which() {
        assert_eq!(names_of("2", "kv:kv-admin").unwrap(), ["kv", "kv-admin"]);
        assert_eq!(names_of("2", "").unwrap(), ["", ""]);
        assert_eq!(names_of("0", "").unwrap(), Vec::<String>::new());
        for (fds, names) in [("2", "kv"), ("1", "a:b"), ("", ""), ("-1", ""), ("x", "x"), ("4000000000", "")]
        {
            assert!(names_of(fds, names).is_none(), "{fds} {names}");
        }
    }

    #[test]
    fn one_socket_serves_all_workers_and_has_the_options() {
        let inherited = socket("kv");
        let address = inherited.address;
        let listeners = Listeners::inherit(vec![inherited, socket("kv")], 3, 64, 60).unwrap();
        assert_eq!(dealt(&listeners), [[(0, true), (1, true)]; 3]);
        assert_eq!((listeners.addresses[0], &listeners.inherited[..]), (address, &[true, true][..]));
        let client = TcpStream::connect(address).unwrap();
        let last = listeners.per_worker.into_iter().last().unwrap().remove(0);
        let (stream, peer) = TcpListener::from(last.fd).accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!((getsockopt(&stream, TcpNoDelay), getsockopt(&stream, KeepAlive)), (Ok(true), Ok(true)));
    }

    #[test]
    fn sockets_of_one_address_are_dealt_out() {
        // The same address as far as the dealing knows.
        let group = |n: usize| -> Vec<Inherited> {
            let first = socket("kv");
            let address = first.address;
            let more = (1..n).map(|_| Inherited { address, ..socket("kv") });
            std::iter::once(first).chain(more).collect()
        };
        let deal = |sockets, workers| dealt(&Listeners::inherit(group(sockets), workers, 64, 0).unwrap());
        assert_eq!(deal(2, 2), [[(0, false)], [(0, false)]]);
        assert_eq!(deal(3, 2), [vec![(0, false), (0, false)], vec![(0, false)]]);
        assert_eq!(deal(2, 3), [[(0, true)], [(0, false)], [(0, true)]]);
    }
}
