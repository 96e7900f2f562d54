//! What a worker does beside requests: partition upkeep, idle connections, CLIENT PAUSE, the drain. Every step is bounded.

use super::{Clock, Worker};
use crate::observe::LatencyEvent;
use crate::ring::Driver;
use std::time::Duration;

/// Upkeep is looked at this often. It bounds a worker's sleep, too: by that others see that it lives (`server/heartbeats.rs`).
const TICK_MS: u64 = 100;
/// While clients are paused or the server drains.
const SHORT_TICK_MS: u64 = 10;
/// Connections looked at per tick by the idle timeout.
const IDLE_WALK: usize = 2048;
/// A draining connection that has been silent this long has sent what it had.
const DRAIN_QUIET_MS: u64 = 50;

#[derive(Debug)]
pub struct Upkeep {
    first_partition: usize,
    /// Partitions with upkeep left over; the next step goes to the last.
    due: Vec<usize>,
    own_partitions: usize,
    next_tick_ms: u64,
    /// Where the walk over idle connections goes on.
    idle_cursor: usize,
    /// Unix milliseconds at which draining gives up.
    drain_deadline_ms: Option<u64>,
}

impl Upkeep {
    pub fn new(first_partition: usize, own_partitions: usize, now_ms: u64) -> Upkeep {
        Upkeep {
            first_partition,
            due: Vec::with_capacity(own_partitions),
            own_partitions,
            next_tick_ms: now_ms,
            idle_cursor: 0,
            drain_deadline_ms: None,
        }
    }

    pub fn more_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub fn until_next(&self, now_ms: u64, short: bool) -> Duration {
        let longest = if short || self.drain_deadline_ms.is_some() { SHORT_TICK_MS } else { TICK_MS };
        Duration::from_millis(self.next_tick_ms.saturating_sub(now_ms).min(longest))
    }
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// Step 4 of a turn.
    pub(super) fn run_upkeep(&mut self) {
        // A clock set back must not stop upkeep.
        let tick =
            self.now_ms >= self.upkeep.next_tick_ms || self.upkeep.next_tick_ms > self.now_ms + TICK_MS;
        if tick {
            self.upkeep.next_tick_ms = self.now_ms + TICK_MS;
            self.upkeep.due.clear();
            let first = self.upkeep.first_partition;
            self.upkeep.due.extend(first..first + self.upkeep.own_partitions);
            self.close_idle();
            self.end_lingering();
            // CONFIG SET maxmemory moves the largest value.
            self.limits = self.shared.parse_limits();
        }
        if let Some(partition) = self.upkeep.due.pop() {
            let began = self.watched_ticks();
            let more = self.shared.store.lock(partition).maintain(self.now_ms);
            if more {
                self.upkeep.due.insert(0, partition);
            }
            self.note(LatencyEvent::Upkeep, began);
        }
        if !self.paused.is_empty() && !self.shared.pause.active(self.now_ms) {
            for id in std::mem::take(&mut self.paused) {
                if let Some(conn) = self.conns.get(id) {
                    conn.waits = false;
                }
                self.make_ready(id);
            }
        }
        if self.upkeep.drain_deadline_ms.is_some() {
            self.drain_step();
        }
    }

    /// Closes connections that have been silent for longer than `timeout`, but for those that wait for us.
    fn close_idle(&mut self) {
        let timeout_ms = self.shared.idle_timeout_ms();
        if timeout_ms == 0 {
            return;
        }
        for _ in 0..IDLE_WALK {
            let Some(id) = self.conns.next_from(self.upkeep.idle_cursor) else {
                self.upkeep.idle_cursor = 0;
                return;
            };
            self.upkeep.idle_cursor = id.slot as usize + 1;
            if let Some(conn) = self.conns.get(id)
                && self.now_ms.saturating_sub(conn.last_active_ms) >= timeout_ms
                && conn.session.waits_for.is_none()
            {
                self.stats.closed_idle += 1;
                self.failed.push(id);
            }
        }
    }

    /// SIGTERM: no new connections; the others are closed when what they sent is answered.
    pub(super) fn begin_drain(&mut self) {
        if self.upkeep.drain_deadline_ms.is_none() {
            self.driver.stop_listening();
            self.tell_successor();
            self.upkeep.drain_deadline_ms =
                Some(self.now_ms + self.shared.config.drain_timeout.as_millis() as u64);
        }
    }

    fn drain_step(&mut self) {
        let late = self.upkeep.drain_deadline_ms.is_some_and(|deadline| self.now_ms >= deadline);
        for conn in self.conns.iter_mut() {
            let quiet = self.now_ms.saturating_sub(conn.last_active_ms) >= DRAIN_QUIET_MS;
            let answered = conn.outbox.is_empty() && conn.source == 0 && !conn.waits;
            if late {
                self.failed.push(conn.id);
            } else if quiet && answered && !conn.closing && !conn.told_to_move {
                self.closing_next.push(conn.id);
                conn.closing = true;
            }
        }
    }

    pub(super) fn drained(&self) -> bool {
        self.upkeep.drain_deadline_ms.is_some() && self.conns.is_empty()
    }
}
