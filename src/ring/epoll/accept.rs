//! Accepting: a bounded number per turn, and paused where descriptors run out.

use super::{Conn, Epoll, LISTENERS, Set};
use crate::ring::Event;
use crate::ring::pause::AcceptPause;
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// Accepts of one listener in one turn: a storm of connections does not starve the connected.
const ACCEPTS_PER_TURN: usize = 64;

/// A listening socket. Never removed: its index is in the events.
pub(super) struct Listener {
    /// `None` once stopped.
    socket: Option<Socket>,
    number: u8,
    /// Whether other workers accept from it as well.
    shared: bool,
    pub pause: AcceptPause,
}

/// The standard library's listeners accept with CLOEXEC and own what they accept.
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub fn stop(&mut self, set: &Set) {
        // Closing takes a socket out of the set only if nobody else has it. Deleting fails while it is out, at a pause.
        if let Some(socket) = self.socket.take() {
            let _ = set.delete(&socket);
        }
        self.pause.forget();
    }
}

impl Socket {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let family = getsockname::<SockaddrStorage>(fd.as_raw_fd())?.family();
        let socket = match family {
            Some(AddressFamily::Unix) => Socket::Unix(fd.into()),
            _ => Socket::Tcp(fd.into()),
        };
        // A client may be gone between the event and the accept.
        match &socket {
            Socket::Tcp(listener) => listener.set_nonblocking(true)?,
            Socket::Unix(listener) => listener.set_nonblocking(true)?,
        }
        Ok(socket)
    }

    fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Socket::Tcp(listener) => listener.accept().map(|(stream, _)| stream.into()),
            Socket::Unix(listener) => listener.accept().map(|(stream, _)| stream.into()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Epoll {
    pub(super) fn add_listener(&mut self, fd: OwnedFd, number: u8, shared: bool) -> io::Result<()> {
        let index =
            u8::try_from(self.listeners.len()).map_err(|_| io::Error::other("at most 256 listeners"))?;
        let socket = Socket::new(fd)?;
        self.set.add(&socket, interest(index.into(), shared))?;
        let pause = AcceptPause::default();
        self.listeners.push(Listener { socket: Some(socket), number, shared, pause });
        Ok(())
    }

    pub(super) fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get_mut(index) else { return };
            let Some(socket) = &listener.socket else { return };
            self.stats.syscalls += 1;
            match socket.accept() {
                Ok(fd) => {
                    let conn = self.conns.insert(Conn::new(fd));
                    self.events.push(Event::Accepted { conn, listener: listener.number });
                    if listener.shared {
                        self.step_back(index);
                        return;
                    }
                }
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN) => return,
                    Some(Errno::ECONNABORTED | Errno::EINTR) => {}
                    // EMFILE, ENFILE, ENOMEM, or unknown: at once it would fail again.
                    _ => {
                        self.stats.syscalls += 1;
                        // Only a member can be ready, so this cannot fail; if it did, the worker would merely wake more.
                        let _ = self.set.delete(socket);
                        listener.pause.begin();
                        self.stats.accepts_paused += 1;
                        return;
                    }
                },
            }
        }
    }

    /// The next connection of a shared socket is for another worker: this one leaves the socket's queue and joins it at its end.
    fn step_back(&mut self, index: usize) {
        let listener = &mut self.listeners[index];
        let Some(socket) = &listener.socket else { return };
        self.stats.syscalls += 2;
        // A member can be deleted.
        let _ = self.set.delete(socket);
        if self.set.add(socket, interest(index as u64, true)).is_err() {
            listener.pause.begin(); // No memory for the watch: try again later.
        }
    }

    pub(super) fn resume_listeners(&mut self) {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let Some(socket) = &listener.socket else { continue };
            if listener.pause.take_if_over() {
                self.stats.syscalls += 1;
                if self.set.add(socket, interest(index as u64, listener.shared)).is_err() {
                    listener.pause.begin(); // No memory for the watch: try again later.
                }
            }
        }
    }
}

/// A connection of a shared socket wakes one of those who wait (epoll_ctl(2), EPOLLEXCLUSIVE), not all.
fn interest(index: u64, shared: bool) -> EpollEvent {
    let wakes = if shared { EpollFlags::EPOLLEXCLUSIVE } else { EpollFlags::empty() };
    EpollEvent::new(EpollFlags::EPOLLIN | wakes, LISTENERS + index)
}
