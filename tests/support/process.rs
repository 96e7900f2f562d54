//! What the kernel says about a process: memory, descriptors, processor time. And ports that no other test has.

use super::PATIENCE;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt,
};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Resident set size in bytes, as the kernel counts it for limits: `VmRSS` (anonymous + file + shared pages present).
pub fn rss_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// The most that it has been.
pub fn peak_rss_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|l| l.starts_with(name)).expect("a live process has it");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("it is in kB");
    kib * 1024
}

/// User plus system time of a process, in clock ticks (usually 10 ms).
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    // The second field is the command's name in parentheses and may contain spaces: count from its end.
    let fields: Vec<&str> =
        stat.rsplit(')').next().expect("a name in parentheses").split_whitespace().collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

/// How many descriptors a process holds.
pub fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Raises this process's descriptor limit as far as it may, and returns it.
pub fn raise_file_limit() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit can be read");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may rise to the hard one");
    hard
}

/// Waits until `done` holds; fails with `what` when [`PATIENCE`] is over.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port of 127.0.0.1 that nobody else gets while this lives.
///
/// The socket is bound and never listens. A server that sets SO_REUSEADDR or SO_REUSEPORT (all do) can still bind the port,
/// but the kernel hands it to nobody who asks for any free one: without this, two servers of two tests could share a port unseen.
#[derive(Debug)]
pub struct Ports {
    _held: OwnedFd,
    pub port: u16,
}

impl Ports {
    pub fn reserve() -> Ports {
        let fd =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        setsockopt(&fd, sockopt::ReuseAddr, &true).expect("SO_REUSEADDR");
        setsockopt(&fd, sockopt::ReusePort, &true).expect("SO_REUSEPORT");
        bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a free port");
        let address: SockaddrIn = getsockname(fd.as_raw_fd()).expect("a bound socket has an address");
        Ports { _held: fd, port: address.port() }
    }

    /// The port of a socket that listens already. It goes on listening while this lives.
    pub fn of(listener: &TcpListener) -> Ports {
        let held = listener.try_clone().expect("a second descriptor of the socket").into();
        Ports { _held: held, port: listener.local_addr().expect("a bound socket has an address").port() }
    }
}
