//! A worker: one thread, one driver, its listeners, its connections, its partitions. One turn of its loop, in this order:
//!
//! 1. Submit everything queued and wait for a completion or the next deadline: one system call. What the kernel did not take
//!    whole moves to its connection's outbox (output.rs).
//! 2. For each completion: note what it says of its connection; received bytes become sources (lifecycle.rs). What others have for
//!    connections goes to their outboxes (pushes.rs). Then play rounds
//!    over the sources: parse where the kernel put the bytes, execute the batch grouped by partition, encode the replies
//!    (rounds.rs, batch.rs).
//! 3. Keep what is not yet a whole request; give the receive buffers back.
//! 4. Run what is due, each with a fixed budget: partition upkeep, idle connections, drain (upkeep.rs).
//! 5. For each connection that has output and no send in flight: queue one send (output.rs).
//! 6. Close connections that are finished, publish the counters.
//!
//! Absent: any knowledge of which driver it runs on, and any lock held across a system call.

mod batch;
mod connections;
mod lifecycle;
mod linger;
mod observe;
mod output;
mod parked;
mod parser;
mod pushes;
mod rounds;
#[cfg(test)]
mod simulation;
mod start;
mod upkeep;
mod watch;

use crate::conn::Inbox;
use crate::observe::LatencyEvent;
use crate::proto::ParseLimits;
use crate::ring::{ConnId, Driver, Event, Outgoing};
use crate::server::Shared;
use crate::stats::StatsSnapshot;
use batch::Batcher;
use connections::Connections;
use linger::Lingering;
use parked::Parked;
use pushes::Pushed;
use rounds::{Progress, Rounds, Source, SourceBytes, SourceState, TurnEnv};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use upkeep::Upkeep;

pub use connections::CONN_OVERHEAD;
pub use start::{Report, WorkerSetup, run};

/// Growth of an inbox beyond this asks the store for room first. Bytes.
const ROOM_STEP: usize = 256 << 10;

/// The clock of a worker: real time, or the virtual time of a simulation.
pub trait Clock {
    /// Unix time in milliseconds.
    fn now_ms(&self) -> u64;

    /// Nanoseconds since some moment: for how long something took.
    fn ticks_ns(&self) -> u64;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { started: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_epoch.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }

    fn ticks_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// One worker over one driver. Built and run on its own thread.
pub struct Worker<D: Driver, C: Clock> {
    driver: D,
    clock: C,
    id: usize,
    shared: Arc<Shared>,
    limits: ParseLimits,
    conns: Connections,
    rounds: Rounds,
    outgoing: Outgoing,
    events: Vec<Event>,
    /// Connections with bytes to parse in this turn, and how far each has come.
    sources: Vec<Source>,
    progress: Vec<Progress>,
    slices: Vec<&'static [u8]>,
    /// Connections with whole requests in their inbox beyond their share of a turn.
    ready: Vec<ConnId>,
    /// Connections held back by CLIENT PAUSE.
    paused: Vec<ConnId>,
    /// Connections whose command waits for a key.
    parked: Parked,
    /// Connections to close when nothing of theirs is unsent: what this turn queues is known to be sent after the next.
    closing: Vec<ConnId>,
    closing_next: Vec<ConnId>,
    /// Connections whose socket failed or that must go at once.
    failed: Vec<ConnId>,
    lingering: Lingering,
    pushed: Pushed,
    upkeep: Upkeep,
    /// Counters of this worker's own; those of driver and rounds join them in `publish`.
    stats: StatsSnapshot,
    /// Memory of all connections and of the turn's buffers, and how much of it the budget knows of. Bytes.
    memory: usize,
    charged: usize,
    /// Memory of large requests on their way, which the budget knows from the store. Bytes.
    large: usize,
    /// Counts turns.
    turn: u64,
    now_ms: u64,
}

impl<D: Driver, C: Clock> Worker<D, C> {
    pub fn new(driver: D, clock: C, id: usize, shared: Arc<Shared>) -> Worker<D, C> {
        // Threads need not be a power of two: every partition has exactly one home.
        let (partitions, threads) = (shared.store.partitions(), shared.config.threads);
        let first = id * partitions / threads;
        let own = (id + 1) * partitions / threads - first;
        let now_ms = clock.now_ms();
        Worker {
            driver,
            clock,
            id,
            limits: shared.parse_limits(),
            conns: Connections::default(),
            rounds: Rounds::new(Batcher::new(first, own), shared.config.turn_output()),
            outgoing: Outgoing::default(),
            events: Vec::new(),
            sources: Vec::new(),
            progress: Vec::new(),
            slices: Vec::new(),
            ready: Vec::new(),
            paused: Vec::new(),
            parked: Parked::default(),
            closing: Vec::new(),
            closing_next: Vec::new(),
            failed: Vec::new(),
            lingering: Lingering::default(),
            pushed: Pushed::default(),
            upkeep: Upkeep::new(first, own, now_ms),
            stats: StatsSnapshot::default(),
            memory: 0,
            charged: 0,
            large: 0,
            turn: 0,
            now_ms,
            shared,
        }
    }

    /// Runs until drained. An error means that the driver itself is lost.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.drained() {
            self.turn(self.timeout())?;
        }
        self.publish();
        Ok(())
    }

    /// How long the next turn may wait: not at all when work is left over, else until the next upkeep is due.
    fn timeout(&self) -> Option<Duration> {
        let left_over = !self.ready.is_empty() || !self.closing.is_empty() || self.upkeep.more_due();
        Some(if left_over {
            Duration::ZERO
        } else {
            let longest = self.upkeep.until_next(self.now_ms, !self.paused.is_empty());
            let parked =
                self.parked.next_ms().map(|at_ms| Duration::from_millis(at_ms.saturating_sub(self.now_ms)));
            parked.map_or(longest, |parked| parked.min(longest))
        })
    }

    /// One turn; see the top of this file.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.driver.turn(&mut self.outgoing, timeout)?;
        self.now_ms = self.clock.now_ms();
        self.turn += 1;
        let began = self.watched_ticks();
        self.settle_sends();

        self.intake();
        self.play();
        self.driver.release();

        self.run_upkeep();
        self.shared.tell_changes();
        self.dispatch_wakes();
        self.unpark_due();
        self.queue_output();
        self.close_finished();
        self.publish();
        self.note(LatencyEvent::Turn, began);
        Ok(())
    }

    /// The clock, if anybody wants to know what takes long: reading it costs a system that is nearly idle something.
    fn watched_ticks(&self) -> Option<u64> {
        (self.shared.observer.events.threshold_ms() > 0).then(|| self.clock.ticks_ns())
    }

    fn note(&self, event: LatencyEvent, began: Option<u64>) {
        if let Some(began) = began {
            let took_ns = self.clock.ticks_ns().saturating_sub(began);
            self.shared.observer.events.note(event, took_ns, self.now_ms / 1000);
        }
    }

    /// Sorts the turn's events: state changes now, received bytes into sources.
    fn intake(&mut self) {
        self.sources.clear();
        for id in std::mem::take(&mut self.ready) {
            self.source_from_inbox(id);
        }
        let mut events = std::mem::take(&mut self.events);
        self.driver.take_events(&mut events);
        for event in events.drain(..) {
            match event {
                Event::Received { conn, data } => self.received(conn, data),
                Event::Accepted { conn, listener } => self.accepted(conn, listener),
                Event::Ended { conn, end } => self.ended(conn, end),
                Event::Sent { conn, result, pieces } => {
                    drop(pieces);
                    self.sent(conn, result);
                }
                Event::Closed { .. } => {}
                Event::Woken => self.messages(),
            }
        }
        self.events = events;
    }

    /// Plays rounds over the sources, then keeps what they left.
    fn play(&mut self) {
        if self.sources.is_empty() {
            return;
        }
        self.stats.turns += 1;
        self.progress.clear();
        self.progress.resize_with(self.sources.len(), Progress::default);
        let mut slices: Vec<&[u8]> = rounds::recycle(std::mem::take(&mut self.slices));
        slices.extend(self.sources.iter().map(|source| match &source.bytes {
            SourceBytes::Fresh(data) => self.driver.received(*data),
            SourceBytes::Inbox(inbox) => inbox.unread(),
        }));
        let turn_output = self.shared.config.turn_output();
        let env = TurnEnv {
            shared: &self.shared,
            worker: self.id,
            limits: &self.limits,
            clock: &self.clock,
            turn_output,
            now_ms: self.now_ms,
        };
        self.rounds.play(&mut self.conns, &self.sources, &slices, &mut self.progress, &env);
        self.slices = rounds::recycle(slices);
        // Whom the turn had no room for comes first in the next, or who asks for much could keep others waiting for ever.
        for served in [false, true] {
            for i in 0..self.sources.len() {
                if (self.progress[i].requests > 0) == served {
                    self.keep_rest(i);
                }
            }
        }
    }

    /// Keeps a source's unparsed bytes and acts on how it ended.
    fn keep_rest(&mut self, i: usize) {
        let Source { conn: id, bytes } = &mut self.sources[i];
        let (id, progress) = (*id, &self.progress[i]);
        let Some(conn) = self.conns.get(id) else { return };
        conn.source = 0;
        conn.client.touch(self.now_ms);
        match bytes {
            SourceBytes::Fresh(data) => {
                let rest = &self.driver.received(*data)[progress.at..];
                let need = if let SourceState::Waiting { need } = progress.state { need } else { 0 };
                if !rest.is_empty() && conn.inbox.push(rest, need, &self.shared.store).is_err() {
                    self.no_memory(id);
                    return;
                }
            }
            SourceBytes::Inbox(inbox) => {
                conn.usual = progress.at.checked_div(progress.requests as usize).unwrap_or(conn.usual);
                conn.inbox = std::mem::take(inbox);
                conn.inbox.consume(progress.at);
            }
        }
        conn.need = 0;
        match progress.state {
            SourceState::Active => unreachable!("rounds end only when no source is active"),
            SourceState::Waiting { need } => self.await_rest(id, need),
            SourceState::Deferred => self.make_ready(id),
            SourceState::Paused => {
                conn.waits = true;
                self.paused.push(id);
                self.limit_inbox(id);
            }
            SourceState::Parked { until_ms } => {
                conn.waits = true;
                let client = conn.client.id;
                self.parked.add(id, client, until_ms);
                self.limit_inbox(id);
            }
            SourceState::Closing => {
                conn.closing = true;
                conn.inbox = Inbox::default();
                match conn.codec.unread() {
                    0 => self.closing_next.push(id),
                    unread => self.linger(id, unread),
                }
            }
        }
        self.charge(id);
    }

    /// Step 5: the replies become sends; a connection that does not take them is held back, or closed at the cap.
    fn queue_output(&mut self) {
        let rounds = &mut self.rounds;
        let (outputs, replies) = (&mut rounds.outputs, &mut rounds.replies);
        output::queue(&mut self.outgoing, &mut self.conns, &self.sources, outputs, replies, self.turn);
        for i in 0..self.sources.len() {
            self.hold_back(self.sources[i].conn);
        }
    }

    /// Step 1's other half: what did not go out whole is kept, and goes on as an owned send.
    fn settle_sends(&mut self) {
        for i in 0..self.outgoing.unfinished.len() {
            let unfinished = self.outgoing.unfinished[i];
            let send = self.outgoing.sends[unfinished.send as usize].clone();
            let Some(conn) = self.conns.get(send.conn) else { continue };
            match unfinished.result {
                Ok(sent) => {
                    output::keep_rest(conn, &self.outgoing, send.pieces, sent);
                    output::send_more(&mut self.driver, conn);
                    self.hold_back(send.conn);
                    self.charge(send.conn);
                }
                Err(_) => self.failed.push(send.conn),
            }
        }
        self.outgoing.clear();
        if self.outgoing.bytes.capacity() > rounds::KEPT_OUTPUTS * self.shared.config.turn_output() {
            self.outgoing.bytes = Vec::new();
        }
    }

    /// Publishes the counters and tells the budget of memory taken or given back.
    fn publish(&mut self) {
        let driver = self.driver.stats();
        let rounds = &self.rounds;
        let stats = &mut self.stats;
        stats.beats = self.turn;
        stats.requests = rounds.requests_done;
        [
            stats.requests_resp,
            stats.requests_json,
            stats.requests_text,
            stats.requests_binary,
            stats.requests_http,
            stats.requests_protobuf,
        ] = rounds.by_protocol;
        stats.protocol_errors = rounds.protocol_errors;
        stats.scripts_stopped = rounds.scripts.stopped;
        stats.hits = rounds.stats.hits;
        stats.misses = rounds.stats.misses;
        stats.errors = rounds.stats.errors;
        stats.groups = rounds.batcher.groups;
        stats.cross_worker_requests = rounds.batcher.cross_worker;
        stats.connections = self.conns.len() as u64;
        stats.buffered_bytes = (self.memory + self.large) as u64;
        stats.syscalls = driver.syscalls;
        stats.completions = driver.completions;
        stats.bytes_received = driver.bytes_received;
        stats.bytes_sent = driver.bytes_sent;
        stats.short_sends = driver.short_sends;
        stats.recv_buffers_exhausted = driver.buffers_exhausted;
        stats.completion_overflows = driver.overflows;
        stats.accepts_paused = driver.accepts_paused;
        let changed = self.rounds.watch.take_changed(&self.rounds.stats);
        let calls = self.rounds.stats.calls.as_slice();
        self.shared.workers[self.id].stats.publish(stats, calls, changed.rows(calls.len()));
        self.account_memory();
    }

    /// Tells the store what this worker's connections hold.
    fn account_memory(&mut self) {
        let memory = self.memory + self.outgoing.bytes.capacity() + self.rounds.memory();
        let account = &self.shared.store.budget().connections;
        match memory.checked_sub(self.charged) {
            Some(0) => {}
            Some(more) => _ = account.fetch_add(more, Relaxed),
            None => _ = account.fetch_sub(self.charged - memory, Relaxed),
        }
        self.charged = memory;
    }
}
