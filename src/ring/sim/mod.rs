//! The simulated driver: a network in memory, a clock of its own, and faults chosen by a seed.
//!
//! It keeps the contract of [`Driver`] and otherwise does whatever a kernel may do: splits receives anywhere, lets
//! completions of different connections overtake each other, sends short, finds no buffers and no descriptors, and cuts
//! connections. The same seed and the same calls give the same events; a failing test prints its seed and replays it.
//!
//! A turn goes over all connections in random order and lets each make one step, unless it is delayed. If nothing has
//! happened, virtual time passes, at most until the timeout. With no timeout and nothing under way the turn returns
//! empty: in a single-threaded test nobody else could ever wake it.

mod faults;
mod net;

pub use faults::Faults;
pub use net::{SimClient, SimNet};

use super::slots::Slots;
use super::{ConnId, Driver, DriverOptions, DriverStats, End, Event, Outgoing, RecvRef, Unfinished, Waker};
use bytes::{Buf, Bytes};
use faults::Random;
use net::{Pipe, State};
use nix::errno::Errno;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a listener rests when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const POISON: u8 = 0xDB;

struct Conn {
    pipe: usize,
    wants_recv: bool,
    ended: bool,
    owned: Option<Owned>,
    /// `close` was called, and whether it waits for what is being sent.
    closing: Option<bool>,
}

struct Owned {
    /// Given back as they came.
    pieces: Vec<Bytes>,
    /// What is still to go out; shares the bytes.
    left: Vec<Bytes>,
    sent: usize,
}

impl Owned {
    fn new(pieces: Vec<Bytes>) -> Self {
        Self { left: pieces.clone(), pieces, sent: 0 }
    }
}

/// A driver over a [`SimNet`].
pub struct Sim {
    net: SimNet,
    random: Random,
    faults: Faults,
    conns: Slots<Conn>,
    listeners: Vec<(u8, OwnedFd)>,
    paused_until: Option<Duration>,
    buffers: Vec<Vec<u8>>,
    buffer_size: usize,
    buffer_count: usize,
    bell: Arc<Bell>,
    events: Vec<Event>,
    stats: DriverStats,
}

/// The waker: a flag that the next turn looks at.
#[derive(Debug, Default)]
struct Bell(AtomicBool);

impl Waker for Bell {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Sim {
    /// A driver and its network. `faults` says what goes wrong, `seed` when.
    pub fn new(options: &DriverOptions, faults: Faults, seed: u64) -> (Self, SimNet) {
        let net = SimNet::default();
        let sim = Self {
            net: net.clone(),
            random: Random::new(seed),
            faults,
            conns: Slots::new(),
            listeners: Vec::new(),
            paused_until: None,
            buffers: Vec::new(),
            buffer_size: options.buffer_size() as usize,
            buffer_count: options.buffer_count().into(),
            bell: Arc::default(),
            events: Vec::new(),
            stats: DriverStats::default(),
        };
        (sim, net)
    }

    /// How many bytes a send takes now: room and faults permitting.
    fn takes(&mut self, pipe: &Pipe, wanted: usize) -> usize {
        let takes = wanted.min(pipe.room());
        if takes == 0 || self.random.happens(self.faults.refuse_send) {
            return 0;
        }
        if self.random.happens(self.faults.short_send) { 1 + self.random.below(takes) } else { takes }
    }

    fn maybe_reset(&mut self, state: &mut State, pipe: usize) {
        if self.random.happens(self.faults.reset) {
            let pipe = &mut state.pipes[pipe];
            pipe.reset = true;
            pipe.to_server.clear();
            pipe.to_client.clear();
        }
    }

    fn send_all(&mut self, state: &mut State, outgoing: &mut Outgoing) {
        for index in 0..outgoing.sends.len() {
            let send = outgoing.sends[index].clone();
            let Some(conn) = self.conns.get(send.conn).filter(|conn| conn.owned.is_none()) else { continue };
            let (pipe, closing) = (conn.pipe, conn.closing);
            self.maybe_reset(state, pipe);
            let bytes: Vec<u8> =
                outgoing.pieces_of(&send).iter().flat_map(|piece| outgoing.piece(piece)).copied().collect();
            self.stats.submissions += 1;
            let result = if state.pipes[pipe].reset {
                Err(Errno::EPIPE as i32)
            } else {
                let takes = self.takes(&state.pipes[pipe], bytes.len());
                state.pipes[pipe].to_client.extend(&bytes[..takes]);
                self.stats.bytes_sent += takes as u64;
                Ok(takes)
            };
            if result == Ok(bytes.len()) {
                continue;
            }
            self.stats.short_sends += 1;
            match (closing, result) {
                (None, _) => outgoing.unfinished.push(Unfinished { send: index as u32, result }),
                (Some(true), Ok(sent)) => {
                    let rest = outgoing.rest(&send, sent);
                    if let Some(conn) = self.conns.get_mut(send.conn) {
                        conn.owned = Some(Owned::new(rest));
                    }
                }
                _ => {}
            }
        }
    }

    fn accept(&mut self, state: &mut State) {
        if self.paused_until.is_some_and(|until| until > state.now) {
            return;
        }
        self.paused_until = None;
        while let Some(&pipe) = state.backlog.front() {
            if self.random.happens(self.faults.no_descriptor) {
                self.stats.accepts_paused += 1;
                self.paused_until = Some(state.now + ACCEPT_PAUSE);
                return;
            }
            state.backlog.pop_front();
            state.pipes[pipe].accepted = true;
            let listener = state.pipes[pipe].listener;
            let conn = Conn { pipe, wants_recv: false, ended: false, owned: None, closing: None };
            let conn = self.conns.insert(conn);
            self.events.push(Event::Accepted { conn, listener });
        }
    }

    /// One step of a connection: a close, part of an owned send, a receive, or its end.
    fn step(&mut self, state: &mut State, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        let pipe = conn.pipe;
        self.maybe_reset(state, pipe);
        self.step_owned(state, id);
        let Some(conn) = self.conns.get(id) else { return };
        match conn.closing {
            Some(after_sends) if !after_sends || conn.owned.is_none() => {
                self.conns.remove(id);
                state.pipes[pipe].close_server();
                state.collect(pipe);
                self.paused_until = None;
                self.events.push(Event::Closed { conn: id });
            }
            None if conn.wants_recv && !conn.ended => self.step_recv(&mut state.pipes[pipe], id),
            _ => {}
        }
    }

    fn step_owned(&mut self, state: &mut State, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Some(mut owned) = conn.owned.take() else { return };
        let (pipe, closing) = (conn.pipe, conn.closing);
        let pipe = &mut state.pipes[pipe];
        let left: usize = owned.left.iter().map(Bytes::len).sum();
        let mut takes = if pipe.reset { 0 } else { self.takes(pipe, left) };
        self.stats.bytes_sent += takes as u64;
        owned.sent += takes;
        let finished = takes == left;
        for piece in &mut owned.left {
            let part = takes.min(piece.len());
            pipe.to_client.extend(&piece[..part]);
            piece.advance(part);
            takes -= part;
        }
        let result = match (finished, pipe.reset) {
            (true, _) => Ok(owned.sent),
            (false, true) => Err(Errno::ECONNRESET as i32),
            (false, false) => {
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.owned = Some(owned);
                }
                return;
            }
        };
        if closing.is_none() {
            self.events.push(Event::Sent { conn: id, result, pieces: owned.pieces });
        }
    }

    fn step_recv(&mut self, pipe: &mut Pipe, id: ConnId) {
        let end = if pipe.reset {
            End::Error(Errno::ECONNRESET as i32)
        } else if !pipe.to_server.is_empty() {
            if self.buffers.len() == self.buffer_count || self.random.happens(self.faults.no_buffer) {
                self.stats.buffers_exhausted += 1;
                return;
            }
            let mut len = pipe.to_server.len().min(self.buffer_size);
            if self.random.happens(self.faults.split_recv) {
                len = 1 + self.random.below(len);
            }
            let data = RecvRef { buffer: self.buffers.len() as u32, offset: 0, len: len as u32 };
            self.buffers.push(pipe.to_server.drain(..len).collect());
            self.stats.bytes_received += len as u64;
            self.events.push(Event::Received { conn: id, data });
            return;
        } else if pipe.client_fin {
            End::Eof
        } else {
            return;
        };
        if let Some(conn) = self.conns.get_mut(id) {
            conn.ended = true;
        }
        self.events.push(Event::Ended { conn: id, end });
    }

    /// Whether a later attempt could bring an event without anybody acting.
    fn something_is_under_way(&self, state: &State) -> bool {
        let possible = |id: &ConnId| {
            let Some(conn) = self.conns.get(*id) else { return false };
            let pipe = &state.pipes[conn.pipe];
            let receives = conn.wants_recv
                && !conn.ended
                && conn.closing.is_none()
                && (pipe.reset || pipe.client_fin || !pipe.to_server.is_empty());
            let sends = conn.owned.is_some() && (pipe.reset || pipe.room() > 0);
            let closes = conn.closing.is_some_and(|after_sends| !after_sends || conn.owned.is_none());
            receives || sends || closes
        };
        !state.backlog.is_empty() || self.conns.ids().iter().any(possible)
    }

    /// One attempt: everyone in random order, some delayed.
    fn attempt(&mut self, state: &mut State) {
        if self.bell.0.swap(false, Ordering::AcqRel) {
            self.events.push(Event::Woken);
        }
        if !self.random.happens(self.faults.delay) {
            self.accept(state);
        }
        let mut ids = self.conns.ids();
        self.random.shuffle(&mut ids);
        for id in ids {
            if !self.random.happens(self.faults.delay) {
                self.step(state, id);
            }
        }
    }
}

impl Driver for Sim {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn listen(&mut self, socket: OwnedFd, listener: u8) -> io::Result<()> {
        self.listeners.push((listener, socket));
        self.net.state.borrow_mut().listeners.push(listener);
        Ok(())
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId> {
        let mut state = self.net.state.borrow_mut();
        let made = state.sockets.iter().position(|(number, _)| *number == socket.as_raw_fd());
        let (_, pipe) = made.map(|at| state.sockets.swap_remove(at)).ok_or(Errno::ENOTSOCK)?;
        state.pipes[pipe].accepted = true;
        Ok(self.conns.insert(Conn { pipe, wants_recv: false, ended: false, owned: None, closing: None }))
    }

    fn stop_listening(&mut self) {
        self.listeners.clear();
        let mut state = self.net.state.borrow_mut();
        state.listeners.clear();
        // Accepted by the kernel and on their way as events, or refused: the seed decides.
        for pipe in std::mem::take(&mut state.backlog) {
            if self.random.happens(50) {
                state.backlog.push_back(pipe);
            } else {
                state.pipes[pipe].reset = true;
            }
        }
    }

    fn turn(&mut self, outgoing: &mut Outgoing, timeout: Option<Duration>) -> io::Result<()> {
        outgoing.unfinished.clear();
        self.release();
        self.stats.syscalls += 1;
        let net = self.net.clone();
        let state = &mut *net.state.borrow_mut();
        self.send_all(state, outgoing);
        let deadline = timeout.map(|timeout| state.now + timeout);
        loop {
            self.attempt(state);
            if !self.events.is_empty() || deadline.is_some_and(|deadline| state.now >= deadline) {
                break;
            }
            if self.something_is_under_way(state) {
                let nanos = self.faults.max_delay.as_nanos().clamp(1, usize::MAX as u128) as usize;
                state.now += Duration::from_nanos(1 + self.random.below(nanos) as u64);
            } else {
                state.now = deadline.unwrap_or(state.now);
                break;
            }
        }
        if let Some(deadline) = deadline {
            state.now = state.now.min(deadline);
        }
        self.stats.completions += self.events.len() as u64;
        Ok(())
    }

    fn take_events(&mut self, into: &mut Vec<Event>) {
        into.clear();
        std::mem::swap(&mut self.events, into);
    }

    fn received(&self, data: RecvRef) -> &[u8] {
        let start = data.offset as usize;
        &self.buffers[data.buffer as usize][start..start + data.len as usize]
    }

    fn release(&mut self) {
        // Freed, so that a stale reference panics; poisoned first, for a reader through other means.
        self.buffers.iter_mut().for_each(|buffer| buffer.fill(POISON));
        self.buffers.clear();
    }

    fn start_recv(&mut self, conn: ConnId) {
        if let Some(conn) = self.conns.get_mut(conn) {
            conn.wants_recv = true;
        }
    }

    fn pause_recv(&mut self, conn: ConnId) {
        if let Some(conn) = self.conns.get_mut(conn) {
            conn.wants_recv = false;
        }
    }

    fn send_owned(&mut self, conn: ConnId, pieces: Vec<Bytes>) {
        let Some(conn) = self.conns.get_mut(conn).filter(|conn| conn.closing.is_none()) else { return };
        assert!(conn.owned.is_none(), "one send in flight per connection");
        conn.owned = Some(Owned::new(pieces));
    }

    fn close(&mut self, conn: ConnId, after_sends: bool) {
        let Some(conn) = self.conns.get_mut(conn) else { return };
        conn.closing = Some(conn.closing.unwrap_or(true) && after_sends);
    }

    fn addresses(&self, conn: ConnId) -> io::Result<(SocketAddr, SocketAddr)> {
        self.conns.get(conn).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        let port = (conn.slot % 60_000) as u16; // Below 60,000.
        Ok((SocketAddr::from((Ipv4Addr::LOCALHOST, port + 1)), SocketAddr::from((Ipv4Addr::LOCALHOST, 7171))))
    }

    fn waker(&self) -> Arc<dyn Waker> {
        Arc::clone(&self.bell) as Arc<dyn Waker>
    }

    fn stats(&self) -> DriverStats {
        self.stats
    }
}
