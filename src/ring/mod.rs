//! What a worker asks of the kernel: accept, receive, send, close, wait. Bytes and tokens, never keys or protocols.
//!
//! Three drivers implement [`Driver`]: `uring` (the product), `epoll` (where io_uring is refused) and `sim`
//! (virtual time and seeded faults, for tests). The worker is generic over the trait and the same over all three.
//!
//! The contract, which every driver keeps:
//!
//! 1. `turn` submits everything queued together with `outgoing`, waits, and collects events: one system call when
//!    nothing overflows. When it returns, the kernel no longer refers to `outgoing` (io_uring: `MSG_WAITALL |
//!    MSG_DONTWAIT` sends complete while they are submitted), and every send that did not go out whole is listed in
//!    `outgoing.unfinished`.
//! 2. Received bytes are lent until the next `turn` (or `release`): a handler parses them in place or copies them.
//! 3. One send in flight per connection: `outgoing` holds at most one [`Send`] per connection and turn, and none for a
//!    connection whose `send_owned` has not been answered by [`Event::Sent`].
//! 4. After `close(conn)` no event names that connection again except one [`Event::Closed`]. Slots are reused, ids are not:
//!    a late completion carries an old generation and is dropped inside the driver.

mod address;
#[cfg(test)]
mod conformance;
mod doorbell;
pub mod epoll;
mod options;
mod pause;
pub mod sim;
mod slots;
mod spin;
pub mod uring;

pub use options::DriverOptions;

use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A connection of this driver. `slot` indexes the worker's tables; `generation` tells reuse apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    pub slot: u32,
    pub generation: u32,
}

/// Names received bytes until the next turn; see [`Driver::received`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvRef {
    pub buffer: u32,
    pub offset: u32,
    pub len: u32,
}

/// Why a connection will deliver no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed its sending side in order (FIN).
    Eof,
    /// A socket error, as errno.
    Error(i32),
}

/// What a turn brought.
#[derive(Debug)]
pub enum Event {
    /// A new connection from listener number `listener`. It receives nothing until `start`.
    Accepted { conn: ConnId, listener: u8 },
    /// Bytes arrived. May still come after `pause_recv` (what was already under way); then they must be kept.
    Received { conn: ConnId, data: RecvRef },
    /// No more bytes will arrive. The connection stays open for sending until `close`.
    Ended { conn: ConnId, end: End },
    /// A `send_owned` has ended: the total sent, or an errno. `pieces` are given back for reuse or dropping.
    Sent { conn: ConnId, result: Result<usize, i32>, pieces: Vec<Bytes> },
    /// The slot of a closed connection is free.
    Closed { conn: ConnId },
    /// Another thread called [`Waker::wake`].
    Woken,
}

/// One stretch of a reply.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A range of [`Outgoing::bytes`].
    Bytes(Range<u32>),
    /// An index into [`Outgoing::pins`]: a large value that stays where the store has it.
    Pin(u32),
}

/// One connection's output of this turn: `pieces` is a range of [`Outgoing::pieces`].
#[derive(Clone, Debug)]
pub struct Send {
    pub conn: ConnId,
    pub pieces: Range<u32>,
}

/// A send that did not go out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Index into [`Outgoing::sends`].
    pub send: u32,
    /// Bytes sent (0 when the socket buffer was full), or an errno that ends the connection.
    pub result: Result<usize, i32>,
}

/// A turn's output, shared by all connections: the output arena. Filled by the worker, emptied by it after `turn`.
#[derive(Debug, Default)]
pub struct Outgoing {
    pub bytes: Vec<u8>,
    pub pins: Vec<Bytes>,
    pub pieces: Vec<Piece>,
    pub sends: Vec<Send>,
    /// Filled by the driver.
    pub unfinished: Vec<Unfinished>,
}

impl Outgoing {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pins.clear();
        self.pieces.clear();
        self.sends.clear();
        self.unfinished.clear();
    }

    /// The pieces of one of `sends`.
    pub fn pieces_of(&self, send: &Send) -> &[Piece] {
        &self.pieces[send.pieces.start as usize..send.pieces.end as usize]
    }

    /// The bytes of a piece.
    pub fn piece(&self, piece: &Piece) -> &[u8] {
        match piece {
            Piece::Bytes(range) => &self.bytes[range.start as usize..range.end as usize],
            Piece::Pin(index) => &self.pins[*index as usize],
        }
    }

    /// What is left of a send after its first `sent` bytes, owned: pins are shared, arena bytes are copied.
    pub fn rest(&self, send: &Send, sent: usize) -> Vec<Bytes> {
        let mut skip = sent;
        let mut rest = Vec::new();
        for piece in self.pieces_of(send) {
            let len = self.piece(piece).len();
            let from = skip.min(len);
            skip -= from;
            if from == len {
                continue;
            }
            rest.push(match piece {
                Piece::Bytes(_) => Bytes::copy_from_slice(&self.piece(piece)[from..]),
                Piece::Pin(index) => self.pins[*index as usize].slice(from..),
            });
        }
        rest
    }
}

/// Counters of one driver; plain integers, read by its worker once per turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverStats {
    /// Every system call made on the data path (io_uring_enter, or epoll_wait + recv + send + accept, shutdown, close …).
    pub syscalls: u64,
    pub submissions: u64,
    pub completions: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// Receives that found no free buffer (ENOBUFS) and waited for one.
    pub buffers_exhausted: u64,
    /// Completion queue overflows.
    pub overflows: u64,
    /// Accepts that failed for want of descriptors (EMFILE, ENFILE, ENOMEM) and were paused.
    pub accepts_paused: u64,
    /// Sends that did not go out whole at once.
    pub short_sends: u64,
}

/// Wakes a worker that sleeps in `turn`, from any thread. Cheap when called repeatedly before the worker runs.
pub trait Waker: std::marker::Send + Sync {
    fn wake(&self);
}

/// One thread's view of the kernel. Not `Send`: created, used and dropped on its worker's thread.
pub trait Driver {
    /// The name that the start-up lines and INFO show: "io_uring", "epoll", "sim".
    fn name(&self) -> &'static str;

    /// Accepts connections from a listening socket, reported with this number, until `stop_listening`.
    fn listen(&mut self, socket: OwnedFd, listener: u8) -> io::Result<()>;

    /// As `listen`, from a socket that other drivers accept from as well. Who has accepted goes to the end of the queue of those who wait,
    /// so that all get their share. The simulation has no other drivers.
    fn listen_with_others(&mut self, socket: OwnedFd, listener: u8) -> io::Result<()> {
        self.listen(socket, listener)
    }

    /// Takes a connected stream socket that somebody else has made (a client's). As an accepted one, it receives nothing
    /// until `start_recv`. Fails when the driver has no slot left.
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId>;

    /// Cancels all accepts and closes the listening sockets. Connections accepted in flight still arrive as events.
    fn stop_listening(&mut self);

    /// Submits, waits (at most `timeout`; `None` is for ever; zero does not block), collects events. See the contract.
    /// Interruptions (EINTR, EBUSY, EAGAIN) are handled inside; an error here means that the ring itself is lost.
    fn turn(&mut self, outgoing: &mut Outgoing, timeout: Option<Duration>) -> io::Result<()>;

    /// Takes this turn's events out of the driver (swap with an empty vector to keep both allocations).
    fn take_events(&mut self, into: &mut Vec<Event>);

    /// The bytes behind a `RecvRef` of this turn. Panics on one from an earlier turn.
    fn received(&self, data: RecvRef) -> &[u8];

    /// Gives all receive buffers of this turn back to the kernel. `turn` does it too if the worker did not.
    fn release(&mut self);

    /// Arms receiving on a newly accepted connection, or again after `pause_recv`. Idempotent.
    fn start_recv(&mut self, conn: ConnId);

    /// Stops receiving (the peer's TCP window then closes). Idempotent.
    fn pause_recv(&mut self, conn: ConnId);

    /// Sends owned pieces in order, however long it takes; answered by [`Event::Sent`]. At most one in flight per connection.
    fn send_owned(&mut self, conn: ConnId, pieces: Vec<Bytes>);

    /// Closes: what `outgoing` holds for it in the next `turn` is still attempted, a `send_owned` in flight is finished
    /// first when `after_sends`, else cancelled. Then shutdown, cancel, close, and one [`Event::Closed`].
    fn close(&mut self, conn: ConnId, after_sends: bool);

    /// The peer's and the local address (IPv4, IPv6; unix sockets have none).
    fn addresses(&self, conn: ConnId) -> io::Result<(SocketAddr, SocketAddr)>;

    /// A handle by which other threads wake this driver.
    fn waker(&self) -> std::sync::Arc<dyn Waker>;

    fn stats(&self) -> DriverStats;
}
