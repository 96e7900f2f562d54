//! The io_uring driver: the product. One ring per worker, `SINGLE_ISSUER | DEFER_TASKRUN`, multishot accept and receive,
//! a provided buffer ring, and one system call per turn.
//!
//! Who owns memory that the kernel refers to, and until when:
//!
//! | memory                      | owner                    | until                                   |
//! |-----------------------------|--------------------------|-----------------------------------------|
//! | output arena, its headers   | the worker, this struct  | `enter` returns (`MSG_DONTWAIT` sends)  |
//! | pieces of a `send_owned`    | the connection's `Owned` | the last completion of its chain        |
//! | receive buffers             | `Buffers`                | the ring is gone                        |
//! | the doorbell's eight bytes  | `Doorbell` read buffer   | its read's completion                   |
//!
//! A slot is freed only when nothing of it is in the kernel, and every completion names a generation: a late one finds
//! nothing. The unsafe code lives in this directory only.
//!
//! Absent on purpose: registered ring descriptors, direct descriptors, bundles, zero-copy sends, SQPOLL (see `kernel`,
//! and the measurements in the design notes: none paid). `shutdown(2)`: cancelling all of a descriptor and closing it in
//! one batch sends the FIN at once and costs no system call of its own; `OP_SHUTDOWN` would start a kernel thread.

#![allow(unsafe_code, reason = "submission queue entries carry addresses")]

mod accept;
mod buffers;
mod close;
mod conn;
mod kernel;
mod outgoing;
mod owned;
mod recv;
mod refused;
mod start;
mod token;
mod versions;

pub use refused::{Explained, StartError, release};
pub use start::Granted;
pub use versions::{Defect, defect_of, known_defect, multishot_is_broken, version};

use super::doorbell::Doorbell;
use super::pause::until_resume;
use super::slots::Slots;
use super::spin::Spin;
use super::{ConnId, Driver, DriverOptions, DriverStats, Event, Outgoing, RecvRef, Waker};
use accept::Listener;
use buffers::Buffers;
use bytes::Bytes;
use conn::{Closing, Conn};
use io_uring::{cqueue, opcode, types};
use kernel::Kernel;
use outgoing::Headers;
use owned::{Owned, Progress};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use token::Token;

/// What the next turn submits after the sends.
#[derive(Debug)]
enum Operation {
    Accept(u8),
    StopAccept(u8),
    ArmRecv(ConnId),
    StopRecv(ConnId),
    SendOwned(ConnId),
    Close(ConnId),
    WatchDoorbell,
}

/// A worker's ring. Created, used and dropped on one thread.
pub struct Uring {
    // Dropped first: the ring, before anything it refers to.
    kernel: Kernel,
    buffers: Buffers,
    conns: Slots<Conn>,
    headers: Headers,
    doorbell: Arc<Doorbell>,
    /// Where the doorbell's read writes. Boxed: its address must not move.
    doorbell_count: Box<u64>,
    listeners: Vec<Listener>,
    /// One accept per submission: for kernels whose multishot accept can report a wrong descriptor.
    single_accepts: bool,
    operations: VecDeque<Operation>,
    /// Connections whose receive found no buffer, oldest first.
    waiting: VecDeque<ConnId>,
    events: Vec<Event>,
    spin: Spin,
    /// Operations whose terminal completion is still to come, over all connections and listeners.
    in_kernel: usize,
    stats: DriverStats,
    /// System calls of `addresses`, which has no `&mut self`.
    address_calls: Cell<u64>,
}

impl Uring {
    /// Sets the ring up on the calling thread, which must be the one that uses it.
    pub fn new(options: &DriverOptions) -> Result<Self, StartError> {
        Self::open(options).map(|(ring, _)| ring)
    }

    /// Sets a ring up as a worker does, and takes it down again: tells what no version of a kernel tells.
    pub fn try_out(options: &DriverOptions) -> Result<Granted, StartError> {
        Self::open(options).map(|(_, granted)| granted)
    }

    fn open(options: &DriverOptions) -> Result<(Self, Granted), StartError> {
        let (kernel, buffers, granted) = start::start(options)?;
        let ring = Self {
            kernel,
            buffers,
            conns: Slots::new(),
            headers: Headers::default(),
            doorbell: Doorbell::new()?,
            doorbell_count: Box::new(0),
            listeners: Vec::new(),
            single_accepts: multishot_is_broken(&release()),
            operations: VecDeque::from([Operation::WatchDoorbell]),
            waiting: VecDeque::new(),
            events: Vec::new(),
            spin: Spin::new(options.busy_poll_us),
            in_kernel: 0,
            stats: DriverStats::default(),
            address_calls: Cell::new(0),
        };
        Ok((ring, granted))
    }

    /// The result of an operation that the ring's restrictions exclude.
    #[cfg(test)]
    pub(super) fn submit_forbidden_operation(&mut self) -> i32 {
        let entry = opcode::Nop::new().build().user_data(Token::Ignored.encode());
        // SAFETY: the entry names no memory.
        unsafe { self.kernel.push(&entry).expect("a queue with room") };
        self.kernel.enter(1, None).expect("a working ring");
        self.kernel.reaped.pop().expect("one completion").result()
    }

    /// Queues what the worker and the last completions asked for.
    fn queue_operations(&mut self) -> io::Result<()> {
        self.resume_listeners();
        while let Some(operation) = self.operations.pop_front() {
            match operation {
                Operation::Accept(index) => self.queue_accept(index)?,
                Operation::StopAccept(index) => self.queue_stop_accept(index)?,
                Operation::ArmRecv(conn) => self.queue_recv(conn)?,
                Operation::StopRecv(conn) => self.queue_stop_recv(conn)?,
                Operation::SendOwned(conn) => self.queue_owned(conn)?,
                Operation::Close(conn) => self.queue_close(conn)?,
                Operation::WatchDoorbell => self.queue_doorbell()?,
            }
        }
        self.rearm_waiting()
    }

    fn queue_doorbell(&mut self) -> io::Result<()> {
        let count: *mut u64 = &mut *self.doorbell_count;
        let fd = types::Fd(self.doorbell.fd().as_raw_fd());
        let entry = opcode::Read::new(fd, count.cast(), 8).build().user_data(Token::Doorbell.encode());
        // SAFETY: `doorbell_count` is ours, boxed, never read, and freed after the ring (field order; `drop` waits).
        unsafe { self.kernel.push(&entry)? };
        self.in_kernel += 1;
        Ok(())
    }

    fn queue_owned(&mut self, id: ConnId) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(id) else { return Ok(()) };
        let Some(owned) = conn.owned.as_deref_mut() else { return Ok(()) };
        if owned.is_empty() {
            self.finish_owned(id, Ok(0));
            return Ok(());
        }
        // SAFETY: boxed in the connection's slot, which is freed only when nothing of it is in the kernel; `finish_owned`
        // takes it out only after `complete` has said that the chain is over.
        let chunks =
            unsafe { owned.submit(&mut self.kernel, conn.fd.as_raw_fd(), Token::Chunk(id).encode())? };
        conn.in_kernel += chunks;
        self.in_kernel += chunks as usize;
        Ok(())
    }

    fn on_chunk(&mut self, id: ConnId, result: i32) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.in_kernel -= 1;
        let cut = matches!(conn.closing, Closing::Submitted | Closing::Done);
        let Some(owned) = conn.owned.as_deref_mut() else { return };
        match owned.complete(result) {
            Progress::UnderWay => {}
            Progress::Continue if !cut => self.operations.push_back(Operation::SendOwned(id)),
            Progress::Continue => self.finish_owned(id, Err(libc::ECANCELED)),
            Progress::Finished(result) => self.finish_owned(id, result),
        }
        if result > 0 {
            self.stats.bytes_sent += result.unsigned_abs() as u64;
        }
    }

    /// The chain is over: reports it, or goes on with the close that waited for it.
    fn finish_owned(&mut self, id: ConnId, result: Result<usize, i32>) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Some(owned) = conn.owned.take() else { return };
        match conn.closing {
            Closing::No => {
                let pieces = owned.into_pieces();
                self.events.push(Event::Sent { conn: id, result, pieces });
            }
            Closing::Requested { .. } => self.operations.push_back(Operation::Close(id)),
            Closing::Linked => {} // The cancelled close is still to be reported; `on_close` goes on.
            Closing::Submitted | Closing::Done => self.free_if_done(id),
        }
    }

    /// The rest of a closing connection's last reply.
    fn adopt_rest(&mut self, id: ConnId, rest: Vec<Bytes>) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.owned = Some(Box::new(Owned::new(rest)));
        self.operations.push_back(Operation::SendOwned(id));
    }

    /// Submits and waits: in one call, unless the worker is nearly idle and spins first.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.kernel.reaped.is_empty() || !self.events.is_empty() {
            return self.kernel.enter(0, None);
        }
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return self.kernel.enter_if_useful();
        }
        if !self.spin.enabled() {
            return self.kernel.enter(1, timeout);
        }
        let started = Instant::now();
        if self.spin.worth_it() && !self.kernel.ready() {
            self.kernel.enter_if_useful()?;
            if self.kernel.reaped.is_empty() {
                let ready = self.spin.spin(started, timeout, || self.kernel.ready());
                let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
                self.kernel.enter(u32::from(!ready), left)?;
            }
        } else {
            self.kernel.enter(1, timeout)?;
        }
        self.spin.learn(self.kernel.reaped.len(), started.elapsed());
        Ok(())
    }

    fn handle_completions(&mut self, outgoing: &mut Outgoing) {
        let mut reaped = std::mem::take(&mut self.kernel.reaped);
        for entry in reaped.drain(..) {
            let token = Token::decode(entry.user_data());
            let more = cqueue::more(entry.flags());
            if !more && !matches!(token, Token::Outgoing(_) | Token::Ignored) {
                self.in_kernel -= 1;
            }
            match token {
                Token::Accept(index) => self.on_accept(index, entry.result(), more),
                Token::Recv(conn) => self.on_recv(conn, &entry),
                Token::Chunk(conn) => self.on_chunk(conn, entry.result()),
                Token::Close(conn) => self.on_close(conn, entry.result()),
                Token::Outgoing(index) => self.on_outgoing(index, entry.result(), outgoing),
                Token::Doorbell => {
                    self.operations.push_back(Operation::WatchDoorbell);
                    self.doorbell.answer();
                    self.events.push(Event::Woken);
                }
                Token::Ignored => {}
            }
        }
        self.kernel.reaped = reaped;
    }
}

impl Driver for Uring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn listen(&mut self, socket: OwnedFd, listener: u8) -> io::Result<()> {
        self.add_listener(socket, listener, self.single_accepts)
    }

    fn listen_with_others(&mut self, socket: OwnedFd, listener: u8) -> io::Result<()> {
        self.add_listener(socket, listener, true)
    }

    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId> {
        self.add_connection(socket).ok_or_else(|| io::Error::other("this ring has no slot left"))
    }

    fn stop_listening(&mut self) {
        self.stop_listeners();
    }

    fn turn(&mut self, outgoing: &mut Outgoing, timeout: Option<Duration>) -> io::Result<()> {
        outgoing.unfinished.clear();
        self.buffers.release();
        self.queue_sends(outgoing)?;
        self.queue_operations()?;
        let timeout = until_resume(timeout, self.listeners.iter().map(|listener| &listener.pause));
        self.wait(timeout)?;
        self.handle_completions(outgoing);
        Ok(())
    }

    fn take_events(&mut self, into: &mut Vec<Event>) {
        into.clear();
        std::mem::swap(&mut self.events, into);
    }

    fn received(&self, data: RecvRef) -> &[u8] {
        self.buffers.bytes(data)
    }

    fn release(&mut self) {
        self.buffers.release();
    }

    fn start_recv(&mut self, conn: ConnId) {
        self.set_recv(conn, true);
    }

    fn pause_recv(&mut self, conn: ConnId) {
        self.set_recv(conn, false);
    }

    fn send_owned(&mut self, conn: ConnId, pieces: Vec<Bytes>) {
        let Some(entry) = self.conns.get_mut(conn).filter(|conn| conn.is_open()) else { return };
        assert!(entry.owned.is_none(), "one send in flight per connection");
        entry.owned = Some(Box::new(Owned::new(pieces)));
        self.operations.push_back(Operation::SendOwned(conn));
    }

    fn close(&mut self, conn: ConnId, after_sends: bool) {
        self.request_close(conn, after_sends);
    }

    fn addresses(&self, conn: ConnId) -> io::Result<(SocketAddr, SocketAddr)> {
        let conn = self.conns.get(conn).filter(|conn| conn.is_open());
        let conn = conn.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        self.address_calls.set(self.address_calls.get() + super::address::SYSCALLS);
        super::address::addresses(conn.fd.as_fd())
    }

    fn waker(&self) -> Arc<dyn Waker> {
        Arc::clone(&self.doorbell) as Arc<dyn Waker>
    }

    fn stats(&self) -> DriverStats {
        let counters = self.kernel.counters;
        DriverStats {
            syscalls: counters.enters + self.address_calls.get(),
            submissions: counters.submissions,
            completions: counters.completions,
            overflows: counters.overflows,
            ..self.stats
        }
    }
}
