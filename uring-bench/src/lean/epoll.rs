//! The reference: readiness, `recv` into one hot buffer, replies into another, `send` at once. What a good server without
//! io_uring does.

use super::error::Error;
use super::frames;
use super::replies::{Copied, PROTOCOL_ERROR, Replies};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LISTENER: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;
const EVENTS_PER_CALL: usize = 256;
/// More than this in one call is no idle server's.
const FEW_EVENTS: usize = 8;
const INPUT_BYTES: usize = 64 << 10;
/// Replies that a client has not read; beyond it the connection is closed.
const MAX_UNSENT_BYTES: usize = 256 << 20;

struct Conn {
    socket: TcpStream,
    carry: Vec<u8>,
    /// What the socket did not take. While there is any, writability is waited for instead of requests.
    rest: Vec<u8>,
    ended: bool,
}

pub struct LeanEpoll {
    epoll: Epoll,
    listener: TcpListener,
    _wake: Arc<OwnedFd>,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    replies: Replies,
    input: Box<[u8]>,
    out: Vec<u8>,
    spin: Duration,
    /// The last turn was that of a nearly idle server.
    spin_pays: bool,
    made: u64,
    calls: Arc<AtomicU64>,
}

impl LeanEpoll {
    /// `wake` ends `run` when it is readable; `calls` is kept at the number of system calls.
    pub fn new(
        listener: TcpListener,
        value_size: usize,
        spin_us: u32,
        wake: Arc<OwnedFd>,
        calls: Arc<AtomicU64>,
    ) -> Result<LeanEpoll, Error> {
        let set_up = || -> io::Result<Epoll> {
            listener.set_nonblocking(true)?;
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
            epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
            Ok(epoll)
        };
        Ok(LeanEpoll {
            epoll: set_up().map_err(|error| Error::io("set up epoll", error))?,
            listener,
            _wake: wake,
            conns: Vec::new(),
            free: Vec::new(),
            replies: Replies::new(value_size),
            input: vec![0; INPUT_BYTES].into(),
            out: Vec::with_capacity(64 << 10),
            spin: Duration::from_micros(spin_us.into()),
            spin_pays: false,
            made: 0,
            calls,
        })
    }

    /// Serves until woken.
    pub fn run(mut self) -> Result<(), Error> {
        self.serve().map_err(|error| Error::io("go on with epoll", error))
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS_PER_CALL];
        loop {
            let count = self.wait(&mut events)?;
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept()?,
                    WAKE => return Ok(()),
                    slot => self.ready(slot as usize, event.events()), // A slot of ours.
                }
            }
            self.calls.store(self.made, Ordering::Relaxed);
        }
    }

    /// As the ring's: a nearly idle server looks for events for a while before it blocks.
    fn wait(&mut self, events: &mut [EpollEvent]) -> io::Result<usize> {
        let started = (!self.spin.is_zero()).then(Instant::now);
        loop {
            let may_spin = self.spin_pays && started.is_some_and(|started| started.elapsed() < self.spin);
            let timeout = if may_spin { EpollTimeout::ZERO } else { EpollTimeout::NONE };
            self.made += 1;
            match self.epoll.wait(events, timeout) {
                Ok(0) => {}
                Ok(count) => {
                    let waited = started.map(|started| started.elapsed());
                    self.spin_pays =
                        count <= FEW_EVENTS && waited.is_some_and(|waited| waited < 2 * self.spin);
                    return Ok(count);
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            self.made += 1;
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            socket.set_nonblocking(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.conns.len() - 1
            });
            self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, slot as u64))?;
            self.conns[slot] = Some(Conn { socket, carry: Vec::new(), rest: Vec::new(), ended: false });
        }
    }

    fn ready(&mut self, slot: usize, flags: EpollFlags) {
        let Some(conn) = &mut self.conns[slot] else { return };
        let result = match flags.contains(EpollFlags::EPOLLOUT) {
            true => send_rest(conn, &mut self.made),
            false => {
                self.out.clear();
                receive(conn, &mut self.input, &mut self.out, &self.replies, &mut self.made)
            }
        };
        let had_rest = flags.contains(EpollFlags::EPOLLOUT);
        let done =
            result.is_err() || conn.rest.len() > MAX_UNSENT_BYTES || (conn.ended && conn.rest.is_empty());
        if done {
            self.conns[slot] = None; // Closing takes it out of the epoll set.
            self.free.push(slot);
        } else if conn.rest.is_empty() == had_rest {
            let interest = if had_rest { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLOUT };
            self.made += 1;
            if self.epoll.modify(&conn.socket, &mut EpollEvent::new(interest, slot as u64)).is_err() {
                self.conns[slot] = None;
                self.free.push(slot);
            }
        }
    }
}

/// One receive, its replies, one send.
fn receive(
    conn: &mut Conn,
    input: &mut [u8],
    out: &mut Vec<u8>,
    replies: &Replies,
    made: &mut u64,
) -> io::Result<()> {
    *made += 1;
    let len = match conn.socket.read(input) {
        Err(error) if is_temporary(&error) => return Ok(()),
        result => result?,
    };
    conn.ended = len == 0;
    if frames::answer(&input[..len], &mut conn.carry, &mut Copied { replies, out }).is_err() {
        out.extend_from_slice(PROTOCOL_ERROR);
        conn.ended = true;
    }
    if out.is_empty() {
        return Ok(());
    }
    *made += 1;
    let sent = match conn.socket.write(out) {
        Err(error) if is_temporary(&error) => 0,
        result => result?,
    };
    conn.rest.extend_from_slice(&out[sent..]);
    Ok(())
}

fn send_rest(conn: &mut Conn, made: &mut u64) -> io::Result<()> {
    *made += 1;
    let sent = match conn.socket.write(&conn.rest) {
        Err(error) if is_temporary(&error) => 0,
        result => result?,
    };
    conn.rest.drain(..sent);
    Ok(())
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
