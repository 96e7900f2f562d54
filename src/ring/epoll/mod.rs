//! The epoll driver: where io_uring is refused, the same promises with readiness and one system call per operation.
//!
//! Level-triggered. A connection is in the epoll set only while it wants something: to receive, or to go on with a
//! `send_owned` that met a full socket. One that wants nothing is taken out, because errors and hang-ups are reported
//! for every member, wanted or not, and would make an idle worker spin.
//!
//! Received bytes lie one after the other in one arena that every turn starts anew:
//!
//! ```text
//! | conn 7: 36 bytes | conn 2: 4,096 bytes | conn 9: 71 bytes | free ... (at least one buffer size, or no receive) |
//! ```

mod accept;
mod send;

use super::doorbell::Doorbell;
use super::pause::until_resume;
use super::slots::Slots;
use super::spin::Spin;
use super::{ConnId, Driver, DriverOptions, DriverStats, End, Event, Outgoing, RecvRef, Waker};
use accept::Listener;
use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll as Set, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv};
use send::Owned;
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Receives of one connection in one turn: beyond it the others come first.
const RECVS_PER_TURN: usize = 4;
/// Event data of what is no connection. A connection's holds its slot above its generation, and slots stay far below.
const DOORBELL: u64 = u64::MAX;
const LISTENERS: u64 = u64::MAX - 256;
const POISON: u8 = 0xDB;

struct Conn {
    fd: OwnedFd,
    /// What the epoll set watches for us; empty: not a member.
    interest: EpollFlags,
    wants_recv: bool,
    ended: bool,
    owned: Option<Owned>,
    /// `close` was called, and whether it waits for what is being sent.
    closing: Option<AfterSends>,
}

type AfterSends = bool;

impl Conn {
    fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            interest: EpollFlags::empty(),
            wants_recv: false,
            ended: false,
            owned: None,
            closing: None,
        }
    }
}

/// A worker's epoll set, listeners and connections.
pub struct Epoll {
    set: Set,
    conns: Slots<Conn>,
    listeners: Vec<Listener>,
    doorbell: Arc<Doorbell>,
    ready: Vec<EpollEvent>,
    arena: Vec<u8>,
    received: usize,
    buffer_size: usize,
    /// Closes and sends asked for since the last turn.
    to_close: Vec<ConnId>,
    to_send: Vec<ConnId>,
    events: Vec<Event>,
    spin: Spin,
    stats: DriverStats,
    /// System calls of `addresses`, which has no `&mut self`.
    address_calls: Cell<u64>,
}

impl Epoll {
    pub fn new(options: &DriverOptions) -> io::Result<Self> {
        let set = Set::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let doorbell = Doorbell::new()?;
        set.add(doorbell.fd(), EpollEvent::new(EpollFlags::EPOLLIN, DOORBELL))?;
        let buffer_size = options.buffer_size() as usize;
        Ok(Self {
            set,
            conns: Slots::new(),
            listeners: Vec::new(),
            doorbell,
            ready: vec![EpollEvent::empty(); options.sq_entries.clamp(8, 1 << 16) as usize],
            arena: vec![0; buffer_size * usize::from(options.buffer_count())],
            received: 0,
            buffer_size,
            to_close: Vec::new(),
            to_send: Vec::new(),
            events: Vec::new(),
            spin: Spin::new(options.busy_poll_us),
            stats: DriverStats::default(),
            address_calls: Cell::new(0),
        })
    }

    /// Blocks for events, after a spin when nearly idle; returns how many there are.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        if !self.events.is_empty() || timeout.is_some_and(|timeout| timeout.is_zero()) {
            return self.poll(EpollTimeout::ZERO);
        }
        if !self.spin.enabled() {
            return self.poll(at_least(timeout));
        }
        let started = Instant::now();
        let mut count =
            self.poll(if self.spin.worth_it() { EpollTimeout::ZERO } else { at_least(timeout) })?;
        if count == 0 && self.spin.worth_it() {
            let spin = std::mem::replace(&mut self.spin, Spin::new(0));
            let mut result = Ok(0);
            spin.spin(started, timeout, || {
                result = self.poll(EpollTimeout::ZERO);
                !matches!(result, Ok(0))
            });
            self.spin = spin;
            count = result?;
            if count == 0 {
                count =
                    self.poll(at_least(timeout.map(|timeout| timeout.saturating_sub(started.elapsed()))))?;
            }
        }
        self.spin.learn(count, started.elapsed());
        Ok(count)
    }

    fn poll(&mut self, timeout: EpollTimeout) -> io::Result<usize> {
        self.stats.syscalls += 1;
        match self.set.wait(&mut self.ready, timeout) {
            Ok(count) => {
                self.stats.completions += count as u64;
                Ok(count)
            }
            Err(Errno::EINTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    fn handle(&mut self, event: EpollEvent) {
        match event.data() {
            DOORBELL => {
                self.stats.syscalls += 1;
                if self.doorbell.empty().is_ok() {
                    self.doorbell.answer();
                    self.events.push(Event::Woken);
                }
            }
            LISTENERS.. => self.accept((event.data() - LISTENERS) as usize),
            data => {
                let id = ConnId { slot: (data >> 32) as u32, generation: data as u32 };
                self.go_on_sending(id);
                self.receive(id);
            }
        }
    }

    /// Receives what is there, within the turn's share. Level-triggered: the rest is reported again.
    fn receive(&mut self, id: ConnId) {
        for _ in 0..RECVS_PER_TURN {
            let Some(conn) = self.conns.get_mut(id) else { return };
            if !conn.wants_recv || conn.ended || conn.closing.is_some() {
                return;
            }
            let Some(buffer) = self.arena.get_mut(self.received..self.received + self.buffer_size) else {
                self.stats.buffers_exhausted += 1;
                return;
            };
            self.stats.syscalls += 1;
            let flags = MsgFlags::MSG_DONTWAIT;
            let end = match recv(conn.fd.as_raw_fd(), buffer, flags) {
                Ok(len @ 1..) => {
                    let offset = self.received as u32; // `DriverOptions` bounds the arena to 1 GiB.
                    let data = RecvRef { buffer: 0, offset, len: len as u32 };
                    self.received += len;
                    self.stats.bytes_received += len as u64;
                    self.events.push(Event::Received { conn: id, data });
                    if len < self.buffer_size {
                        return;
                    }
                    continue;
                }
                Ok(_) => End::Eof,
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => continue,
                Err(errno) => End::Error(errno as i32),
            };
            conn.ended = true;
            self.events.push(Event::Ended { conn: id, end });
            self.watch(id);
            return;
        }
    }

    /// Makes the epoll set agree with what the connection wants.
    fn watch(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let mut interest = EpollFlags::empty();
        interest.set(EpollFlags::EPOLLIN, conn.wants_recv && !conn.ended && conn.closing.is_none());
        interest.set(EpollFlags::EPOLLOUT, conn.owned.is_some());
        if interest == conn.interest {
            return;
        }
        self.stats.syscalls += 1;
        let mut event = EpollEvent::new(interest, u64::from(id.slot) << 32 | u64::from(id.generation));
        let result = if interest.is_empty() {
            self.set.delete(&conn.fd)
        } else if conn.interest.is_empty() {
            self.set.add(&conn.fd, event)
        } else {
            self.set.modify(&conn.fd, &mut event)
        };
        match result {
            Ok(()) => conn.interest = interest,
            // ENOMEM or the limit of watches: this connection cannot be served.
            Err(errno) if !conn.ended => {
                conn.ended = true;
                self.events.push(Event::Ended { conn: id, end: End::Error(errno as i32) });
            }
            Err(_) => {}
        }
    }

    /// Closes what was asked for and is not waiting for its sends.
    fn close_requested(&mut self) {
        let mut requested = std::mem::take(&mut self.to_close);
        for id in requested.drain(..) {
            let Some(conn) = self.conns.get(id) else { continue };
            if conn.closing == Some(true) && conn.owned.is_some() {
                self.watch(id); // `go_on_sending` comes back.
                continue;
            }
            // Dropping the descriptor closes it, which also takes it out of the epoll set.
            self.conns.remove(id);
            self.stats.syscalls += 1;
            self.events.push(Event::Closed { conn: id });
            self.listeners.iter_mut().for_each(|listener| listener.pause.cut_short());
        }
        self.to_close = requested;
    }
}

impl Driver for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn listen(&mut self, socket: OwnedFd, listener: u8) -> io::Result<()> {
        self.add_listener(socket, listener, false)
    }

    fn listen_with_others(&mut self, socket: OwnedFd, listener: u8) -> io::Result<()> {
        self.add_listener(socket, listener, true)
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId> {
        Ok(self.conns.insert(Conn::new(socket)))
    }

    fn stop_listening(&mut self) {
        let set = &self.set;
        self.listeners.iter_mut().for_each(|listener| listener.stop(set));
    }

    fn turn(&mut self, outgoing: &mut Outgoing, timeout: Option<Duration>) -> io::Result<()> {
        outgoing.unfinished.clear();
        self.release();
        self.send_all(outgoing);
        for id in std::mem::take(&mut self.to_send) {
            self.go_on_sending(id);
        }
        self.close_requested();
        self.resume_listeners();
        let timeout = until_resume(timeout, self.listeners.iter().map(|listener| &listener.pause));
        for index in 0..self.wait(timeout)? {
            self.handle(self.ready[index]);
        }
        Ok(())
    }

    fn take_events(&mut self, into: &mut Vec<Event>) {
        into.clear();
        std::mem::swap(&mut self.events, into);
    }

    fn received(&self, data: RecvRef) -> &[u8] {
        let start = data.offset as usize;
        &self.arena[..self.received][start..start + data.len as usize]
    }

    fn release(&mut self) {
        if cfg!(debug_assertions) {
            self.arena[..self.received].fill(POISON);
        }
        self.received = 0;
    }

    fn start_recv(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.wants_recv = true;
            self.watch(conn);
        }
    }

    fn pause_recv(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.wants_recv = false;
            self.watch(conn);
        }
    }

    fn send_owned(&mut self, conn: ConnId, pieces: Vec<Bytes>) {
        let Some(entry) = self.conns.get_mut(conn).filter(|conn| conn.closing.is_none()) else { return };
        assert!(entry.owned.is_none(), "one send in flight per connection");
        entry.owned = Some(Owned::new(pieces));
        self.to_send.push(conn);
    }

    fn close(&mut self, conn: ConnId, after_sends: bool) {
        let Some(entry) = self.conns.get_mut(conn) else { return };
        // Asked twice: only impatience changes anything.
        if entry.closing.is_none() || (entry.closing == Some(true) && !after_sends) {
            entry.closing = Some(after_sends);
            self.to_close.push(conn);
        }
    }

    fn addresses(&self, conn: ConnId) -> io::Result<(SocketAddr, SocketAddr)> {
        let conn = self.conns.get(conn).filter(|conn| conn.closing.is_none());
        let conn = conn.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        self.address_calls.set(self.address_calls.get() + super::address::SYSCALLS);
        super::address::addresses(conn.fd.as_fd())
    }

    fn waker(&self) -> Arc<dyn Waker> {
        Arc::clone(&self.doorbell) as Arc<dyn Waker>
    }

    fn stats(&self) -> DriverStats {
        DriverStats { syscalls: self.stats.syscalls + self.address_calls.get(), ..self.stats }
    }
}

/// epoll counts milliseconds: rounded up, or a worker with a deadline in 200 µs would spin towards it.
fn at_least(timeout: Option<Duration>) -> EpollTimeout {
    let Some(timeout) = timeout else { return EpollTimeout::NONE };
    let ms = timeout.as_nanos().div_ceil(1_000_000);
    EpollTimeout::try_from(ms).unwrap_or(EpollTimeout::MAX)
}
