//! Connections whose command waits for a key (KV.GET … WAIT): parked until the key changes or their time is up.

use super::{Clock, Worker};
use crate::ring::{ConnId, Driver};

/// The parked connections of a worker.
#[derive(Debug, Default)]
pub struct Parked {
    /// With their client ids, and Unix milliseconds at which they look again.
    waiting: Vec<(ConnId, u64, u64)>,
    /// The earliest of these times.
    next_ms: Option<u64>,
}

impl Parked {
    pub fn add(&mut self, conn: ConnId, client: u64, until_ms: u64) {
        self.waiting.push((conn, client, until_ms));
        self.next_ms = Some(self.next_ms.map_or(until_ms, |next_ms| next_ms.min(until_ms)));
    }

    /// When the next one looks again, Unix milliseconds.
    pub fn next_ms(&self) -> Option<u64> {
        self.next_ms
    }

    /// Takes out those for which this holds of client id and time.
    fn take(&mut self, over: impl Fn(u64, u64) -> bool) -> Vec<ConnId> {
        let mut taken = Vec::new();
        self.waiting.retain(|(conn, client, until_ms)| {
            let over = over(*client, *until_ms);
            if over {
                taken.push(*conn);
            }
            !over
        });
        self.next_ms = self.waiting.iter().map(|(_, _, until_ms)| *until_ms).min();
        taken
    }
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// Tells those who wait for keys that have changed.
    pub(super) fn dispatch_wakes(&mut self) {
        if self.shared.store.wakes().is_pending() {
            self.shared.wake_waiters();
        }
    }

    /// Lets connections go on whose time is up; all of them when the server drains.
    pub(super) fn unpark_due(&mut self) {
        let all = self.shared.is_draining();
        let now_ms = self.now_ms;
        if self.parked.next_ms().is_some_and(|next_ms| all || next_ms <= now_ms) {
            let due = self.parked.take(|_, until_ms| all || until_ms <= now_ms);
            self.go_on(due);
        }
    }

    /// Lets one go on whose key has changed.
    pub(super) fn unpark(&mut self, client: u64) {
        let woken = self.parked.take(|parked, _| parked == client);
        self.go_on(woken);
    }

    fn go_on(&mut self, conns: Vec<ConnId>) {
        for id in conns {
            if let Some(conn) = self.conns.get(id) {
                conn.waits = false;
                self.make_ready(id);
            }
        }
    }
}
